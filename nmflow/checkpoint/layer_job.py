"""What is done to one band of a layer: read, solve, certify, compare."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from nmflow import priced
from nmflow.certify import tally_of
from nmflow.checkpoint.bands import Band, bands_of
from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.checkpoint.formats.tensor import decode, read_bits
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.patterns import Patterns
from nmflow.checkpoint.report import LayerReport, MaskSample
from nmflow.checkpoint.shares import optimal_value, total_score
from nmflow.errors import NmflowError
from nmflow.problem.arrays import HostArray, as_is
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName
from nmflow.proof.certificate import Tally
from nmflow.solvers.interface import Method
from nmflow.warming.sample import sample_weights

SAMPLE_SIDE = 32
_SAMPLED = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True, slots=True)
class LayerJob:
    """What to do with each layer. Plain values: it can be sent to another process, or machine.

    Attributes
    ----------
    files : tuple of Path
        Of the model, which the job reads by itself.
    patterns : Patterns
    method, score
        As for :func:`nmflow.solve`.
    compared : tuple of str
        Patterns of which to find what their optimal masks keep.
    keep_zeros : bool
        Whether weights that are 0 are never kept.
    """

    files: tuple[Path, ...]
    patterns: Patterns
    method: Method
    score: ScoreName
    compared: tuple[PatternName, ...]
    keep_zeros: bool = False

    def pattern_of(self, layer: Layer) -> Pattern:
        """What the layer gets."""
        pattern = self.patterns.of(layer.name)
        assert pattern is not None  # or it were no layer
        return pattern

    def bands(self, layer: Layer) -> Iterator[Band]:
        """The parts in which the layer is worked at."""
        return bands_of(layer, self.pattern_of(layer), by_matrix="unstructured" in self.compared)

    def rehearse(self, shape: tuple[int, int], dtype: str, pattern: Pattern) -> None:
        """Do it all to a small matrix, so that kernels are there; refuses wrong options."""
        weights = sample_weights(shape, _SAMPLED[dtype])
        numbers = decode(weights.values, dtype) if dtype == "BF16" else weights
        within = np.ones(shape, np.bool_) if self.keep_zeros else None
        self._findings(weights, numbers, pattern, within, axes=(0, 1), workers=1)

    def run(self, band: Band, workers: int = 1) -> PrunedBand:
        """Read a band and prune it.

        Raises
        ------
        NmflowError
            With the layer's name.
        """
        tensor, pattern = band.tensor, self.pattern_of(band.layer)
        with reading(self.files[tensor.shard]) as file:
            bits = read_bits(file, tensor, band.first, band.last)
        weights = decode(bits, tensor.dtype)
        try:
            found, mask = self._solve(band, pattern, bits, weights, workers)
        except NmflowError as error:
            raise NmflowError(f"layer {tensor.name!r}: {_where(band, weights, error)}") from error
        kept = band.layout.tensor(mask)
        np.multiply(bits, kept, out=bits)
        order = tensor.stored_order
        return PrunedBand(
            band=band,
            data=np.ascontiguousarray(bits.transpose(order)),
            kept=kept.transpose(order),
            found=found,
            sample=_sample(band, mask, pattern) if band.first == 0 else None,
        )

    def _solve(
        self,
        band: Band,
        pattern: Pattern,
        bits: NDArray[Any],
        weights: NDArray[Any],
        workers: int,
    ) -> tuple[Findings, NDArray[np.bool_]]:
        """What there is to say of a band, and the mask of its matrices."""
        matrices, layout = band.layout.matrices, band.layout
        # Without the sign there is nothing left of a zero.
        within = matrices(bits << 1 != 0) if self.keep_zeros else None
        numbers = to_solve = matrices(weights)
        if band.tensor.dtype == "BF16":
            # The solver reads these 16 bits as they are.
            to_solve = HostArray(matrices(bits), "bfloat16", True, as_is)
        found, mask = self._findings(
            *(to_solve, numbers, pattern, within),
            axes=layout.matrix_axes(weights.ndim),
            workers=workers,
        )
        found.tally = band.moved(found.tally)
        return found, mask

    def _findings(
        self,
        weights: Any,
        numbers: NDArray[Any],
        pattern: Pattern,
        within: NDArray[np.bool_] | None,
        *,
        axes: tuple[int, int],
        workers: int,
    ) -> tuple[Findings, NDArray[np.bool_]]:
        """Solve, certify and compare; ``numbers`` are the weights for numpy."""
        n, m = pattern.n, pattern.m
        options: dict[str, Any] = {"axes": axes, "score": self.score, "workers": workers}
        begin = time.perf_counter()
        mask, prices = self._mask(weights, pattern, within, options)
        seconds = time.perf_counter() - begin
        exactly = Pattern(n, m, pattern.name, at_most=within is not None)
        tally = tally_of(numbers, mask, exactly, within=within, prices=prices, **options)
        kept: dict[str, float] = {
            other: optimal_value(numbers, Pattern(n, m, other), axes, self.score, workers)
            for other in self.compared
            if other != pattern.name
        }
        return Findings(tally, total_score(numbers, self.score), kept, seconds), mask

    def _mask(
        self,
        weights: Any,
        pattern: Pattern,
        within: NDArray[np.bool_] | None,
        options: dict[str, Any],
    ) -> tuple[NDArray[np.bool_], Prices | None]:
        """The mask, and prices that prove it where the solver has some."""
        by_flow = self.method.name == "flow" and pattern.name == "transposable"
        if by_flow and within is None:
            return priced.solve_for_certificate(weights, pattern, **options)
        mask: NDArray[np.bool_] = nmflow.solve(
            *(weights, pattern.n, pattern.m, self.method),
            pattern=pattern.name,
            within=within,
            at_most=within is not None,
            **options,
        )
        return mask, None


@dataclass(slots=True)
class Findings:
    """What is known of a band, or of several that follow each other.

    Attributes
    ----------
    tally : Tally
    total : float
        Sum of the positive scores.
    kept : dict of str to float
        What the best masks of other patterns keep.
    seconds : float
        What finding the mask took.
    """

    tally: Tally
    total: float
    kept: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PrunedBand:
    """A band as it is to be written, and what there is to say about it.

    Attributes
    ----------
    band : Band
    data : ndarray of unsigned integers
        Its entries, as they lie in the file.
    kept : ndarray of bool
        Its mask, in the same order.
    found : Findings
    sample : MaskSample or None
        Of a layer's first band.
    """

    band: Band
    data: NDArray[Any]
    kept: NDArray[np.bool_]
    found: Findings
    sample: MaskSample | None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask, eight entries a byte."""
        return np.packbits(self.kept)


