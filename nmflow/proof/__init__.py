"""Certificates: how good a mask is, proved by arithmetic that no method shares.

Read :mod:`certificate` first: what is stated. :mod:`checker` proves a batch of tiles optimal, or
finds the optimum by cancelling cycles in exact integers; :mod:`sums` adds floats without an error.
"""
