"""The public call: a model whose heads have bases in which masks cost less."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern, PatternName, as_integer
from nmflow.torch.orders.checking import TOLERANCE, difference, outputs_of, some_inputs
from nmflow.torch.orders.naming import known_blocks, orders_in_blocks
from nmflow.torch.orders.order import Order
from nmflow.torch.rotations.ascent import ascend, kept_of, polar
from nmflow.torch.rotations.heads import SizedWeight, Turning, head_count, turn
from nmflow.torch.rotations.report import FoundRotation, RotatedLayer, RotationReport
from nmflow.torch.selecting.layout import Layouts
from nmflow.torch.selecting.select import Weight, choose_weights
from nmflow.torch.selecting.wanted import Wanted

HeadKind = Literal["values", "queries"]
STEPS = 50


def rotate(
    model: Any,
    n: int,
    m: int,
    *,
    inputs: Any = None,
    kinds: Collection[HeadKind] | None = None,
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    features: Mapping[str, Any] | None = None,
    steps: int = STEPS,
) -> RotationReport:
    """Turn the heads of a transformer, in place, to bases in which n:m masks cost less.

    The model computes what it computed before but for rounding, in the same time: queries and keys
    of a head in any one orthonormal basis have the same products, and what is turned of values is
    turned back by the output projection. Outputs are compared before and after.

    Parameters
    ----------
    model : torch.nn.Module
        Dense, of one of the families of transformers that :func:`permute` knows, with float32 or
        float64 weights in its heads: narrower ones would be rounded by more than is let pass.
    n, m : int
        Keep n of every m.
    inputs : optional
        As for :func:`permute`: what outputs are compared for.
    kinds : collection of str, optional
        ``"values"``: those of each value head, with the output projection. ``"queries"``: those of
        each query head with its key head, unless they are rotary. By default both.
    pattern, include, exclude, layouts
        As for :func:`sparsify`: which weights are to be masked.
    features : mapping of str to Tensor, optional
        By names of weights, how much the squares of their entries count for each input, (inputs,).
        By default all alike.
    steps : int, default 50
        Of each of the search's stages.

    Returns
    -------
    RotationReport
        Print it. Its ``undo`` turns everything back.

    Raises
    ------
    NmflowError
        For options that make no sense, a model that has no heads that are known, one that is
        sparsified already, and outputs that differ by more than 1e-5 of their largest entry. The
        model is then as it was.

    Notes
    -----
    A permutation is the rotation that moves no weight's value, only its place: rotations have
    more to choose from. Entries become unlike each other, few of them large, so that what masks
    prune is little. No head's masks together keep less than in the basis that there was.

    References
    ----------
    Gu, Liu, Xiao, Zeng, Liu & Qian, "DenoiseRotator: enhance pruning robustness for LLMs via
    importance concentration", 2025, by Adam, to less entropy, with rotations of the residual stream
    that cost something at run time.

    Examples
    --------
    >>> import nmflow.torch, transformers
    >>> config = transformers.BertConfig(
    ...     hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64
    ... )
    >>> model = transformers.BertModel(config).eval()
    >>> report = nmflow.torch.rotate(model, 4, 8)
    >>> report.kept_after > report.kept_before, report.difference <= 1e-5
    (True, True)
    """
    if as_integer("steps", steps) < 1:
        raise NmflowError(f"steps must be at least 1, got {steps}")
    weights, _ = choose_weights(model, Pattern(n, m, pattern), include, exclude, layouts)
    given = some_inputs(model) if inputs is None else inputs
    report: RotationReport
    report, _ = rotate_weights(model, weights, given, kinds, features or {}, steps)
    return report


class Saved:
    """What values were before they were turned."""

    def __init__(self, orders: Sequence[Order]) -> None:
        values = {id(use.value): use.value for order in orders for use in order.uses}
        self._values = [(value, value.detach().clone()) for value in values.values()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back, to the last bit."""
        for value, before in self._values:
            value.copy_(before)


