"""Exact masks as programmes of ``jax.lax``: what XLA compiles, on whatever device it is for.

The algorithm of :mod:`nmflow.solvers.flow`, with its masks bit for bit, for arrays of static shapes
and without 64-bit integers, which JAX has not unless asked. Read :mod:`solve` first: it says what
JAX has to know. :mod:`transposable` cuts weights into tiles; :mod:`ascent` proves most of them, in
chunks; what it leaves open :mod:`levels` solves exactly, by :mod:`paths` (shortest augmenting
paths) and :mod:`uniqueness` (is the mask the only one?), in windows of a few bits of the scores
each, then by the tie tables. :mod:`numbers` reads scores as integers, since XLA may take subnormal
floats for 0. The patterns whose groups don't overlap are solved by :mod:`selection`;
:mod:`sharding` does all that on each device's part of an array.

In most of it arrays are (m, m, K): the entries of K tiles, so that a processor's vectors run along
tiles, and each step of an algorithm is a few operations on rows or columns of all of them.
"""

from nmflow.lax.versions import require_jax

require_jax("nmflow.jax")
