"""Masks of a model brought up to date as its weights move.

Read ``problem`` first: which masks one weight may have, and which is the best. ``solver`` finds
masks of one shape, from the last proof where that helps; ``layer`` is one weight with its mask and
its solver, ``mask_set`` all of a model, changed together or not at all. ``given`` puts masks of the
user's in force, and ``statistics`` says what a refresh did.
"""
