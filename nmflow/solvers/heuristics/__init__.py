"""Approximate methods, for comparison: each keeps a large part of the optimum, in known time.

Read :mod:`greedy` and :mod:`greedy_keep` first, which scan the entries in an order
(:mod:`ordering`) and keep what has room (:mod:`rounding`); then :mod:`local_search`, which improves
such a mask by :mod:`moves`; last :mod:`entropic`, which rounds the solution of a transport problem.
"""
