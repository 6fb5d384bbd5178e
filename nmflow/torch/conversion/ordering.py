"""Orders for a model that is to be converted, by what its layers see of the calibration data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.blocks import run
from nmflow.torch.conversion.calibrating.calibration import Calibration
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.calibrating.recorder import Quiet, Recorder
from nmflow.torch.conversion.fitting import Recipe, not_factored, second_moments
from nmflow.torch.conversion.methods.importance import inverse_diagonal
from nmflow.torch.conversion.targets import Target
from nmflow.torch.orders.order import Kind
from nmflow.torch.orders.permute import permute
from nmflow.torch.orders.report import OrderReport
from nmflow.torch.selecting.layout import Layouts

# Of second moments that are gathered in one run over the calibration data; what needs more takes
# more runs.
_MOMENT_BYTES = 1 << 30


def order_model(
    model: Any,
    runs: Calibration,
    targets: Sequence[Target],
    layouts: Layouts,
    kinds: Collection[Kind] | None,
    recipe: Recipe,
) -> OrderReport:
    """Put a model's weights in orders under which masks keep more of what matters for outputs.

    Scores are the optimal brain surgeon's, by what the dense model's layers see in all calibration
    batches: how much the squared error of outputs grows if one weight goes and the others of its
    row make up for it, as they will (:func:`nmflow.torch.conversion.methods.importance.obs`).

    Parameters
    ----------
    model : Module
    runs : Calibration
    targets : sequence of Target
        To be converted, all to one pattern.
    layouts : Layouts
    kinds : collection of str, optional
        Of :func:`nmflow.torch.permute`.
    recipe : Recipe
        How they will be converted.

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
    scorer, inputs = _importance(runs, targets, recipe)
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


@torch.no_grad()
def _importance(
    runs: Calibration, targets: Sequence[Target], recipe: Recipe
) -> tuple[Callable[[str, Any], Any], Any]:
    """Scores of weights, and the inputs of the model's first call."""
    diagonals: dict[str, Any] = {}
    inputs: list[Any] = []

    def first(_: Any, args: Any, kwargs: Any) -> None:
        if not inputs:
            inputs.append(_as_given(runs.root, args, kwargs))

    hook = runs.root.register_forward_pre_hook(first, with_kwargs=True)
    try:
        for part in _parts([target for target in targets if target.can_be_seen]):
            diagonals |= _inverse_diagonals(runs, part, recipe)
    finally:
        hook.remove()
    by_name = {target.name: target for target in targets}

    def scores(name: str, weight: Any) -> Any:
        sizes = weight.detach().double().square()
        if name not in diagonals:
            return sizes
        matrices = by_name[name].matrices
        return matrices.join(matrices.split(sizes) / diagonals[name].to(sizes)[:, None])

    return scores, inputs[0]


def _parts(targets: Sequence[Target]) -> Iterator[list[Target]]:
    """Targets whose second moments fit memory together; one part at least."""
    part: list[Target] = []
    room = _MOMENT_BYTES
    for target in targets:
        matrices = target.matrices
        size = 8 * matrices.layout.groups * matrices.features**2
        if part and size > room:
            yield part
            part, room = [], _MOMENT_BYTES
        part.append(target)
        room -= size
    yield part


def _inverse_diagonals(
    runs: Calibration, targets: Sequence[Target], recipe: Recipe
) -> dict[str, Any]:
    """[H^-1]_jj (groups, features) of what the dense model's weights see, by their names."""
    moments: dict[str, Moments] = {}

    def sink(target: Target, rows: list[Any], _: Any) -> None:
        moments.setdefault(target.name, Moments()).add(rows)

    with Quiet(runs.root), Recorder(runs.root, targets, sink, runs.counts):
        for call in runs.calls():
            run(call)
    found = {}
    for target in targets:
        seen = moments.pop(target.name, None)
        # An expert may never be asked.
        if seen is None or not seen.samples:
            continue
        try:
            found[target.name] = inverse_diagonal(second_moments(target, seen, recipe))
        except torch.linalg.LinAlgError as error:
            raise not_factored(target, seen, recipe, error) from error
    return found


def _as_given(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The arguments of a call as a tuple, or as a mapping where some are keywords."""
    if not kwargs:
        return tuple(args)
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    return dict(bound.arguments) | bound.arguments.get("kwargs", {})
