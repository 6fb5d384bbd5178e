"""Which weights are masked."""
