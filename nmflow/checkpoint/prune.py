"""Prune the layers of a safetensors file: read, solve, certify, write, verify.

The file is walked once from front to back, the next few layers in memory at a time, one for each
thread. The new file takes its place only after it was read back and found right.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from nmflow.checkpoint.files import check_target, replacing, settle, write
from nmflow.checkpoint.formats.file_bytes import read_bytes, spans
from nmflow.checkpoint.formats.model import Model, Shard
from nmflow.checkpoint.formats.safetensors_file import read_safetensors
from nmflow.checkpoint.formats.tensor import decoded_dtype
from nmflow.checkpoint.layer_job import LayerJob, PrunedLayer
from nmflow.checkpoint.layers import Layer, choose_layers
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import (
    Failure,
    LayerReport,
    MaskSample,
    PruneReport,
    VerificationError,
    natural_key,
)
from nmflow.checkpoint.verify import verify_checkpoint
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.workers import thread_count
from nmflow.proof.certificate import Certificate
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method
from nmflow.warming.sample import Kernels, load_kernels, sample_shape

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many entries of how many are done."""

COMPARED: tuple[PatternName, ...] = ("unstructured", "rows", "transposable")
# Of layers that are worked at side by side: 256 MB of float32, or one layer.
ENTRIES_AT_ONCE = 1 << 26


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
    keep_zeros: bool = False,
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
    keep_zeros : bool
        Whether weights that are 0 are never kept: for models that are sparse already. Tiles that
        can't be filled without them hold at most n in each row and column.
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
    wanted, threads = Pattern(n, m, pattern), thread_count(workers)
    compared = tuple(name for name in COMPARED if name != wanted.name) if compare else ()
    old, new = Path(source), Path(target)
    job = LayerJob(old, wanted, find_method(method), score, compared, keep_zeros)
    model = Model(old, "safetensors", (read_safetensors(old),))
    checkpoint = model.shards[0]
    check_target(new, overwrite=overwrite)
    chosen = choose_layers(checkpoint.tensors, wanted.m, include=include, exclude=exclude)
    total = sum(layer.size for layer in chosen.layers)
    tell = progress or (lambda *_: None)
    tell("compiling", 0, total)
    kernels, kernel_seconds = _load_kernels(chosen.layers, job)
    with replacing(new) as file:
        layers, sample = _write_pruned(checkpoint, file, chosen.layers, job, threads, tell)
        settle(file)
        tell("verifying", total, total)
        failures = certificate_failures(
            ((layer.name, layer.certificate) for layer in layers), exact=job.method.exact
        ) + verify_checkpoint(
            *(model, Path(file.name), chosen.layers, wanted),
            filled=job.method.exact and not keep_zeros,
            workers=threads,
        )
        report = PruneReport(
            source=str(old),
            target=str(new),
            pattern=wanted,
            method=job.method.name,
            score=score,
            layers=tuple(sorted(layers, key=lambda layer: natural_key(layer.name))),
            skipped=chosen.skipped,
            failures=failures,
            kernels=kernels,
            kernel_seconds=kernel_seconds,
            seconds=time.perf_counter() - begin,
            sample=sample,
        )
        if failures:
            raise VerificationError(report)
    return report


def _load_kernels(layers: Sequence[Layer], job: LayerJob) -> tuple[Kernels, float]:
    """Compile now, or load, what the layers need, so that no layer's time does; and the seconds.

    Refuses wrong options as well.
    """
    begin, before, m = time.perf_counter(), Kernels.so_far(), job.pattern.m
    kinds = {
        (sample_shape(*layer.layout.matrix_size(layer.tensor.shape), m), layer.tensor.dtype)
        for layer in layers
    }
    for shape, dtype in sorted(kinds):
        kind = shape, decoded_dtype(dtype)
        load_kernels(*kind, job.pattern, job.method, job.score)
        if "transposable" in job.compared:
            load_kernels(*kind, Pattern(job.pattern.n, m), "flow", job.score)
    return Kernels.so_far().since(before), time.perf_counter() - begin


def _write_pruned(
    checkpoint: Shard,
    target: BinaryIO,
    layers: Sequence[Layer],
    job: LayerJob,
    threads: int,
    tell: Progress,
) -> tuple[list[LayerReport], MaskSample]:
    """Copy the file, with zeros where a layer's mask is False."""
    reports: list[LayerReport] = []
    sample: MaskSample | None = None
    done, total, position = 0, sum(layer.size for layer in layers), 0

    def prune(layer: Layer) -> PrunedLayer:
        # Layers that are few at a time are cut up among the threads; others have one each.
        return job.run(layer, threads if layer.size * threads > ENTRIES_AT_ONCE else 1)

    pruned_layers = in_order(prune, layers, threads, lambda layer: layer.size, ENTRIES_AT_ONCE)
    with checkpoint.path.open("rb") as source, closing(pruned_layers):
        for layer in layers:
            tell(layer.name, done, total)
            pruned = next(pruned_layers)
            _copy(source, target, position, layer.tensor.start)
            write(target, pruned.bits)
            reports.append(pruned.report)
            sample = sample or pruned.sample
            done, position = done + layer.size, layer.tensor.stop
            del pruned
        _copy(source, target, position, checkpoint.size)
    assert sample is not None  # choose_layers returns at least one
    return reports, sample


def _copy(source: BinaryIO, target: BinaryIO, start: int, stop: int) -> None:
    for span in spans(start, stop):
        write(target, read_bytes(source, *span))


def certificate_failures(
    certificates: Iterable[tuple[str, Certificate]], *, exact: bool
) -> tuple[Failure, ...]:
    """What certificates do not say though the method promises it.

    Parameters
    ----------
    certificates : iterable of (str, Certificate)
        With the names of their layers.
    exact : bool
        Whether masks are promised to be full and optimal.
    """
    failures = []
    for name, certificate in certificates:
        if not certificate.feasible:
            problem = f"the mask keeps too many: {certificate.violations[0]}"
        elif exact and not certificate.full:
            problem = f"the mask keeps too few: {certificate.violations[0]}"
        elif exact and certificate.optimal_tiles != certificate.tiles:
            short = certificate.tiles - certificate.optimal_tiles
            problem = f"{short} tiles are not optimal: certified gap {certificate.gap:.3g}"
        else:
            continue
        failures.append(Failure(name, problem))
    return tuple(failures)