@torch.no_grad()
def rotate_weights(
    model: Any,
    weights: Sequence[Weight],
    inputs: Any,
    kinds: Collection[HeadKind] | None,
    features: Mapping[str, Any],
    steps: int = STEPS,
) -> tuple[RotationReport, Saved]:
    """As :func:`rotate`, for some weights, each to its own pattern; also what they were before."""
    began = time.perf_counter()
    orders, refused = _heads(model, kinds)
    before = outputs_of(model, inputs)
    sized = _sized(weights, orders, features)
    turnings: list[Turning] = []
    for order in orders:
        try:
            turnings.append(Turning(order, sized))
        except NmflowError as error:
            refused[order.name] = str(error)
    if not turnings:
        reasons = "; ".join(f"{name}: {why}" for name, why in refused.items()) or "it has none"
        raise NmflowError(f"no head of this {type(model).__name__} can be turned: {reasons}")
    found = _searched(turnings, steps)
    layers = {weight.weight.name: weight for turning in turnings for weight in turning.weights}
    turned = tuple(turning.order for turning in turnings)
    saved = Saved(turned)
    worst = _turned_and_checked(model, turned, found, saved, inputs, before)
    report = RotationReport(
        tuple(
            FoundRotation(order.name, order.kind, bases.cpu().numpy())
            for order, bases in zip(turned, found, strict=True)
        ),
        tuple(RotatedLayer(name, w.kept_before, w.kept_share()) for name, w in layers.items()),
        refused,
        worst,
        seconds=time.perf_counter() - began,
        _turned=turned,
    )
    return report, saved


def _heads(model: Any, kinds: Collection[HeadKind] | None) -> tuple[list[Order], dict[str, str]]:
    """The orders of channels within heads, and why there are no others."""
    wanted = get_args(HeadKind) if kinds is None else kinds
    if unlike := set(wanted) - set(get_args(HeadKind)):
        raise NmflowError(f"kinds must be of values, queries, got {', '.join(sorted(unlike))}")
    blocks = known_blocks(model)
    if not blocks:
        raise NmflowError(
            f"a {type(model).__name__} is no transformer whose heads are known: leave rotate out"
        )
    orders, refused = orders_in_blocks(model, blocks)
    return [order for order in orders if order.kind in wanted], refused


def _sized(
    weights: Sequence[Weight], orders: Sequence[Order], features: Mapping[str, Any]
) -> dict[int, SizedWeight]:
    """Weights that have channels of some head, by the ids of their parameters."""
    found: dict[int, SizedWeight] = {}
    by_parameter = {id(weight.parameter): weight for weight in weights}
    for order in orders:
        for use in order.uses:
            weight = by_parameter.get(id(use.value))
            if weight is None or id(use.value) in found:
                continue
            ndim = use.value.ndim
            inwards = use.axis % ndim == weight.layout.axes[1] % ndim
            copies = 1 if use.places is None else len(use.places)
            heads = head_count(order) * copies if inwards else 0
            found[id(use.value)] = SizedWeight(weight, features.get(weight.name), heads)
    return found


def _searched(turnings: Sequence[Turning], steps: int) -> list[Any]:
    """The bases, in float64; those that there were where no others keep more."""
    before = kept_of(turnings)
    ascend(turnings, steps)
    after = kept_of(turnings)
    found = []
    for turning, old, new in zip(turnings, before, after, strict=True):
        bases = polar(turning.bases.to(torch.float64))
        if not new > old:
            bases = torch.eye(bases.shape[1]).to(bases).expand_as(bases).contiguous()
            turning.bases = bases.to(turning.bases.dtype)
            turning.put()
        found.append(bases)
    return found


def _turned_and_checked(
    model: Any,
    orders: Sequence[Order],
    found: Sequence[Any],
    saved: Saved,
    inputs: Any,
    before: Any,
) -> float:
    """Turn the model's heads; the difference of its outputs."""
    try:
        for order, bases in zip(orders, found, strict=True):
            turn(order, bases)
        worst = difference(before, outputs_of(model, inputs))
        if not worst <= TOLERANCE:
            raise NmflowError(
                f"outputs of the rotated model differ by {worst:.1e} of their largest entry, more"
                f" than {TOLERANCE:.0e}: the model is as it was before; rotate it in float32, by"
                " model.float(), or leave rotate out"
            )
    except BaseException:
        saved.restore()
        raise
    return worst
