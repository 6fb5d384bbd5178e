"""The number format on which exactness rests: bits, shifts and limits of all stages.

A strip's scores are integers of :data:`FIXED_BITS` bits, in units of a power of two of its own. A
stage looks at 15 bits of them: at the reduced costs s - u - v, divided by 2**shift and clipped to
the *window* from -WINDOW_LIMIT to WINDOW_LIMIT - 1. Each inequality that a proof or a sum relies on
is asserted here, so that a changed constant fails at import.
"""

from __future__ import annotations

from nmflow.problem.ties import TABLE_BITS
from nmflow.simd.enumeration import DROPPED

LARGEST_M = 32
"""The widest tiles that the engine solves."""

# Scores of a strip.
FIXED_BITS = 30
"""Bits of a score without its sign, or of a signed one with it."""
SCORE_LIMIT = 1 << FIXED_BITS
"""Scores are below it."""
LOWEST_EXPONENT = -90
"""A strip whose scores are all below 2**-90 is scaled no further."""
LEAST_NORMAL = 2.0**-126
"""Of float32."""
LARGEST_FLOAT32_EXPONENT = 127

# What a stage sees of the reduced costs.
WINDOW_LIMIT = 1 << 14
"""A stage sees reduced costs from -WINDOW_LIMIT to WINDOW_LIMIT - 1, in units of 2**shift."""
FIRST_SHIFT = 15
"""The low bits that the first stage leaves out."""
WARM_SHIFT = 13
"""The low bits that the first stage of a warm strip leaves out."""
STAGE_SHIFTS = (FIRST_SHIFT, FIRST_SHIFT, 12, 9, 5, 1)
"""The low bits that each stage leaves out. The second is for tiles of 4 x 4, of which the first
enumerates all masks and finds no potentials. After that the window narrows slowly at first: it must
hold the optimal potentials, which are least certain there."""

# The current potentials of a strip.
SPARE_BITS = 4
"""Low bits that the potentials from which a strip starts never have set."""
WARM_LIMIT = SCORE_LIMIT >> 2
"""Warm potentials are clipped to -WARM_LIMIT ... SCORE_LIMIT - WARM_LIMIT (rows) and to
-WARM_LIMIT ... WARM_LIMIT (columns)."""
WARM_BITS = 23
"""Bits of a warm potential's magnitude, so that float32 adds two of them exactly."""
LEAST_WARM_EXPONENT, GREATEST_WARM_EXPONENT = -89, 120
"""Strips of smaller or larger numbers start cold: float32 sums must be normal and finite."""

# The tie table below the scores.
TABLE_MARGIN = 3
"""Zero bits below a tie table, at least, so that potentials fit between sums one unit apart."""
FACE_TABLE_SHIFT = 12
"""Zero bits below a tie table that is looked at by itself, on the face of the optimal masks."""

# One tile by itself: 32-bit reduced costs, potentials and distances.
POTENTIAL_LIMIT = 1 << 28
"""No potential may reach it, nor any distance."""
REDUCED_LIMIT = 1 << 29
"""What larger reduced costs are clipped to; they stay on their side of all potentials."""
FORBIDDEN = 1 << 30
"""The score of an arc that no potential or distance makes attractive, or its opposite."""
CENTRAL_LIMIT = 1 << 21
"""Potentials stay below it where there is a choice."""
HIGHEST, LOWEST = (1 << 31) - 1, -(1 << 31)

# Tiles that hold at most n.
LOWEST_CHANGE = -(1 << 15) + 1
"""The change of a price that stands for all lower ones."""

# Partial tiles.
PARTIAL_BITS = 15
"""Bits of a score, which is never negative where it matters."""
WORTHLESS = -1
"""The score of what is never kept: padding, and whatever is negative."""


def table_bits(m: int) -> int:
    """Bits of the sum of a tie table's entries over m entries of a tile."""
    return TABLE_BITS + (m - 1).bit_length()


def _moved(first_shift: int) -> int:
    """How far a potential may move in all stages, from one that leaves out so many bits."""
    return sum(WINDOW_LIMIT << shift for shift in (first_shift, *STAGE_SHIFTS[2:]))


# The first window holds all scores; a window is one bit less than an int16.
assert SCORE_LIMIT >> FIRST_SHIFT == 2 * WINDOW_LIMIT == 1 << 15
assert list(STAGE_SHIFTS) == sorted(STAGE_SHIFTS, reverse=True)
# Score - u - v fits 32 bits; u starts in the middle of the scores, or at a warm potential.
assert SCORE_LIMIT // 2 + 2 * _moved(FIRST_SHIFT) < 1 << 31
assert SCORE_LIMIT + 2 * WARM_LIMIT + 2 * _moved(WARM_SHIFT) < 1 << 31
# The scale to fixed point, and its inverse, are normal float32 numbers.
assert 2.0 ** (LOWEST_EXPONENT - FIXED_BITS) >= LEAST_NORMAL
# A warm potential's unit is normal, and a sum of two potentials of 32 bits is finite.
assert LOWEST_EXPONENT < LEAST_WARM_EXPONENT
assert 2.0 ** (LEAST_WARM_EXPONENT - FIXED_BITS) >= LEAST_NORMAL
assert GREATEST_WARM_EXPONENT - (FIXED_BITS - 1) + 32 <= LARGEST_FLOAT32_EXPONENT
assert 2 << WARM_BITS <= 1 << 24
assert SPARE_BITS <= WARM_SHIFT
# No sum of table entries reaches the scores' last bit.
assert all(((1 << TABLE_BITS) - 1) * m < 1 << table_bits(m) for m in range(2, LARGEST_M + 1))
# Sums of eight entries of a 4 x 4 tile: 16 bits hold them twice in lanes, 32 bits with a table.
assert FIXED_BITS - FIRST_SHIFT - DROPPED <= 16 - 3
assert FIXED_BITS - TABLE_MARGIN <= 32 - 3
# Clipped reduced costs stay beyond u + v, forbidden arcs beyond all distances, and sums fit.
assert REDUCED_LIMIT >= 2 * POTENTIAL_LIMIT
assert FORBIDDEN >= 4 * POTENTIAL_LIMIT
assert FORBIDDEN + 2 * POTENTIAL_LIMIT < 1 << 31
# Potentials on a face of table entries: a path has at most m of them on either side.
assert 1 << (FACE_TABLE_SHIFT + TABLE_BITS) < CENTRAL_LIMIT
assert LARGEST_M << (FACE_TABLE_SHIFT + TABLE_BITS) < POTENTIAL_LIMIT
# On a partial tile a score less a price, which is not negative, fits 16 bits.
assert WORTHLESS - ((1 << PARTIAL_BITS) - 1) >= -(1 << 15)
