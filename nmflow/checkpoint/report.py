"""What pruning a checkpoint did, as frozen values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.layers import Skipped
from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate
from nmflow.proof.sums import exact_sum, ratio
from nmflow.warming.sample import Kernels


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that did not hold.

    Attributes
    ----------
    tensor : str
        The name, or ``"(file)"``.
    problem : str
    """

    tensor: str
    problem: str

    def __str__(self) -> str:
        return f"{self.tensor}: {self.problem}"


@dataclass(frozen=True, slots=True)
class MaskSample:
    """The upper left corner of one layer's mask, for a picture.

    Attributes
    ----------
    name : str
    mask : ndarray of bool, 2-D
    """

    name: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One pruned layer.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
    layout : Layout
        How it is a batch of matrices (out, in).
    total : float
        Sum of the positive scores: the most that a mask could keep.
    kept : mapping of str to float
        Kept score by pattern: of the pattern that was written, by the method asked for, and, if
        compared, of the others' optimal masks. Where m does not divide the shape, n:m may keep
        more than n/m of the entries, and so more than ``unstructured`` does.
    certificate : Certificate
        Of the mask that was written.
    seconds : float
        What finding that mask took.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: Layout
    total: float
    kept: Mapping[str, float]
    certificate: Certificate
    seconds: float

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def pattern(self) -> Pattern:
        """Of the mask that was written."""
        return self.certificate.pattern

    def share(self, pattern: str) -> float:
        """Kept part of the total score; 1 where there is nothing to keep."""
        return _share(self.kept[pattern], self.total)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """All of it.

    Attributes
    ----------
    source, target : str
    pattern : Pattern
    method, score : str
    layers : tuple of LayerReport
        In natural order of their names.
    skipped : tuple of Skipped
        In the file's order.
    failures : tuple of Failure
        Empty if every check held.
    kernels : Kernels
        How many kernels had to be compiled before the first layer, and how many were on the disk.
    kernel_seconds : float
        What compiling or loading them took.
    seconds : float
        Everything: loading kernels, reading, solving, comparing, certifying, writing, verifying.
    sample : MaskSample
    left_out : tuple of str
        Files of a folder that hold its weights in other formats, and were not copied.
    size : int
        Bytes of weights that were written, or of masks.
    resumed : int
        Those of them that an earlier run had written.
    masks_only : bool
        Whether the masks alone were written.
    """

    source: str
    target: str
    pattern: Pattern
    method: str
    score: str
    layers: tuple[LayerReport, ...]
    skipped: tuple[Skipped, ...]
    failures: tuple[Failure, ...]
    kernels: Kernels
    kernel_seconds: float
    seconds: float
    sample: MaskSample
    left_out: tuple[str, ...] = ()
    size: int = 0
    resumed: int = 0
    masks_only: bool = False

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns whose kept scores are known of all layers, loosest first."""
        first, *others = self.layers
        return tuple(name for name in first.kept if all(name in layer.kept for layer in others))

    @property
    def uniform(self) -> bool:
        """Whether all layers have the same pattern."""
        return len({(x.pattern.n, x.pattern.m, x.pattern.name) for x in self.layers}) == 1

    @property
    def kept_share(self) -> float:
        """Kept part of the total score, of each layer by its own pattern."""
        kept = math.fsum(layer.certificate.value for layer in self.layers)
        return _share(kept, math.fsum(layer.total for layer in self.layers))

    @property
    def solve_seconds(self) -> float:
        """Time that finding the written masks took, all layers' times added."""
        return math.fsum(layer.seconds for layer in self.layers)

    @property
    def gap(self) -> float:
        """Certified relative gap of all layers together; NaN if a mask is infeasible."""
        if not all(layer.certificate.feasible for layer in self.layers):
            return math.nan
        bounds = np.array([layer.certificate.bound for layer in self.layers])
        missing = np.array([layer.certificate.absolute_gap for layer in self.layers])
        return ratio(exact_sum(missing), exact_sum(bounds))

    def share(self, pattern: str) -> float:
        """Kept part of the total score of all layers together."""
        kept = math.fsum(layer.kept[pattern] for layer in self.layers)
        return _share(kept, math.fsum(layer.total for layer in self.layers))

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has; what is not a finite number becomes None."""
        return {
            "source": self.source,
            "target": self.target,
            "n": self.pattern.n,
            "m": self.pattern.m,
            "pattern": self.pattern.name,
            "method": self.method,
            "score": self.score,
            "verified": not self.failures,
            "failures": [{"tensor": f.tensor, "problem": f.problem} for f in self.failures],
            "kept_share": {name: _finite(self.share(name)) for name in self.patterns},
            "kept_share_written": _finite(self.kept_share),
            "gap": _finite(self.gap),
            "kernels_compiled": self.kernels.compiled,
            "kernel_seconds": self.kernel_seconds,
            "solve_seconds": self.solve_seconds,
            "seconds": self.seconds,
            "bytes": self.size,
            "bytes_resumed": self.resumed,
            "masks_only": self.masks_only,
            "left_out": list(self.left_out),
            "layers": [_layer_dict(layer) for layer in self.layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
        }


class VerifiedReport(Protocol):
    """A report on something that was written and verified, such as :class:`PruneReport`.

    Attributes
    ----------
    failures : tuple of Failure
        Empty if every check held.
    """

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What did not hold."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has."""
        ...


class VerificationError(NmflowError):
    """Masks or what was written failed a check; nothing was left.

    Attributes
    ----------
    report : VerifiedReport
        Of :func:`prune_checkpoint`, a :class:`PruneReport`.
    """

    def __init__(self, report: VerifiedReport) -> None:
        self.report = report
        first = "; ".join(map(str, report.failures[:3]))
        more = f" and {len(report.failures) - 3} more" if len(report.failures) > 3 else ""
        super().__init__(f"verification failed, nothing was written: {first}{more}")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts layer.2 before layer.10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _layer_dict(layer: LayerReport) -> dict[str, Any]:
    certificate = layer.certificate
    return {
        "name": layer.name,
        "dtype": layer.dtype,
        "shape": list(layer.shape),
        "n": layer.pattern.n,
        "m": layer.pattern.m,
        "pattern": layer.pattern.name,
        "axes": list(layer.layout.axes),
        "groups": layer.layout.groups,
        "total_score": _finite(layer.total),
        "kept_share": {name: _finite(layer.share(name)) for name in layer.kept},
        "value": _finite(certificate.value),
        "bound": _finite(certificate.bound),
        "absolute_gap": _finite(certificate.absolute_gap),
        "gap": _finite(certificate.gap),
        "feasible": certificate.feasible,
        "full": certificate.full,
        "tiles": certificate.tiles,
        "optimal_tiles": certificate.optimal_tiles,
        "seconds": layer.seconds,
    }


def _share(kept: float, total: float) -> float:
    return kept / total if total else 1.0


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
