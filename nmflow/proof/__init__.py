"""Certificates: how good a mask is, proved by arithmetic that no method shares.

Read :mod:`certificate` first: what is stated, and the tally that it is made of. :mod:`checker`
decides, exactly, whether prices prove masks optimal, and knows nothing of where either comes from;
it is where to hand in prices that are known already. In one pass, row by row (:mod:`lines`), it
counts what tiles hold and adds up what is kept (:mod:`kept_sum`). :mod:`prove` finds prices for a
window of tiles: :mod:`labels` those of a mask that is optimal, :mod:`ascent` those of an optimum
where it is not, both in 32-bit integers of tiles side by side (:mod:`lanes`). What they leave open,
:mod:`exact` ends tile by tile, in integers as wide as it takes. :mod:`kept_sum` and :mod:`sums` add
without an error, and :mod:`groups` certifies the patterns whose groups don't overlap.
"""
