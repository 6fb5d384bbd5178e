"""How the weights of one layer become n:m, given the second moments of what the layer sees.

Read :mod:`problem <nmflow.torch.conversion.methods.problem>` first, what a method is asked, then
``registry``, the methods by name. ``one_shot`` takes a mask by ``importance`` alone;
``sparsegpt`` and ``alps`` find mask and weights together. ``least_squares`` (with
``conjugate_gradients`` for large layers) and ``adam`` refit weights under a mask.
``projection`` is where all of them ask :func:`nmflow.solve`.
"""
