"""How a mask is found: one module or folder a method, and the registry that lists them.

Read :mod:`registry` first: what a method promises, and the two calls that its module provides. Then
any method by itself: :mod:`flow` is the default, :mod:`network_simplex`, :mod:`lp` and
:mod:`exhaustive` are exact too, :mod:`heuristics` are not; :mod:`selection` serves the patterns
that are not transposable. They share only :mod:`integers`, exact scores and tie rule in one number.
"""
