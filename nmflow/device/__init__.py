"""Exact masks in plain tensor operations, on whatever device PyTorch has: the portable form.

The algorithm of :mod:`nmflow.solvers.flow`, for all tiles of a batch at once, with its masks bit
for bit. Read :mod:`solve` first: it cuts the weights into tiles and calls the rest. :mod:`ascent`
proves most tiles in 32-bit integers. :mod:`levels` solves those that are left exactly, by
:mod:`paths` (shortest augmenting paths) and :mod:`uniqueness` (is the mask the only one?), in
windows of 40 more bits of the scores each, then on the tie tables. :mod:`numbers` reads scores as
integers, without float64, which not every device has.

It is the oracle of the CUDA kernels, and what runs where they don't. :mod:`kernels` launches
those, :mod:`tracked` solves the same weights again and again by either, and :mod:`placed` does
wherever they lie.
"""
