"""Orders that a network lets through for free, searched so that its masks keep more.

Read ``permute`` first, the public call. ``order`` is what may be put in another order together;
orders are found by ``naming`` in transformers whose blocks ``families`` knows (``stream`` finds
those of the residual stream), and by ``tracing`` in plain networks. ``problem`` hands the search
what it needs, ``checking`` runs the model before and after, ``report`` is what users are told.
"""
