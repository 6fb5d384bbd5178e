"""Vectors for numba kernels: the only package that knows LLVM."""
