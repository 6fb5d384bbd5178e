"""What conversion of real models costs and loses: ``python -m benchmarks.conversion``."""
