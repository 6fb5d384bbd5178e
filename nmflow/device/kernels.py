"""Tensors of a CUDA device -> the kernels of :mod:`nmflow.cuda`, on PyTorch's current stream.

Nothing here waits for the device. Weights of one n:m, dtype and score are solved by the same
launches, however many there are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from nmflow.cuda import launch
from nmflow.cuda.problem import (
    COUNTERS,
    LARGEST_TILES,
    Matrix,
    Pointers,
    scratch_size,
    tables,
    tile_count,
    warm_size,
)
from nmflow.cuda.source import FORMATS, LARGEST_M, SMALLEST_M
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

_NAMES = {getattr(torch, name): name for name in FORMATS}
# Tiles of this size are enumerated, which no potentials help.
_ENUMERATED = 4


class Kind(NamedTuple):
    """What weights have in common that the same launches solve.

    Attributes
    ----------
    n, m : int
    dtype : str
        One of :data:`nmflow.cuda.source.FORMATS`.
    signed : bool
        Whether weights are the scores themselves.
    warm : bool
        Whether potentials stay from solve to solve.
    device : torch.device
    """

    n: int
    m: int
    dtype: str
    signed: bool
    warm: bool
    device: Any


class Solved(NamedTuple):
    """Masks that are written when the current stream gets there.

    Attributes
    ----------
    kind : Kind
    masks : list of bool Tensor (B, R, C)
    counters : int32 Tensor, shape (K, COUNTERS)
        Where ``NOT_FINITE`` is not 0, masks of tiles with NaN or infinity were not written.
    matrices : list of Matrix
        What the kernels were given.
    scratch : Tensor
        Their memory.
    """

    kind: Kind
    masks: list[Any]
    counters: Any
    matrices: list[Matrix]
    scratch: Any

    def put_in_force(self, in_force: Sequence[Any], refused: Any) -> None:
        """Put the masks in the place of others, and count in ``FLIPPED`` what that changes.

        Parameters
        ----------
        in_force : sequence of bool Tensor (B, R, C)
            Of any strides.
        refused : int32 Tensor of no dimension
            Not 0 where nothing is to change.
        """
        matrices = [
            each._replace(
                pointers=each.pointers._replace(in_force=mask.data_ptr()),
                in_force_strides=mask.stride(),
            )
            for each, mask in zip(self.matrices, in_force, strict=True)
        ]
        found = _compiled(self.kind)
        with stream_of(self.kind.device) as stream:
            for table in tables(matrices, self.kind.m, found.blocks, refused.data_ptr()):
                launch.launch(found, launch.REPLACING, stream, table)


def on_cuda(tensor: Any) -> bool:
    """Whether a tensor lies on a device of NVIDIA's for which the extra is installed."""
    return tensor.device.type == "cuda" and torch.version.hip is None and launch.available()


def kind_of(matrices: Any, pattern: Pattern, score: str, warm: bool = False) -> Kind | None:
    """Which kernels solve matrices (B, R, C); None where none do.

    Warns
    -----
    RuntimeWarning
        If they can't be compiled or loaded; tensor operations solve it then.
    """
    n, m, name = pattern.n, pattern.m, _NAMES.get(matrices.dtype)
    fits = name is not None and score in ("abs", "raw") and n < m
    if not fits or not SMALLEST_M <= m <= LARGEST_M or not matrices.numel():
        return None
    if not on_cuda(matrices) or tile_count(tuple(matrices.shape), m) > LARGEST_TILES // 2:
        return None
    warm = warm and m != _ENUMERATED
    kind = Kind(n, m, str(name), score == "raw", warm, matrices.device)
    try:
        _compiled(kind)
    except NmflowError as error:
        warnings.warn(f"{error}: masks by tensor operations instead", RuntimeWarning, stacklevel=2)
        return None
    return kind


def potentials_of(matrices: Any, m: int, left: Any = None) -> Any:
    """Where potentials of matrices (B, R, C) stay: what was left, if it is theirs, or none yet."""
    size = warm_size(tuple(matrices.shape), m)
    if left is not None and left.device == matrices.device and len(left) == size:
        return left
    return torch.zeros(size, dtype=torch.int32, device=matrices.device)


def solve_each(kind: Kind, weights: Sequence[Any], warm: Sequence[Any] = ()) -> Solved:
    """The masks of matrices of one kind, an entry of ``weights`` (B, R, C) for each.

    Parameters
    ----------
    kind : Kind
    weights : sequence of Tensor
    warm : sequence of Tensor
        Where their potentials stay, as :func:`potentials_of` makes it; of a kind that has them.
    """
    shapes = [tuple(each.shape) for each in weights]
    sizes = [scratch_size(shape, kind.m) for shape in shapes]
    options = {"dtype": torch.int32, "device": kind.device}
    counters = torch.zeros((len(weights), COUNTERS), **options)
    scratch = torch.empty(sum(sizes), **options)
    masks = [torch.empty(shape, dtype=torch.bool, device=kind.device) for shape in shapes]
    parts = zip(weights, masks, counters, scratch.split(sizes), strict=True)
    matrices = [
        Matrix(
            Pointers(*(tensor.data_ptr() for tensor in (each, mask, counter, part))),
            tuple(each.shape),
            each.stride(),
            each.element_size(),
        )
        for each, mask, counter, part in parts
    ]
    if kind.warm:
        matrices = [
            each._replace(pointers=each.pointers._replace(warm=potentials.data_ptr()))
            for each, potentials in zip(matrices, warm, strict=True)
        ]
    found = _compiled(kind)
    with stream_of(kind.device) as stream:
        for table in tables(matrices, kind.m, found.blocks):
            launch.launch(found, launch.SOLVING, stream, table)
    return Solved(kind, masks, counters, matrices, scratch)


def solve_by_kernels(matrices: Any, pattern: Pattern, score: str) -> tuple[Any, Any] | None:
    """The mask of matrices (B, R, C), and its counters; None where kernels can't solve it.

    Warns
    -----
    RuntimeWarning
        As :func:`kind_of`.
    """
    kind = kind_of(matrices, pattern, score)
    if kind is None:
        return None
    solved = solve_each(kind, [matrices])
    return solved.masks[0], solved.counters[0]


def _compiled(kind: Kind) -> launch.Kernels:
    return launch.kernels(*kind[:-1], kind.device.index)


@contextmanager
def stream_of(device: Any) -> Iterator[int]:
    """The address of PyTorch's current stream, with its device the current one meanwhile."""
    with torch.cuda.device(device):
        stream: int = torch.cuda.current_stream(device).cuda_stream
        yield stream
