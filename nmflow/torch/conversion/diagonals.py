"""What weights see of the calibration data, as diagonals of inverse second moments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from nmflow.torch.conversion.calibrating.blocks import run
from nmflow.torch.conversion.calibrating.calibration import Calibration
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.calibrating.recorder import Quiet, Recorder
from nmflow.torch.conversion.fitting import Recipe, not_factored, second_moments
from nmflow.torch.conversion.methods.importance import inverse_diagonal
from nmflow.torch.conversion.targets import Target

# Of second moments that are gathered in one run over the calibration data; what needs more takes
# more runs.
_MOMENT_BYTES = 1 << 30


@torch.no_grad()
def inverse_diagonals(
    runs: Calibration, targets: Sequence[Target], recipe: Recipe
) -> tuple[dict[str, Any], Any]:
    """[H^-1]_jj of what the model's weights see now, and the inputs of the model's first call.

    Returns
    -------
    diagonals : dict of str to Tensor (groups, features)
        By the names of weights; of none of which it is not known what they see.
    inputs
        As the model's forward takes them.
    """
    diagonals: dict[str, Any] = {}
    inputs: list[Any] = []

    def first(_: Any, args: Any, kwargs: Any) -> None:
        if not inputs:
            inputs.append(_as_given(runs.root, args, kwargs))

    hook = runs.root.register_forward_pre_hook(first, with_kwargs=True)
    try:
        for part in _parts([target for target in targets if target.can_be_seen]):
            diagonals |= _of_part(runs, part, recipe)
    finally:
        hook.remove()
    return diagonals, inputs[0]


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


def _of_part(runs: Calibration, targets: Sequence[Target], recipe: Recipe) -> dict[str, Any]:
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
