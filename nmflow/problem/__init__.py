"""What is asked: the pattern, the scores, the tie rule, and any framework's weights as tiles.

Read :mod:`pattern` (n:m), :mod:`scores` and :mod:`ties` for the problem itself; :mod:`arrays` and
:mod:`batch` for how weights become a batch of matrices and a mask goes back; :mod:`tiling` for how
a batch is cut into tiles. :mod:`workers` and :mod:`floating_point` are for whoever solves them.
"""
