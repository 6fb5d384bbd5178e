"""Bases and orders for a model that is to be converted, by what its layers see of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.calibration import Calibration
from nmflow.torch.conversion.diagonals import inverse_diagonals
from nmflow.torch.conversion.fitting import Recipe
from nmflow.torch.conversion.targets import Target
from nmflow.torch.orders.order import Kind
from nmflow.torch.orders.permute import permute
from nmflow.torch.orders.report import OrderReport
from nmflow.torch.rotations.report import RotationReport
from nmflow.torch.rotations.rotate import HeadKind, Saved, rotate_weights
from nmflow.torch.selecting.layout import Layouts


def rotate_model(
    model: Any,
    runs: Calibration,
    targets: Sequence[Target],
    kinds: Collection[HeadKind] | None,
    recipe: Recipe,
) -> tuple[RotationReport, Saved]:
    """Turn a model's heads to bases in which masks cost less; also what was there before.

    Squares of weights count by the optimal brain surgeon, as in :func:`order_model`.

    Raises
    ------
    NmflowError
        As :func:`nmflow.torch.rotate`.
    """
    diagonals, inputs = inverse_diagonals(runs, targets, recipe)
    features = {name: 1 / each[0] for name, each in diagonals.items() if len(each) == 1}
    weights = [target.weight for target in targets]
    found: tuple[RotationReport, Saved] = rotate_weights(model, weights, inputs, kinds, features)
    return found


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
    diagonals, inputs = inverse_diagonals(runs, targets, recipe)
    return permute(
        model,
        pattern.n,
        pattern.m,
        inputs=inputs,
        kinds=kinds,
        pattern=pattern.name,
        include=[target.name for target in targets],
        layouts=layouts,
        scores=_scores(targets, diagonals),
    )


def _scores(targets: Sequence[Target], diagonals: Mapping[str, Any]) -> Callable[[str, Any], Any]:
    """Scores of weights, by their names and values."""
    by_name = {target.name: target for target in targets}

    def scores(name: str, weight: Any) -> Any:
        sizes = weight.detach().double().square()
        if name not in diagonals:
            return sizes
        matrices = by_name[name].matrices
        return matrices.join(matrices.split(sizes) / diagonals[name].to(sizes)[:, None])

    return scores
