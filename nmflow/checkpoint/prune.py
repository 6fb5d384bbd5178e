"""Prune the layers of a safetensors file: read, solve, certify, write, verify.

The file is walked once from front to back, one layer in memory at a time. The new file takes its
place only after it was read back and found right.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import nmflow
from nmflow.checkpoint.files import check_target, replacing, settle, write
from nmflow.checkpoint.layers import Layer, choose_layers
from nmflow.checkpoint.report import (
    Failure,
    LayerReport,
    MaskSample,
    PruneReport,
    VerificationError,
    natural_key,
)
from nmflow.checkpoint.safetensors_file import (
    Checkpoint,
    decode,
    open_checkpoint,
    read_bits,
    read_bytes,
    spans,
)
from nmflow.checkpoint.verify import verify_checkpoint
from nmflow.errors import NmflowError
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many entries of how many are done."""

COMPARED: tuple[PatternName, ...] = ("unstructured", "rows", "transposable")
SAMPLE_SIDE = 32
_BLOCK_ENTRIES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Job:
    """What to do with each layer."""

    pattern: Pattern
    method: Method
    score: ScoreName
    workers: int | None
    compared: tuple[PatternName, ...]


@standard_arithmetic
def prune_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    n: int,
    m: int,
    method: str | Method = "flow",
    *,
    pattern: PatternName = "transposable",
    score: ScoreName = "abs",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    workers: int | None = None,
    compare: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PruneReport:
    """Write a copy of a safetensors file in which the layers' weights are n:m sparse.

    Pruned weights become zero; all else, kept weights, other tensors, metadata and layout, stays
    byte for byte what it was. Each mask is certified, and the file is verified before it appears
    under its name: if anything fails, or is interrupted, ``target`` is as it was.

    Parameters
    ----------
    source, target : path
        May be the same file with ``overwrite``.
    n, m, method, pattern, score, workers
        As for :func:`nmflow.solve`. Layers are tiled over (out, in), whichever axes these are.
    include, exclude : sequence of str
        Globs over tensor names; see :data:`nmflow.models.RULE` for what is pruned by default.
    compare : bool
        Whether to find also what unstructured, one-way and transposable optimal masks would keep.
    overwrite : bool
        Whether an existing ``target`` may be replaced.
    progress : callable, optional
        ``progress(what, done, total)``, entries done and in all.

    Returns
    -------
    PruneReport

    Raises
    ------
    NmflowError
        For wrong arguments, unreadable or invalid files, NaN in a layer, a full disk.
    VerificationError
        If a mask or the written file fails a check.
    """
    begin = time.perf_counter()
    wanted = Pattern(n, m, pattern)
    compared = tuple(name for name in COMPARED if name != wanted.name) if compare else ()
    job = _Job(wanted, find_method(method), score, workers, compared)
    old, new = Path(source), Path(target)
    checkpoint = open_checkpoint(old)
    check_target(new, overwrite=overwrite)
    chosen = choose_layers(checkpoint.tensors, job.pattern.m, include=include, exclude=exclude)
    tell = progress or (lambda *_: None)
    tell("compiling", 0, sum(layer.size for layer in chosen.layers))
    _warm_up(job)
    with replacing(new) as file:
        layers, sample = _write_pruned(checkpoint, file, chosen.layers, job, tell)
        settle(file)
        total = sum(layer.size for layer in chosen.layers)
        tell("verifying", total, total)
        failures = _certificate_failures(layers, job.method) + verify_checkpoint(
            checkpoint, Path(file.name), chosen.layers, job.pattern, filled=job.method.exact
        )
        report = PruneReport(
            source=str(old),
            target=str(new),
            pattern=job.pattern,
            method=job.method.name,
            score=job.score,
            layers=tuple(sorted(layers, key=lambda layer: natural_key(layer.name))),
            skipped=chosen.skipped,
            failures=failures,
            seconds=time.perf_counter() - begin,
            sample=sample,
        )
        if failures:
            raise VerificationError(report)
    return report


def _warm_up(job: _Job) -> None:
    """Solve one small tile: refuses wrong options, and compiles, so that no layer's time does."""
    side = min(job.pattern.m, 64)
    tile = np.arange(side**2, dtype=np.float64).reshape(side, side)
    nmflow.solve(
        *(tile, job.pattern.n, job.pattern.m, job.method),
        pattern=job.pattern.name,
        score=job.score,
        workers=job.workers,
    )


