"""Units: blocks of entries that are kept or dropped whole, as one entry of a smaller problem.

A unit's score is the sum of its entries' scores, so the best mask of units is the best mask of
their sums, and nothing below knows of units: :mod:`unit` is the block's shape, :mod:`sums` adds the
scores up, :mod:`batch` is the smaller batch of matrices, whose masks are spread over the entries,
:mod:`whole` looks at masks from elsewhere, and :mod:`kernels` does the work.
"""
