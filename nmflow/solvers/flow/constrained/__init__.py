"""``flow`` where some entries are forbidden or forced, and where rows and columns differ.

Read :mod:`window`, which sends each tile where it is solved; :mod:`tile_kinds` looks at what a
tile's constraints leave open, :mod:`lines` selects where lines of one direction alone decide, and
:mod:`penalties` turns constraints into scores for the engine.
"""
