"""What holding a model against n:m found, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nmflow.checkpoint.examining.counting import Found
from nmflow.checkpoint.layers import Skipped
from nmflow.checkpoint.report import Failure
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate

_LOOSEST_FIRST = ("unstructured", "rows", "columns", "transposable")


@dataclass(frozen=True, slots=True)
class LayerChecked:
    """A layer that was held against a pattern.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
    layout : Layout
    found : Found
        What n:m its zeros have.
    pattern : Pattern or None
        What it was held against: that which was asked for, else the sparsest that it has.
    given : bool
        Whether it was asked for.
    problems : tuple of str
        What does not hold.
    certificate : Certificate or None
        Of its mask on the dense weights, if those were given.
    total : float
        The most that a mask could keep of them.
    kept : mapping of str to float
        What it keeps, and what the best masks of other patterns would.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: Layout
    found: Found
    pattern: Pattern | None
    given: bool
    problems: tuple[str, ...]
    certificate: Certificate | None = None
    total: float = math.nan
    kept: Mapping[str, float] = field(default_factory=dict)

    def having(self, problems: Iterable[str]) -> LayerChecked:
        """The same with what does not hold."""
        return replace(self, problems=tuple(problems))

    def certified(
        self, certificate: Certificate, total: float, kept: Mapping[str, float]
    ) -> LayerChecked:
        """The same with what its mask keeps of dense weights."""
        ordered = {name: kept[name] for name in _LOOSEST_FIRST if name in kept}
        return replace(self, certificate=certificate, total=total, kept=ordered)

    @property
    def shares(self) -> dict[str, float]:
        """Kept parts of the total score."""
        return {name: kept / self.total if self.total else 1.0 for name, kept in self.kept.items()}

    def as_dict(self) -> dict[str, Any]:
        """In values that JSON has; the names are those of a prune's report."""
        pattern, proof = self.pattern, self.certificate
        told = {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "axes": list(self.layout.axes),
            "groups": self.layout.groups,
            "n": pattern and pattern.n,
            "m": pattern and pattern.m,
            "pattern": pattern and pattern.name,
            "given": self.given,
            "entries": self.found.size,
            "zeros": self.found.zeros,
            "problems": list(self.problems),
        }
        if proof is None:
            return told
        return told | {
            "total_score": finite(self.total),
            "kept_share": {name: finite(share) for name, share in self.shares.items()},
            "value": finite(proof.value),
            "bound": finite(proof.bound),
            "absolute_gap": finite(proof.absolute_gap),
            "gap": finite(proof.gap),
            "feasible": proof.feasible,
            "full": proof.full,
            "tiles": proof.tiles,
            "optimal_tiles": proof.optimal_tiles,
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A model that was held against n:m.

    Attributes
    ----------
    target : str
    source : str or None
    score : str
    layers : tuple of LayerChecked
        In natural order of their names.
    skipped : tuple of Skipped
    failures : tuple of Failure
        Empty if all holds.
    seconds : float
    """

    target: str
    source: str | None
    score: str
    layers: tuple[LayerChecked, ...]
    skipped: tuple[Skipped, ...]
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def gap(self) -> float:
        """Certified relative gap of all layers together; NaN without a source, or if infeasible."""
        proofs = [layer.certificate for layer in self.layers]
        if not all(proof is not None and proof.feasible for proof in proofs):
            return math.nan
        bound = math.fsum(proof.bound for proof in proofs if proof)
        return math.fsum(proof.absolute_gap for proof in proofs if proof) / bound if bound else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has; the names are those of a prune's report."""
        patterns = {layer.pattern for layer in self.layers}
        one = next(iter(patterns)) if len(patterns) == 1 else None
        return {
            "source": self.source,
            "target": self.target,
            "n": one and one.n,
            "m": one and one.m,
            "pattern": one and one.name,
            "score": self.score,
            "verified": not self.failures,
            "failures": [{"tensor": f.tensor, "problem": f.problem} for f in self.failures],
            "gap": finite(self.gap),
            "seconds": self.seconds,
            "layers": [layer.as_dict() for layer in self.layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
        }


def finite(value: float) -> float | None:
    """The number, or None where JSON has none."""
    return float(value) if math.isfinite(value) else None