def _write_pruned(
    checkpoint: Checkpoint, target: BinaryIO, layers: Sequence[Layer], job: _Job, tell: Progress
) -> tuple[list[LayerReport], MaskSample]:
    """Copy the file, with zeros where a layer's mask is False."""
    reports: list[LayerReport] = []
    sample: MaskSample | None = None
    done, total, position = 0, sum(layer.size for layer in layers), 0
    with checkpoint.path.open("rb") as source:
        for layer in layers:
            tell(layer.name, done, total)
            tensor = layer.tensor
            _copy(source, target, position, tensor.start)
            bits = read_bits(source, tensor)
            report, mask = _prune_layer(layer, decode(bits, tensor.dtype), job)
            write(target, np.multiply(bits, mask, out=bits))
            reports.append(report)
            sample = sample or _sample(layer, mask, job.pattern)
            done, position = done + layer.size, tensor.stop
        _copy(source, target, position, checkpoint.size)
    assert sample is not None  # choose_layers returns at least one
    return reports, sample


def _copy(source: BinaryIO, target: BinaryIO, start: int, stop: int) -> None:
    for span in spans(start, stop):
        write(target, read_bytes(source, *span))


def _prune_layer(
    layer: Layer, weights: NDArray[Any], job: _Job
) -> tuple[LayerReport, NDArray[np.bool_]]:
    n, m, name = job.pattern.n, job.pattern.m, job.pattern.name
    matrices, axes = layer.layout.matrices(weights), layer.layout.matrix_axes(weights.ndim)
    try:
        begin = time.perf_counter()
        mask = nmflow.solve(
            *(matrices, n, m, job.method),
            pattern=name,
            axes=axes,
            score=job.score,
            workers=job.workers,
        )
        seconds = time.perf_counter() - begin
        certificate = nmflow.certify(matrices, mask, n, m, pattern=name, axes=axes, score=job.score)
        kept = {name: _score_sum(matrices, mask, job.score)}
        for other in job.compared:
            best = nmflow.solve(
                *(matrices, n, m),
                pattern=other,
                axes=axes,
                score=job.score,
                workers=job.workers,
            )
            kept[other] = _score_sum(matrices, best, job.score)
    except NmflowError as error:
        raise NmflowError(f"layer {layer.name!r}: {error}") from error
    report = LayerReport(
        name=layer.name,
        dtype=layer.tensor.dtype,
        shape=layer.tensor.shape,
        layout=layer.layout,
        total=_score_sum(weights, None, job.score),
        kept=dict(sorted(kept.items(), key=_loosest_first)),
        certificate=certificate,
        seconds=seconds,
    )
    return report, layer.layout.tensor(mask)


def _loosest_first(item: tuple[str, float]) -> int:
    return ("unstructured", "rows", "columns", "transposable").index(item[0])


def _score_sum(weights: NDArray[Any], mask: NDArray[np.bool_] | None, score: ScoreName) -> float:
    """Sum of the scores that the mask keeps; without a mask, of all positive ones.

    In float64 and in pieces: float16 would overflow, and a float64 copy of a layer may be large.
    """
    flat, kept = weights.reshape(-1), None if mask is None else mask.reshape(-1)
    sums = []
    for start, stop in spans(0, flat.size, _BLOCK_ENTRIES):
        scores = flat[start:stop].astype(np.float64)
        if score == "abs":
            np.abs(scores, out=scores)
        elif score == "square":
            np.square(scores, out=scores)
        keep = scores > 0 if kept is None else kept[start:stop]
        sums.append(float(scores.sum(where=keep)))
    return math.fsum(sums)


def _sample(layer: Layer, mask: NDArray[np.bool_], pattern: Pattern) -> MaskSample:
    """Some whole tiles of the mask, of its first matrix."""
    axes = layer.layout.matrix_axes(mask.ndim)
    first = np.moveaxis(layer.layout.matrices(mask), axes, (-2, -1))
    first = first[(0,) * (first.ndim - 2)]
    side = pattern.m * max(1, min(SAMPLE_SIDE, *first.shape) // pattern.m)
    return MaskSample(layer.name, first[:side, :side].copy())


def _certificate_failures(layers: Sequence[LayerReport], method: Method) -> tuple[Failure, ...]:
    """What the certificates do not say though the method promises it."""
    failures = []
    for layer in layers:
        certificate = layer.certificate
        if not certificate.feasible:
            problem = f"the mask keeps too many: {certificate.violations[0]}"
        elif method.exact and not certificate.full:
            problem = f"the mask keeps too few: {certificate.violations[0]}"
        elif method.exact and certificate.optimal_tiles != certificate.tiles:
            short = certificate.tiles - certificate.optimal_tiles
            problem = f"{short} tiles are not optimal: certified gap {certificate.gap:.3g}"
        else:
            continue
        failures.append(Failure(layer.name, problem))
    return tuple(failures)
