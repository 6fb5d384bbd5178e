"""Models that exist already: what n:m their weights have, and whether that is what was asked for.

``counting`` counts entries that are not zero, by code that shares nothing with the solvers.
``inspecting`` says of every layer what it has and could have, and which hardware takes it;
``checking`` holds a model against a pattern and against the dense one that it was made of, with
what ``recorded`` finds of a prune's report; ``told`` prints both.
"""
