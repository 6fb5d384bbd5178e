"""Compiling kernels with numba, and its cache."""
