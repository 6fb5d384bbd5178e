"""Prune the layers of a model: read, solve, certify, write, verify.

The files are walked once from front to back, a few bands of layers in memory at a time. What is
written takes its place only after it was read back and found right; until then it is in a folder
beside, where another run can take it up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmflow.checkpoint.cluster import hired
from nmflow.checkpoint.files import resolved
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.layer_job import LayerJob
from nmflow.checkpoint.layers import choose_layers
from nmflow.checkpoint.patterns import Patterns, patterns_from, read_patterns
from nmflow.checkpoint.report import PruneReport
from nmflow.checkpoint.writing.placing import clear_if_placed
from nmflow.checkpoint.writing.planning import Plan
from nmflow.checkpoint.writing.run import Progress, Run
from nmflow.checkpoint.writing.work_folder import WorkFolder
from nmflow.errors import NmflowError
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.workers import thread_count
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method

COMPARED: tuple[PatternName, ...] = ("unstructured", "rows", "transposable")
# Of models up to that many entries in layers, comparisons are made unless told otherwise: there
# they take seconds.
_COMPARED_UP_TO = 1 << 28


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
    by_layer: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    keep_zeros: bool = False,
    masks_only: bool = False,
    workers: int | None = None,
    compare: bool | None = None,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> PruneReport:
    """Write a copy of a model in which the layers' weights are n:m sparse.

    Pruned weights become zero; all else, kept weights, other tensors, metadata and layout, stays
    byte for byte what it was. Each mask is certified, and what is written is verified before it
    appears under its name: if anything fails, or is interrupted, ``target`` is as it was.

    Parameters
    ----------
    source, target : path
        A model of any kind that :func:`open_model` knows, and where one of the same kind goes. May
        be the same file with ``overwrite``.
    n, m, method, pattern, score, workers
        As for :func:`nmflow.solve`. Layers are tiled over (out, in), whichever axes these are.
    include, exclude : sequence of str
        Globs over tensor names; see :data:`nmflow.models.RULE` for what is pruned by default.
    by_layer : mapping or path, optional
        Other patterns for some layers: globs over tensor names to ``{"n": ..., "m": ...,
        "pattern": ...}`` or to ``"skip"``, the first that matches; or a TOML file of these.
    keep_zeros : bool
        Whether weights that are 0 are never kept: for models that are sparse already. Tiles that
        can't be filled without them hold at most n in each row and column.
    masks_only : bool
        Whether ``target`` is a file of the masks alone, for :func:`read_masks`.
    compare : bool, optional
        Whether to find also what unstructured, one-way and transposable optimal masks would keep;
        by default of models of up to 268 million weights in layers. Needs whole layers in memory.
    overwrite : bool
        Whether an existing ``target`` may be replaced, and what an earlier run left.
    resume : bool
        Whether to go on where an earlier run with the same arguments was killed, if one was.
    scheduler : str, optional
        Address of a running Dask cluster, whose workers solve and certify; they have to see
        ``source`` under the same absolute path. What is written is the same. By default threads of
        this process do it.
    progress : callable, optional
        ``progress(what, done, total)``, bytes done and in all.

    Returns
    -------
    PruneReport

    Raises
    ------
    NmflowError
        For wrong arguments, models that can't be read, NaN in a layer, a full disk.
    VerificationError
        If a mask or what was written fails a check.

    Notes
    -----
    Memory is a constant, some tens of MB a thread, whatever the model's size: layers are worked at
    in bands of tiles, whose certificates add up exactly. Where whole matrices are counted,
    ``compare`` or ``pattern="unstructured"``, it is that and a few times the largest layer.
    """
    begin = time.perf_counter()
    threads = thread_count(workers)
    plan = plan_checkpoint(
        *(source, target, n, m, method),
        pattern=pattern,
        score=score,
        include=include,
        exclude=exclude,
        by_layer=by_layer,
        keep_zeros=keep_zeros,
        masks_only=masks_only,
        compare=compare,
    )
    tell = progress or (lambda *_: None)
    folder = WorkFolder(plan.target)
    try:
        if not (resume and folder.path.exists()):
            clear_if_placed(folder)
            plan.check_target(overwrite=overwrite)
        with hired(scheduler, threads, plan.job.files) as crew, folder:
            run = Run(plan, str(source), str(target), crew, threads, begin, tell)
            return run.in_folder(folder, resume=resume, overwrite=overwrite)
    except OSError as error:
        failure = NmflowError(f"cannot write {target}: {error.strerror or error}")
        for note in getattr(error, "__notes__", ()):
            failure.add_note(note)
        raise failure from error


def plan_checkpoint(
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
    by_layer: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    keep_zeros: bool = False,
    masks_only: bool = False,
    compare: bool | None = None,
) -> Plan:
    """What :func:`prune_checkpoint` would do with these arguments; nothing is written.

    Returns
    -------
    Plan
        ``as_dict()`` gives what JSON has.

    Raises
    ------
    NmflowError
        For wrong arguments and models that can't be read.
    """
    wanted, chosen_method = Pattern(n, m, pattern), find_method(method)
    patterns = _patterns(wanted, by_layer)
    # As workers elsewhere would have to find it.
    model = open_model(Path(source).absolute())
    selection = choose_layers(
        *(model.tensors, wanted.m), include=include, exclude=exclude, patterns=patterns
    )
    if compare is None:
        compare = sum(layer.size for layer in selection.layers) <= _COMPARED_UP_TO
    names = {"transposable", *(one.name for _, one in patterns.by_glob if one), wanted.name}
    compared = COMPARED if compare else ()
    if len(names) == 1:
        compared = tuple(name for name in compared if name != wanted.name)
    job = LayerJob(model.files, patterns, chosen_method, score, compared, keep_zeros)
    return Plan(model, resolved(Path(target)), selection, job, masks_only)


def _patterns(default: Pattern, by_layer: Any) -> Patterns:
    if by_layer is None:
        return Patterns(default)
    if isinstance(by_layer, Mapping):
        return patterns_from(default, by_layer, "by_layer")
    return read_patterns(Path(by_layer), default)
