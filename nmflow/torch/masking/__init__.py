"""Masks on the weights of a model: what a layer computes with while it is sparse.

Read :mod:`masked <nmflow.torch.masking.masked>` first, the parametrization that holds one mask;
then ``masked_weight``, the tensor it computes, which tells writes that mean the dense weight from
writes that would be lost. ``install`` puts masks on modules and takes them off, ``model_masks``
does so for whole models, ``counting`` checks n:m before anything is baked, ``select`` is what a
mask keeps of a tensor, ``kernels`` the same compiled, ``scratch`` is memory used again, and
``sharding`` is for weights that lie in several processes.
"""
