"""Hold a model against n:m, and against the dense one that it was made of.

Nothing of what wrote the model is believed, and nothing of the solvers is used: entries are
counted, kept weights compared as bits, and what a mask keeps is certified.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from nmflow.checkpoint.bands import Band
from nmflow.checkpoint.examining.counting import Found, Ratio, find, kept_matrices
from nmflow.checkpoint.examining.report import CheckReport, LayerChecked
from nmflow.checkpoint.formats.file_bytes import read_bytes, reading, spans
from nmflow.checkpoint.formats.model import Model
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.formats.tensor import FLOATING, Tensor, decode
from nmflow.checkpoint.layers import Layer, Selection, Skipped, choose_layers
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import Failure, natural_key
from nmflow.checkpoint.shares import optimal_value, total_score
from nmflow.checkpoint.verifying.counting import count_problems
from nmflow.errors import NmflowError
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.workers import thread_count

_ENTRIES_AT_ONCE = 1 << 26
_LEAST_M = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is held against.

    Attributes
    ----------
    patterns : mapping of str to Pattern, optional
        Of layers, by name. Layers are those, if there are any, else what the table of networks
        says.
    default : Pattern, optional
        Of all others. Without it each layer's is the sparsest that it has, and a layer without any
        is wrong.
    include, exclude : sequence of str
        Globs, as for :func:`nmflow.checkpoint.prune_checkpoint`.
    score : str
        By which gaps are told.
    fitted : bool
        Whether kept weights, and other tensors, may have other values than the source's.
    compared : tuple of str
        Patterns of which to find what their best masks would keep.
    """

    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    default: Pattern | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    score: ScoreName = "abs"
    fitted: bool = False
    compared: tuple[PatternName, ...] = ()

    def choose(self, tensors: Sequence[Tensor]) -> Selection:
        """The layers that are held against a pattern, and the rest."""
        least = self.default.m if self.default else _LEAST_M
        include = self.include or tuple(self.patterns)
        known = {tensor.name for tensor in tensors}
        if lost := [name for name in self.patterns if name not in known]:
            raise NmflowError(f"the report has a layer {lost[0]!r}, which the model does not have")
        return choose_layers(tensors, least, include=include, exclude=self.exclude)


