"""The SIMD engine of ``flow``: full and partial tiles of m <= 32, 32 at a time, in int16 vectors.

Read :mod:`driver` (called with arrays), :mod:`kernel` (the loop), then what the loop calls in turn:
:mod:`cursor` and :mod:`strips`, :mod:`scale` and :mod:`read`, :mod:`dual_ascent` or
:mod:`enumeration` on a :mod:`tile_batch`, :mod:`queue`; for tied tiles the folder
:mod:`single_tile`; :mod:`warm_start` and :mod:`partial_tiles` stand beside. :mod:`fixed_point` has
the numbers on which exactness rests, :mod:`schedule` those that change the time only.

Glossary
--------
score : what a mask is to keep most of; |w| or w. Costs are its opposite.
potentials u, v : the dual variables of rows and columns. On partial tiles they are >= 0: *prices*.
reduced cost : s - u - v. Kept entries have it >= 0 and pruned ones <= 0 at an optimum.
strip : 16 columns of a row of tiles, or 32 where m > 16: the unit that is read, scaled and queued.
tile batch : the strips that hold 32 tiles, one to each lane of a vector of int16.
lane : tile t of the k-th strip of a batch lies in lane t * strips + k.
line : a row or a column of one tile.
current potentials : those of a strip after the stages so far; the origin of the next window.
window : the 15 bits of the reduced costs that a stage looks at, from bit ``shift`` up.
tie table : the integers of :mod:`nmflow.problem.ties`, added below the scores' last bit.
proved : the mask is the only optimal one of the scores as stored, or of scores and tie tables.
face : the masks that are optimal so far; the next table chooses among them.
"""
