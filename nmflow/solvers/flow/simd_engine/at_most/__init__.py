"""Tiles whose rows and columns hold at most n, in the vectors of the SIMD engine.

:mod:`kernel` solves tiles of m x m where they lie, as the kernel of full tiles does, :mod:`prices`
is what it does otherwise, :mod:`driver` calls it. :mod:`partial_tiles` solves the smaller tiles of
ragged edges, copied out; it compiles in half the time, and an edge has few tiles.
"""
