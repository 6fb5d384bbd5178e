"""What is done to one layer: read, solve, certify, compare."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from nmflow.checkpoint.formats.tensor import decode, read_bits
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.report import LayerReport, MaskSample
from nmflow.checkpoint.shares import optimal_value, total_score
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.solvers.interface import Method

SAMPLE_SIDE = 32


@dataclass(frozen=True, slots=True)
class LayerJob:
    """What to do with each layer.

    Attributes
    ----------
    source : Path
    pattern, method, score
        As for :func:`nmflow.solve`.
    compared : tuple of str
        The other patterns of which to find what their optimal masks keep.
    keep_zeros : bool
        Whether weights that are 0 are never kept.
    """

    source: Path
    pattern: Pattern
    method: Method
    score: ScoreName
    compared: tuple[PatternName, ...]
    keep_zeros: bool = False

    def run(self, layer: Layer, workers: int) -> PrunedLayer:
        """Read a layer and prune it.

        Raises
        ------
        NmflowError
            With the layer's name.
        """
        with self.source.open("rb") as file:
            bits = read_bits(file, layer.tensor)
        try:
            # Without the sign there is nothing left of a zero.
            within = layer.layout.matrices(bits << 1 != 0) if self.keep_zeros else None
            report, mask = self._solve(layer, decode(bits, layer.tensor.dtype), within, workers)
        except NmflowError as error:
            raise NmflowError(f"layer {layer.name!r}: {error}") from error
        return PrunedLayer(
            layer=layer,
            bits=np.multiply(bits, layer.layout.tensor(mask), out=bits),
            report=report,
            sample=_sample(layer, mask, self.pattern),
        )

    def _solve(
        self, layer: Layer, weights: NDArray[Any], within: NDArray[np.bool_] | None, workers: int
    ) -> tuple[LayerReport, NDArray[np.bool_]]:
        """The layer's report, and the mask of its matrices."""
        n, m, name = self.pattern.n, self.pattern.m, self.pattern.name
        bounds: dict[str, Any] = {"within": within, "at_most": within is not None}
        matrices, axes = layer.layout.matrices(weights), layer.layout.matrix_axes(weights.ndim)
        begin = time.perf_counter()
        mask = nmflow.solve(
            *(matrices, n, m, self.method),
            pattern=name,
            axes=axes,
            score=self.score,
            workers=workers,
            **bounds,
        )
        seconds = time.perf_counter() - begin
        certificate = nmflow.certify(
            *(matrices, mask, n, m),
            pattern=name,
            axes=axes,
            score=self.score,
            workers=workers,
            **bounds,
        )
        kept = {name: certificate.value} | {
            other: optimal_value(matrices, Pattern(n, m, other), axes, self.score, workers)
            for other in self.compared
        }
        report = LayerReport(
            name=layer.name,
            dtype=layer.tensor.dtype,
            shape=layer.tensor.shape,
            layout=layer.layout,
            total=total_score(weights, self.score),
            kept=dict(sorted(kept.items(), key=_loosest_first)),
            certificate=certificate,
            seconds=seconds,
        )
        return report, mask


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """A layer as it is to be written, and what there is to say about it.

    Attributes
    ----------
    layer : Layer
    bits : ndarray of unsigned integers, of the tensor's shape
    report : LayerReport
    sample : MaskSample
    """

    layer: Layer
    bits: NDArray[Any]
    report: LayerReport
    sample: MaskSample


def _loosest_first(item: tuple[str, float]) -> int:
    return ("unstructured", "rows", "columns", "transposable").index(item[0])


def _sample(layer: Layer, mask: NDArray[np.bool_], pattern: Pattern) -> MaskSample:
    """Some whole tiles of the mask, of its first matrix."""
    axes = layer.layout.matrix_axes(len(layer.tensor.shape))
    first = np.moveaxis(mask, axes, (-2, -1))
    first = first[(0,) * (first.ndim - 2)]
    side = pattern.m * max(1, min(SAMPLE_SIDE, *first.shape) // pattern.m)
    return MaskSample(layer.name, first[:side, :side].copy())
