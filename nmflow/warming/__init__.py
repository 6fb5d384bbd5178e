"""Compiling kernels ahead of their first use.

:mod:`sample` solves a small matrix in this process, which compiles or loads what larger ones of its
kind will need. :mod:`processes` is the public call: it does so for several patterns and dtypes, in
processes side by side, since numba compiles under one lock.
"""
