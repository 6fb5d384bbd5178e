"""Arrays that don't lie whole in one memory: Dask's, in chunks, and PyTorch's DTensors, in shards.

Tiles are independent of each other, so pieces that cut none are solved and certified each by
itself, by the same calls as whole arrays, and no more than tiles that lie across pieces is moved.
:mod:`whole` says where pieces may begin, and puts what they come to together; :mod:`dask_arrays`
and :mod:`dtensors` are the kinds of arrays there are, :mod:`exchange` moves rows between processes.
``solve`` and ``certify`` hand in themselves: nothing here knows of solvers.
"""
