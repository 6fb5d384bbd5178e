"""Dynamic sparse training: weights pruned by thresholds that learn (Liu et al., ICLR 2020).

Read ``training`` first, what users call. ``thresholded`` is the parametrization of one weight, and
``step`` the step function with a gradient, which is all that lets thresholds learn.
"""
