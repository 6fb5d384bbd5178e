"""The primal network simplex: an exact method that shares no algorithm with ``flow``.

Read :mod:`method` first, then :mod:`simplex` (the loop), :mod:`start` (the first tree), :mod:`tree`
(its arrays and potentials) and :mod:`pivots`. :mod:`digits` cuts scores of any range into integers
that 64 bits hold, most significant first.
"""
