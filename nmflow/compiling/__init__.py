"""Compiling kernels with numba, and keeping the compiled code on disk.

Read :mod:`jit` first: the decorators of all kernels. :mod:`cache` keeps what they compile, stamped
with a digest of :mod:`sources`: the kernel's file and all files of nmflow that it imports.
"""
