"""Certificates: what they say, and the exact sums and cycle cancelling behind them."""
