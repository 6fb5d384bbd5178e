"""The public call: masks on a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import PatternName
from nmflow.problem.scores import ScoreName, check_score
from nmflow.problem.workers import thread_count
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method
from nmflow.torch.handle import Handle
from nmflow.torch.masking.install import install, take_off
from nmflow.torch.masking.masked import Masked
from nmflow.torch.selecting.layout import Layouts
from nmflow.torch.selecting.select import Weight, choose_weights
from nmflow.torch.selecting.wanted import Wanted
from nmflow.torch.solving.given import Masks, allow_nonzeros, put_in_force
from nmflow.torch.solving.layer import Layer
from nmflow.torch.solving.mask_set import MaskSet
from nmflow.torch.solving.problem import Problem, Scores, as_scorer
from nmflow.training.patterns import as_patterns
from nmflow.training.policy import Refresh, as_refresh
from nmflow.training.rules import StraightThrough, as_rule
from nmflow.units.unit import as_unit


def sparsify(
    model: Any,
    n: int | Mapping[str, tuple[int, int]],
    m: int | None = None,
    *,
    method: str | Method = "flow",
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    rule: str | StraightThrough = "ste",
    refresh: int | Refresh | None = 40,
    score: ScoreName = "abs",
    scores: Scores = None,
    masks: Masks = None,
    keep_zeros: bool = False,
    unit: tuple[int, int] = (1, 1),
    workers: int | None = None,
    mean_absorption: bool = False,
    kept_scores: bool = False,
) -> Handle:
    """Let a model train under n:m masks that follow its weights.

    The model then computes with mask * weight wherever it used the weight, through
    ``torch.nn.utils.parametrize``. Its parameters are the same objects as before, dense, so
    optimizers made earlier stay valid. Call :meth:`Handle.step` after each optimizer step.

    Parameters
    ----------
    model : torch.nn.Module
        With weights of float16, bfloat16, float32 or float64, on any device. Linear layers,
        convolutions, the projections of ``nn.MultiheadAttention``, ``Conv1D`` of transformers and
        stacks of experts are masked, over out x in for each group, expert and kernel position.
        Embeddings, heads, routers, adapters and weights tied to an embedding stay dense unless
        they are included. A parameter shared by several layers has one mask.
    n, m : int
        Keep n of every m. Or, instead of both, a mapping of globs to (n, m), such as
        ``{"*mlp*": (2, 4), "*attn*": (4, 8)}``: the first that a weight's name or its module's
        matches counts, and weights that none matches stay dense.
    method, pattern, score
        As for :func:`nmflow.solve`. ``flow`` starts each refresh from the last one's proof.
    include, exclude : str, type, callable, or iterable of these, optional
        Which to mask and not to: globs over names of modules or weights as the report prints
        them, classes of modules, or functions of (name, module). By default all that can be, but
        for those that stay dense by their role.
    layouts : mapping, optional
        Layer classes of your own: module class -> (weight's name, (out axis, in axis)), or a list
        of such pairs.
    rule : {"ste", "sr-ste"} or rule object
        What pruned entries learn: :class:`StraightThrough`, or :class:`SRSTE` with its decay.
    refresh : int, Refresh or None, default 40
        Optimizer steps between refreshes, a policy, or None for masks that are found once, as
        soon as their weights have values, and frozen.
    scores : callable or mapping, optional
        Importance scores instead of ``score``: a function of (name, weight) that is called at
        each refresh, by the calling thread, or a tensor for each name; of the weights' shapes.
        Negative ones are allowed; only their order and sums count.
    masks : mapping, callable or "zeros", optional
        Masks to begin with, by name or as a function of (name, weight) that may give None; others
        are solved. ``"zeros"`` keeps what is not 0, for weights that are n:m already (each group
        may hold fewer than n). With ``refresh=None`` they stay, which is how to fine-tune a pruned
        model; any other policy moves on from them.
    keep_zeros : bool, default False
        Whether no mask, now or later, keeps what is 0 in the weights as they are given, such as
        those of a model that is sparse already. Tiles that can't be filled without hold at most n
        in each row and column. Only with ``method="flow"``.
    unit : pair of int, default (1, 1)
        Rows and columns (out, in) of the blocks that are kept or dropped whole; n and m count
        blocks. ``sparsify(model, 2, 4, unit=(2, 2))`` is pair-wise 4:8 both ways, which Blackwell
        multiplies for NVFP4 and MXFP4.
    workers : int, optional
        Threads of a refresh, which share out the layers; by default one for each core.
    mean_absorption : bool, default False
        Each kept entry takes up the mean, over all entries of its tile, of what is pruned there:
        masked weight = mask * (w + sum of the tile's (1 - mask) * w / its number of entries), as
        the code of Hubara et al. computes it. The straight-through gradient ignores it.
    kept_scores : bool, default False
        Whether the statistics of each refresh sum the scores kept, which takes one more look at
        all weights; :meth:`Handle.kept_shares` tells them at any time.

    Returns
    -------
    Handle
        Print its ``report``.

    Raises
    ------
    NmflowError
        For options that make no sense, a glob that matches nothing, a model with nothing to mask,
        masked already, sharded already, or with NaN in its weights; with ``masks="zeros"`` for
        zeros that are not n:m, naming weight and group. The model stays as it was.

    Notes
    -----
    The optimizer sees the dense weights: weight decay acts on all of them, pruned ones too.
    What a layer shows as its weight is computed: assigning to it sets the dense weight, and a
    method that writes into it what would be lost, such as the merge of an adapter, raises (writes
    into views of it are not seen). Layers that compute
    another weight inside ``forward``, such as weight standardisation, which subtracts a mean, do
    so after the mask: zeros do not stay zeros there. The report notes layers with a forward of
    their own.

    Compiled models need no recompilation at a refresh, which changes masks in place. Under DDP
    each process finds the same masks; DDP sends them along with other buffers at each forward
    pass, which ``broadcast_buffers=False`` spares where weights start equal. For FSDP2 sparsify
    before ``fully_shard``; masks then lie whole in each process. FSDP1, which frees the weights'
    memory between forward passes, is refused at the first refresh. On the meta device masks keep
    everything and the report says that they wait; the first :meth:`Handle.step` or
    :meth:`Handle.refresh` after values are there solves them.

    Copies: ``copy.deepcopy`` takes masks along. A moving average of the weights is a model whose
    masks were found for other weights: call :func:`nmflow.torch.refresh` on it before it is used.

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
    """
    check_score(score)
    if scores is not None and score != "abs":
        raise NmflowError("scores takes the place of score: leave one of the two out")
    solver = find_method(method)
    patterns = as_patterns(n, m, pattern)
    gradient_rule = as_rule(rule)
    policy = None if refresh is None else as_refresh(refresh)
    threads = thread_count(workers)
    if keep_zeros and pattern == "transposable":
        solver.constrained_solver()
    block = as_unit(unit)
    weights, report = choose_weights(model, patterns, include, exclude, layouts, block)
    scorer = as_scorer(scores, [weight.name for weight in weights])
    layers = [
        Layer(_masked(weight, problem, mean_absorption), [])
        for weight in weights
        for problem in [Problem(weight.pattern, solver, score, scorer, keep_zeros, block)]
    ]
    masked = MaskSet(model, layers, threads, kept_scores)
    try:
        for layer, weight in zip(layers, weights, strict=True):
            for site in weight.sites:
                install(layer.masked, site.module, site.tensor)
        masked.look()
        if keep_zeros:
            allow_nonzeros(masked)
        put_in_force(masks, masked)
        handle = Handle(masked, report, gradient_rule, policy)
        handle.begin()
        if policy is not None and policy.ramp:
            masked.compile(policy.stages)
        return handle
    except BaseException:
        take_off(masked.look())
        raise


def _masked(weight: Weight, problem: Problem, mean_absorption: bool) -> Masked:
    mask = torch.ones_like(weight.parameter, dtype=torch.bool, requires_grad=False)
    return Masked(weight.name, mask, problem, weight.layout, mean_absorption)
