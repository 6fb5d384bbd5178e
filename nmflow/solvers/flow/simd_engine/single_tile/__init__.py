"""Tiles that vectors left unproved, finished one by one: minimum-cost flow in a residual network.

Read ``unproved`` first, which goes through the open tiles of a batch and chooses among tied masks
table by table; then ``shortest_paths``, the labels of one tile's residual network; then
``augmentation``, which moves units along those paths until rows and columns hold n.
"""
