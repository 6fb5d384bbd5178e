"""Bases of attention heads, turned so that masks cost less, at no cost at run time.

Read ``rotate`` first, the public call. ``heads`` is what turns together, found by the names that
``nmflow.torch.orders`` knows; ``ascent`` is the search, ``report`` what users are told.
"""
