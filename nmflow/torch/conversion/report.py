"""What became of each weight of a converted model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate
from nmflow.torch.orders.report import OrderReport
from nmflow.torch.rotations.report import RotationReport

ConvertedStatus = Literal["converted", "resumed", "magnitude", "left", "skipped"]

_HEADS = ("weight", "shape", "pattern", "kept", "error of the mask", "refitted", "gap", "time")


@dataclass(frozen=True, slots=True)
class ConvertedLayer:
    """One weight of the model.

    Attributes
    ----------
    name : str
    shape : tuple of int
    status : {"converted", "resumed", "magnitude", "left", "skipped"}
        Converted now; taken from the folder of an earlier run; masked by magnitude since no sample
        reaches it; left as it was by an interrupt; or not to be converted, see ``note``.
    pattern : Pattern or None
    kept_score : float
        Share of the method's scores that the mask keeps.
    masked_error : float
        ``|(W - S * W) X|^2 / |W X|^2`` of the mask S alone, over the calibration samples, and
        without the part that the bias makes up for. W are the weights that would be best without
        a mask.
    error : float
        The same of the weights that the model has now.
    certificate : Certificate or None
        Of the mask, for the scores that it was chosen by.
    samples : int
        That the layer saw.
    seconds : float
        For mask and weights, without running the model.
    note : str
    history : tuple of mapping
        Of methods with iterations.
    """

    name: str
    shape: tuple[int, ...]
    status: ConvertedStatus
    pattern: Pattern | None = None
    kept_score: float = math.nan
    masked_error: float = math.nan
    error: float = math.nan
    certificate: Certificate | None = None
    samples: int = 0
    seconds: float = 0.0
    note: str = ""
    history: tuple[dict[str, float], ...] = ()

    @property
    def sparse(self) -> bool:
        """Whether the weight is under a mask now."""
        return self.status in ("converted", "resumed", "magnitude")

    def as_dict(self) -> dict[str, Any]:
        """The line in values that JSON has, without the history; NaN becomes None."""
        pattern, proof = self.pattern, self.certificate
        return {
            "name": self.name,
            "shape": list(self.shape),
            "status": self.status,
            "n": None if pattern is None else pattern.n,
            "m": None if pattern is None else pattern.m,
            "pattern": None if pattern is None else pattern.name,
            "kept_score": _finite(self.kept_score),
            "masked_error": _finite(self.masked_error),
            "error": _finite(self.error),
            "gap": None if proof is None else _finite(proof.gap),
            "feasible": None if proof is None else proof.feasible,
            "tiles": None if proof is None else proof.tiles,
            "optimal_tiles": None if proof is None else proof.optimal_tiles,
            "samples": self.samples,
            "seconds": self.seconds,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What became of all weights; prints as a table.

    Attributes
    ----------
    recipe : str
        Method and reconstruction.
    layers : tuple of ConvertedLayer
        In the order in which data meets them, then those that were skipped.
    seconds : float
        Of the whole conversion.
    batch_norms : int
        Whose statistics were taken anew.
    orders : OrderReport or None
        In which the weights lie, where they were permuted.
    rotations : RotationReport or None
        Of heads, where they were turned.
    """

    recipe: str
    layers: tuple[ConvertedLayer, ...]
    seconds: float
    batch_norms: int = 0
    orders: OrderReport | None = None
    rotations: RotationReport | None = None

    @property
    def converted(self) -> tuple[ConvertedLayer, ...]:
        """The weights that are under masks now."""
        return tuple(layer for layer in self.layers if layer.sparse)

    @property
    def left(self) -> tuple[ConvertedLayer, ...]:
        """The weights that an interrupt left as they were."""
        return tuple(layer for layer in self.layers if layer.status == "left")

    @property
    def skipped(self) -> tuple[ConvertedLayer, ...]:
        """The weights that were not to be converted."""
        return tuple(layer for layer in self.layers if layer.status == "skipped")

    @property
    def error(self) -> float:
        """The mean of the layers' errors."""
        errors = [layer.error for layer in self.converted if not math.isnan(layer.error)]
        return math.fsum(errors) / len(errors) if errors else math.nan

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has; what is not a finite number becomes None."""
        orders, rotations = self.orders, self.rotations
        return {
            "recipe": self.recipe,
            "rotations": None if rotations is None else rotations.as_dict(),
            "orders": None if orders is None else orders.as_dict(),
            "error": _finite(self.error),
            "batch_norms": self.batch_norms,
            "seconds": self.seconds,
            "layers": [layer.as_dict() for layer in self.layers],
        }

    def __str__(self) -> str:
        rows = [_HEADS, *map(_row, self.converted)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADS))]
        lines = [self._head()]
        lines += [] if self.rotations is None else [str(self.rotations)]
        lines += [] if self.orders is None else [f"permuted first, {self.orders}"]
        lines += ["  " + _aligned(row, widths).rstrip() for row in rows]
        lines += [f"  {each.name}: {each.note}" for each in self.converted if each.note]
        lines += [f"  {each.name}: LEFT as it was" for each in self.left]
        lines += [f"  {each.name}: SKIPPED, {each.note}" for each in self.skipped]
        return "\n".join(lines)

    def _head(self) -> str:
        counts = [f"{len(self.converted)} converted"]
        counts += [f"{len(self.left)} LEFT"] * bool(self.left)
        counts += [f"{len(self.skipped)} SKIPPED"] * bool(self.skipped)
        head = f"{self.recipe}: {', '.join(counts)} in {self.seconds:.1f} s"
        if not math.isnan(self.error):
            head += f", mean output error {_percent(self.error)}"
        if self.batch_norms:
            head += f"; statistics of {self.batch_norms} batch norms taken anew"
        return head


def _row(layer: ConvertedLayer) -> tuple[str, ...]:
    pattern = layer.pattern
    return (
        layer.name,
        " x ".join(map(str, layer.shape)),
        "" if pattern is None else f"{pattern.n}:{pattern.m}",
        _percent(layer.kept_score),
        _percent(layer.masked_error),
        _percent(layer.error),
        "" if layer.certificate is None else f"{layer.certificate.gap:.3g}",
        "resumed" if layer.status == "resumed" else f"{layer.seconds:.2f} s",
    )


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.2f} %"


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    name, *others = row
    numbers = (f"{each:>{width}}" for each, width in zip(others, widths[1:], strict=True))
    return "  ".join([f"{name:{widths[0]}}", *numbers])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
