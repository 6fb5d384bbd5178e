"""Which weights of a model are masked, and why the others are not.

Read ``select`` first, which goes over all weights and reports on each. ``sites`` finds where a
parameter stands, more than once if it is shared; ``table`` asks :mod:`nmflow.models` for its role
and its axes, ``layout`` adds what only a module's class tells. ``wanted`` is what users include and
exclude, and ``report`` what they are told.
"""
