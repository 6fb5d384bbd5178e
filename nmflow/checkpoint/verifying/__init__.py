"""What was written, held against its source: by code that shares nothing with the solver.

``verify`` compares two models as bits, ``verify_masks`` looks at a file of masks; both count what
groups hold by ``counting``.
"""
