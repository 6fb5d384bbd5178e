"""What ends every certificate: optimal prices, tile by tile, in integers as wide as it takes.

Read :mod:`search` first. It goes along the residual :mod:`network`, whose scores and prices are
:mod:`integers` of several :mod:`limbs`.
"""
