"""Vectors for numba kernels: the only package that knows LLVM.

Read :mod:`vectors` first (the type, loads, stores, arithmetic) and :mod:`tile_shape` (numbers that
a kernel is compiled for). Then by need: :mod:`integers`, :mod:`floats` and :mod:`lines` are
operations on vectors, :mod:`layout` goes between matrix rows and lanes by :mod:`transpose`,
:mod:`order_statistics` runs :mod:`selection_networks`, :mod:`enumeration` finds the best of all
masks of a 4 x 4 tile. :mod:`llvm` helps to write them all.
"""
