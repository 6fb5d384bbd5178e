"""The scalar fallback of ``flow``: any tile by itself, in 64-bit integers, then unbounded ones.

Read :mod:`solve` (the stages of a tile), then what they call: :mod:`digits` (scores to integers,
more digits, tie tables; numpy) and :mod:`kernel`, the one kernel for all n:m and dtypes:
:mod:`dual_ascent` with :mod:`selection_network`, :mod:`augmentation` (shortest paths) and
:mod:`uniqueness` (is the mask the only one?), on a :mod:`workspace` whose numbers :mod:`bits` keeps
within 64 bits. :mod:`unbounded` runs the same source in Python integers.
"""
