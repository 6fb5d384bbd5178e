"""Orders of rows and columns under which n:m masks keep more.

Read ``search`` first: groups exchange columns by assignments, round after round. ``shared`` says
which sides of which matrices one order is for, ``pricing`` what groups would keep, by exact solves
of what ``kernels`` lay out.
"""
