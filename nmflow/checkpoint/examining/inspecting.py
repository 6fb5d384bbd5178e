"""What n:m the layers of a model have, what they could have, and which hardware takes them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nmflow import hardware
from nmflow.checkpoint.examining.counting import SIZES, Found, find, kept_matrices
from nmflow.checkpoint.formats.model import Model
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.layers import Layer, Skipped, choose_layers
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import natural_key
from nmflow.problem.workers import thread_count

# Of layers that are looked at side by side, or one.
_ENTRIES_AT_ONCE = 1 << 26

# In which dtypes sparse products of weights of a file are done; the last after a conversion.
_MULTIPLIED_IN = {
    "F16": ("float16",),
    "BF16": ("bfloat16",),
    "F32": ("tf32", "bfloat16"),
    "F64": ("bfloat16",),
}
_CONVERTED = {"F32", "F64"}


@dataclass(frozen=True, slots=True)
class LayerFound:
    """A layer as it is.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
    matrix : (int, int)
        Outputs and inputs of each of its matrices.
    found : Found
    divisible : tuple of int
        The m that divide outputs and inputs, so that n:m leaves no ragged edge.
    forward, backward : tuple of str
        Hardware that multiplies by it natively as it is, and by its transpose.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    matrix: tuple[int, int]
    found: Found
    divisible: tuple[int, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """In values that JSON has."""
        ratios = {
            name: None if ratio is None else {"n": ratio[0], "m": ratio[1]}
            for name, ratio in (
                ("rows", self.found.rows),
                ("columns", self.found.columns),
                ("transposable", self.found.both),
            )
        }
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "matrix": list(self.matrix),
            "entries": self.found.size,
            "zeros": self.found.zeros,
            **ratios,
            "most_held": dict(zip(("rows", "columns"), self.found.most, strict=True)),
            "divisible": list(self.divisible),
            "native": list(self.forward),
            "native_transposed": list(self.backward),
        }


@dataclass(frozen=True, slots=True)
class InspectReport:
    """A model as it is.

    Attributes
    ----------
    source, kind : str
    bytes : int
        Of all its files of weights.
    layers : tuple of LayerFound
        In natural order of their names.
    skipped : tuple of Skipped
        What stays dense by default, and why.
    sizes : tuple of int
        The m that were looked at.
    seconds : float
    """

    source: str
    kind: str
    bytes: int
    layers: tuple[LayerFound, ...]
    skipped: tuple[Skipped, ...]
    sizes: tuple[int, ...]
    seconds: float

    @property
    def entries(self) -> int:
        """Of all layers."""
        return sum(layer.found.size for layer in self.layers)

    @property
    def zeros(self) -> int:
        """Of all layers."""
        return sum(layer.found.zeros for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has."""
        return {
            "source": self.source,
            "kind": self.kind,
            "bytes": self.bytes,
            "entries": self.entries,
            "zeros": self.zeros,
            "seconds": self.seconds,
            "layers": [layer.as_dict() for layer in self.layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
        }


def inspect_model(
    source: str | os.PathLike[str],
    *,
    sizes: Sequence[int] = SIZES,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    workers: int | None = None,
) -> InspectReport:
    """Look at every layer of a model: what n:m its zeros have, and what runs it.

    Parameters
    ----------
    source : path
        As for :func:`nmflow.checkpoint.open_model`.
    sizes : sequence of int
        The m that are looked at.
    include, exclude, workers
        As for :func:`nmflow.checkpoint.prune_checkpoint`.

    Returns
    -------
    InspectReport

    Raises
    ------
    NmflowError
        For what can't be read, and for a model without a layer.

    Notes
    -----
    Reads every layer once, a few at a time.
    """
    begin = time.perf_counter()
    threads, model = thread_count(workers), open_model(source)
    lengths = tuple(sorted(set(sizes)))
    chosen = choose_layers(model.tensors, lengths[0], include=include, exclude=exclude)

    def look(layer: Layer) -> LayerFound:
        return _look(model, layer, lengths)

    found = in_order(look, chosen.layers, threads, lambda layer: layer.size, _ENTRIES_AT_ONCE)
    layers = sorted(found, key=lambda layer: natural_key(layer.name))
    return InspectReport(
        source=str(source),
        kind=model.kind,
        bytes=model.size,
        layers=tuple(layers),
        skipped=chosen.skipped,
        sizes=lengths,
        seconds=time.perf_counter() - begin,
    )


def _look(model: Model, layer: Layer, sizes: tuple[int, ...]) -> LayerFound:
    tensor = layer.tensor
    matrix = layer.layout.matrix_size(tensor.shape)
    found = find(kept_matrices(model.read_bits(tensor), layer.layout), sizes)
    return LayerFound(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        matrix=matrix,
        found=found,
        divisible=tuple(m for m in sizes if matrix[0] % m == 0 == matrix[1] % m),
        forward=native_for(found.most[0], tensor.dtype),
        backward=native_for(found.most[1], tensor.dtype),
    )


def native_for(most: Mapping[int, int], dtype: str) -> tuple[str, ...]:
    """Hardware that takes weights of a dtype of files, by generation.

    Parameters
    ----------
    most : mapping of int to int
        For each m how many of any m of a row are not 0, at most.
    dtype : str
    """
    ratios = [(max(n, 1), m) for m, n in sorted(most.items()) if n < m]
    told: dict[str, None] = {}
    for known in _MULTIPLIED_IN.get(dtype, ()):
        how = f"{known}, converted" if known == "bfloat16" and dtype in _CONVERTED else known
        for ratio in ratios:
            for row in hardware.native(*ratio, dtype=known):
                told[f"{row.vendor} {row.generation}: {row.instruction} ({how})"] = None
    return tuple(told)