def layer_report(layer: Layer, parts: Sequence[Findings]) -> LayerReport:
    """What the findings of all bands of a layer come to."""
    tally = Tally(parts[0].tally.pattern)
    for part in parts:
        tally.add(part.tally)
    certificate = tally.certificate()
    kept = {certificate.pattern.name: certificate.value} | {
        name: math.fsum(part.kept[name] for part in parts) for name in parts[0].kept
    }
    return LayerReport(
        name=layer.name,
        dtype=layer.tensor.dtype,
        shape=layer.tensor.shape,
        layout=layer.layout,
        total=math.fsum(part.total for part in parts),
        kept=dict(sorted(kept.items(), key=_loosest_first)),
        certificate=certificate,
        seconds=math.fsum(part.seconds for part in parts),
    )


def _loosest_first(item: tuple[str, float]) -> int:
    return ("unstructured", "rows", "columns", "transposable").index(item[0])


def _where(band: Band, weights: NDArray[Any], error: NmflowError) -> str:
    """The error's text; for a number that is not finite, where in the whole tensor it is."""
    odd = np.argwhere(~np.isfinite(weights))
    if not len(odd):
        return str(error)
    first = tuple(map(int, odd[0]))
    return (
        f"{weights[first]} at index {band.place(first)}, but all values must be finite; look for"
        " where it came from, or leave this layer out with exclude"
    )


def _sample(band: Band, mask: NDArray[np.bool_], pattern: Pattern) -> MaskSample:
    """Some whole tiles of the mask, of its first matrix."""
    axes = band.layout.matrix_axes(len(band.tensor.shape))
    first = np.moveaxis(mask, axes, (-2, -1))
    first = first[(0,) * (first.ndim - 2)]
    side = pattern.m * max(1, min(SAMPLE_SIDE, *first.shape) // pattern.m)
    return MaskSample(band.layer.name, first[:side, :side].copy())
