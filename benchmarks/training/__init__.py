"""Training with dynamic masks on two small tasks: ``python -m benchmarks.training``."""
