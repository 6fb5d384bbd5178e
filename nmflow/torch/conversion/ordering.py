"""Orders for a model that is to be converted, by what its layers see of the calibration data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.blocks import run
from nmflow.torch.conversion.calibrating.calibration import Calibration
from nmflow.torch.conversion.calibrating.recorder import Quiet, Recorder
from nmflow.torch.conversion.targets import Target
from nmflow.torch.orders.order import Kind
from nmflow.torch.orders.permute import permute
from nmflow.torch.orders.report import OrderReport
from nmflow.torch.selecting.layout import Layouts


def order_model(
    model: Any,
    runs: Calibration,
    targets: Sequence[Target],
    layouts: Layouts,
    kinds: Collection[Kind] | None,
) -> OrderReport:
    """Put a model's weights in orders under which masks keep more of what matters for outputs.

    Scores are ``w^2 * |x|^2``, x being what the weight is multiplied by in all calibration batches:
    the squared error of outputs without w alone, the square of what Wanda goes by (Sun et al., "A
    simple and effective pruning approach for large language models", ICLR 2024).

    Parameters
    ----------
    model : Module
    runs : Calibration
    targets : sequence of Target
        To be converted, all to one pattern.
    layouts : Layouts
    kinds : collection of str, optional
        Of :func:`nmflow.torch.permute`.

    Raises
    ------
    NmflowError
        If there are several patterns, and as :func:`nmflow.torch.permute`.
    """
    patterns = list(dict.fromkeys(target.pattern for target in targets))
    if len(patterns) > 1:
        raise NmflowError(
            f"permute needs one pattern, since orders of one weight are those of others, got"
            f" {', '.join(map(str, patterns))}"
        )
    (pattern,) = patterns
    scorer, inputs = _importance(runs, targets)
    return permute(
        model,
        pattern.n,
        pattern.m,
        inputs=inputs,
        kinds=kinds,
        pattern=pattern.name,
        include=[target.name for target in targets],
        layouts=layouts,
        scores=scorer,
    )


def _importance(
    runs: Calibration, targets: Sequence[Target]
) -> tuple[Callable[[str, Any], Any], Any]:
    """Scores of weights, and the inputs of the model's first call."""
    squares: dict[str, list[Any]] = {}
    inputs: list[Any] = []

    def sink(target: Target, seen: list[Any], _: Any) -> None:
        sums = [rows.double().square().sum(0) for rows in seen]
        known = squares.get(target.name)
        squares[target.name] = (
            sums if known is None else [a + b for a, b in zip(known, sums, strict=True)]
        )

    def first(_: Any, args: Any, kwargs: Any) -> None:
        if not inputs:
            inputs.append(_as_given(runs.root, args, kwargs))

    seen = [target for target in targets if target.can_be_seen]
    hook = runs.root.register_forward_pre_hook(first, with_kwargs=True)
    try:
        with Quiet(runs.root), Recorder(runs.root, seen, sink, runs.counts):
            for call in runs.calls():
                run(call)
    finally:
        hook.remove()
    by_name = {target.name: target for target in targets}

    def scores(name: str, weight: Any) -> Any:
        sizes = weight.detach().double().square()
        if name not in squares:
            return sizes
        target = by_name[name]
        norms = torch.stack(squares[name]).to(sizes)
        return target.matrices.join(target.matrices.split(sizes) * norms[:, None])

    return scores, inputs[0]


def _as_given(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The arguments of a call as a tuple, or as a mapping where some are keywords."""
    if not kwargs:
        return tuple(args)
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    return dict(bound.arguments) | bound.arguments.get("kwargs", {})