@standard_arithmetic
def check_model(
    target: str | os.PathLike[str],
    asked: Asked,
    *,
    source: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> CheckReport:
    """Hold a model against n:m.

    Parameters
    ----------
    target : path
        As for :func:`nmflow.checkpoint.open_model`.
    asked : Asked
    source : path, optional
        The dense model. With it kept weights and other tensors must be the source's, bit for bit,
        and each layer's mask is certified.
    workers : int, optional
        Threads; nothing that is found depends on them.

    Returns
    -------
    CheckReport
        ``failures`` is empty if all holds.

    Raises
    ------
    NmflowError
        For what can't be read, and models that have nothing to do with each other.
    """
    begin = time.perf_counter()
    threads, model = thread_count(workers), open_model(target)
    chosen = asked.choose(model.tensors)
    dense = None if source is None else _Dense(open_model(source))

    def check(layer: Layer) -> LayerChecked:
        return _check(model, layer, asked, dense)

    found = in_order(check, chosen.layers, threads, lambda layer: layer.size, _ENTRIES_AT_ONCE)
    layers = sorted(found, key=lambda layer: natural_key(layer.name))
    failures = [Failure(layer.name, problem) for layer in layers for problem in layer.problems]
    if dense is not None:
        failures += _others(model, dense, chosen.skipped, asked.fitted)
    return CheckReport(
        target=str(target),
        source=None if source is None else str(source),
        score=asked.score,
        layers=tuple(layers),
        skipped=chosen.skipped,
        failures=tuple(failures),
        seconds=time.perf_counter() - begin,
    )


class _Dense:
    """The model that another one was made of, by names of tensors."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = {tensor.name: tensor for tensor in model.tensors}

    def bits(self, like: Tensor) -> NDArray[Any]:
        """Those of the tensor of the same name.

        Raises
        ------
        NmflowError
            If there is none of the same shape and dtype.
        """
        tensor = self.tensors.get(like.name)
        if tensor is None or (tensor.shape, tensor.dtype) != (like.shape, like.dtype):
            told = "no such tensor" if tensor is None else f"{tensor.dtype} of {tensor.shape}"
            raise NmflowError(
                f"{self.model.path} has {told} where the sparse model has {like.name!r},"
                f" {like.dtype} of {like.shape}: is it the model that this one was made of?"
            )
        return self.model.read_bits(tensor)


def _check(model: Model, layer: Layer, asked: Asked, dense: _Dense | None) -> LayerChecked:
    tensor = layer.tensor
    bits = model.read_bits(tensor)
    kept = kept_matrices(bits, layer.layout)
    found = find(kept)
    pattern = asked.patterns.get(tensor.name) or asked.default
    given = pattern is not None
    if pattern is None:
        pattern = _sparsest(found)
    problems = [] if pattern else ["no groups of 2, 4, 8, 16 or 32 hold fewer: it is not n:m"]
    checked = LayerChecked(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        layout=layer.layout,
        found=found,
        pattern=pattern,
        given=given,
        problems=(),
    )
    if pattern is not None:
        problems += _too_many(layer, kept, pattern)
    if dense is not None:
        before = dense.bits(tensor)
        if not asked.fitted and not np.array_equal(bits[bits << 1 != 0], before[bits << 1 != 0]):
            problems.append("a kept weight is not the source's, bit for bit")
        if pattern is not None:
            checked = _with_gap(checked, layer, decode(before, tensor.dtype), bits, asked)
    return checked.having(problems)


def _sparsest(found: Found) -> Pattern | None:
    """The pattern that a layer's zeros have."""
    ways: tuple[tuple[PatternName, Ratio | None], ...] = (
        ("transposable", found.both),
        ("rows", found.rows),
        ("columns", found.columns),
    )
    return next((Pattern(*ratio, name) for name, ratio in ways if ratio is not None), None)


def _too_many(layer: Layer, kept: NDArray[np.bool_], pattern: Pattern) -> Iterator[str]:
    """What holds more than a pattern allows, of matrices over axes (0, 1)."""
    tensor = layer.tensor
    whole = Band(layer, 0, tensor.shape[tensor.stored_order[0]], layer.layout)
    # Too few are no fault here: a gap tells what they cost.
    found = count_problems(whole, kept, lambda: np.ones_like(kept), pattern, filled=False)
    return map(str, found)


def _with_gap(
    checked: LayerChecked, layer: Layer, dense: NDArray[Any], bits: NDArray[Any], asked: Asked
) -> LayerChecked:
    """With what the mask keeps of the dense weights, and the most that one could."""
    layout, pattern = layer.layout, checked.pattern
    assert pattern is not None
    matrices, axes = layout.matrices(dense), layout.matrix_axes(dense.ndim)
    options: dict[str, Any] = {"axes": axes, "score": asked.score, "workers": 1}
    try:
        certificate = nmflow.certify(
            *(matrices, layout.matrices(bits << 1 != 0), pattern.n, pattern.m),
            pattern=pattern.name,
            **options,
        )
    except NmflowError as error:
        raise NmflowError(f"layer {layer.name!r} of the source: {error}") from error
    kept: dict[str, float] = {pattern.name: certificate.value}
    for name in asked.compared:
        if name != pattern.name:
            other = Pattern(pattern.n, pattern.m, name)
            kept[name] = optimal_value(matrices, other, **options)
    return checked.certified(certificate, total_score(dense, asked.score), kept)


def _others(
    model: Model, dense: _Dense, skipped: Sequence[Skipped], fitted: bool
) -> Iterator[Failure]:
    """Tensors that are no layers: all there, and unchanged."""
    ours = {tensor.name: tensor for tensor in model.tensors}
    for name in dense.tensors:
        if name not in ours:
            yield Failure(name, "the source has it, and this model has not")
    for one in skipped:
        tensor, before = ours[one.name], dense.tensors.get(one.name)
        if before is None:
            yield Failure(one.name, "the source has no tensor of that name")
        elif (before.shape, before.dtype) != (tensor.shape, tensor.dtype):
            yield Failure(one.name, f"it is {before.dtype} of {before.shape} in the source")
        elif not fitted and not _same(model, tensor, dense.model, before):
            yield Failure(one.name, "it should be unchanged and is not")


def _same(model: Model, tensor: Tensor, source: Model, before: Tensor) -> bool:
    if tensor.stored_order != before.stored_order and tensor.dtype in FLOATING:
        return np.array_equal(model.read_bits(tensor), source.read_bits(before))
    with (
        reading(model.files[tensor.shard]) as new,
        reading(source.files[before.shard]) as old,
    ):
        theirs = spans(before.start, before.stop)
        ours = spans(tensor.start, tensor.stop)
        return len(ours) == len(theirs) and all(
            read_bytes(new, *a) == read_bytes(old, *b) for a, b in zip(ours, theirs, strict=True)
        )
