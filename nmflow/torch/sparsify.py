"""The public call: masks on a model's weights."""

from __future__ import annotations

from typing import Any

from nmflow.pattern import Pattern, PatternName
from nmflow.scores import ScoreName, check_score
from nmflow.solve import thread_count
from nmflow.solvers.registry import Method, find_method
from nmflow.torch.handle import Handle
from nmflow.torch.install import install, places_of, take_off
from nmflow.torch.layer import Layer
from nmflow.torch.refresh import Refresh, as_refresh
from nmflow.torch.rules import StraightThrough, as_rule
from nmflow.torch.select import choose_weights
from nmflow.torch.solver import Problem
from nmflow.torch.wanted import Wanted


def sparsify(
    model: Any,
    n: int,
    m: int,
    *,
    method: str | Method = "flow",
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    rule: str | StraightThrough = "ste",
    refresh: int | Refresh | None = 40,
    score: ScoreName = "abs",
    workers: int | None = None,
    mean_absorption: bool = False,
) -> Handle:
    """Let a model train under n:m masks that follow its weights.

    The model then computes with mask * weight wherever it used the weight, through
    ``torch.nn.utils.parametrize``. Its parameters are the same objects as before, dense, so
    optimizers made earlier stay valid. Call :meth:`Handle.step` after each optimizer step.

    Parameters
    ----------
    model : torch.nn.Module
        With weights of float16, bfloat16, float32 or float64, on any device. Linear layers,
        convolutions and the projections of ``nn.MultiheadAttention`` are masked, over out x in
        for each group and kernel position. A parameter shared by several layers has one mask.
    n, m : int
        Keep n of every m.
    method, pattern, score
        As for :func:`nmflow.solve`. ``flow`` starts each refresh from the last one's proof.
    include, exclude : str, iterable of str, or callable, optional
        Which modules to mask and not to: globs over module names, or a function of
        (name, module). By default all that can be.
    rule : {"ste", "sr-ste"} or rule object
        What pruned entries learn: :class:`StraightThrough`, or :class:`SRSTE` with its decay.
    refresh : int, Refresh or None, default 40
        Optimizer steps between refreshes, a policy, or None for masks that are found once and
        frozen.
    workers : int, optional
        Threads of a refresh, which share out the layers; by default one for each core.
    mean_absorption : bool, default False
        Each kept entry takes up the mean, over all entries of its tile, of what is pruned there:
        masked weight = mask * (w + sum of the tile's (1 - mask) * w / its number of entries), as
        the code of Hubara et al. computes it. The straight-through gradient ignores it.

    Returns
    -------
    Handle
        Print its ``report``.

    Raises
    ------
    NmflowError
        For options that make no sense, a glob that matches nothing, a model with nothing to mask,
        masked already, sharded already, or with NaN in its weights. The model stays as it was.

    Notes
    -----
    The optimizer sees the dense weights: weight decay acts on all of them, pruned ones too.
    Compiled models need no recompilation at a refresh, which changes masks in place. Under DDP
    each process finds the same masks; DDP sends them along with other buffers at each forward
    pass, which ``broadcast_buffers=False`` spares where weights start equal. For FSDP2 sparsify
    before ``fully_shard``; masks then lie whole in each process. On the meta device masks keep
    everything until weights are there and :meth:`Handle.refresh` is called.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor & Soudry, "Accelerated sparse neural training: a provable
    and efficient method to find N:M transposable masks", NeurIPS 2021. For SR-STE see
    :class:`SRSTE`.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 2))
    >>> handle = nmflow.torch.sparsify(model, 4, 8)
    >>> print(handle.report)
    4:8 transposable: 1 sparsified, 1 SKIPPED
      0.weight  32 x 64  sparsified
      1.weight   2 x 32  SKIPPED: matrices of 2 x 32 are too small for m = 8
    2,048 of 2,146 parameters are masked (95 %)
    """
    check_score(score)
    problem = Problem(Pattern(n, m, pattern), find_method(method), score)
    gradient_rule = as_rule(rule)
    policy = Refresh() if refresh is None else as_refresh(refresh)
    threads = thread_count(workers)
    weights, report = choose_weights(model, problem.pattern, include, exclude)
    layers = [Layer(weight, problem, mean_absorption) for weight in weights]
    try:
        for layer in layers:
            install(layer.masked, layer.places)
        handle = Handle(layers, report, gradient_rule, policy, threads)
        if not any(weight.parameter.is_meta for weight in weights):
            handle.refresh()
    except BaseException:
        take_off(places_of(model, {layer.masked for layer in layers}), write=False)
        raise
    if refresh is None:
        handle.freeze()
    return handle
