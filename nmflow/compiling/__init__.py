"""Compiling kernels with numba, and keeping the compiled code on disk.

Read :mod:`jit` first: the decorators of all kernels. :mod:`helpers` compiles what kernels call no
further than they need, :mod:`structs` passes scratch memory as one pointer, :mod:`pointers` calls a
kernel by its address, and :mod:`sparing` leaves few tiles to the interpreter. :mod:`cache` keeps
what is compiled, stamped with a digest of :mod:`sources`: the kernel's file and all files of nmflow
that it imports; :mod:`shipped` is what a wheel brings along.
"""
