"""What calls the SIMD engine: scratch memory, what can be read in place, and what is left.

Matrices are read where they lie if their rows are contiguous floats. Tiles of other layouts and
dtypes are copied side by side first.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.pointers import address_of, is_at_hand
from nmflow.compiling.sparing import PATIENCE, compiles_at_once
from nmflow.simd.tile_shape import ROW, TileShape
from nmflow.solvers.flow.simd_engine.kernel import NEEDS_SOLVER, solve_full_tiles
from nmflow.solvers.flow.simd_engine.scratch import (
    Box,
    FlatView,
    Scratch,
    Unproved,
    flat_view,
    free_scratch,
    give_back,
    new_scratch,
    strip_count,
    with_room,
)
from nmflow.solvers.flow.simd_engine.single_tile.solver import solve_strip
from nmflow.solvers.flow.simd_engine.warm_start import WarmStart, new_warm_start
from nmflow.solvers.flow.tiers import spares_engine


def reads_in_place(values: NDArray[Any], columns: int, m: int) -> bool:
    """Whether full tiles of floats that cover so many columns can be read where they lie."""
    plain = values.dtype.isnative and values.flags.aligned and values.flags.c_contiguous
    return bool(plain and columns >= -(-m // ROW) * ROW)


def solve_box(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    box: Box,
    shape: TileShape,
    signed: bool,
    warm_start: WarmStart | None = None,
) -> Unproved | None:
    """Write the masks of the full tiles in a box of a batch of matrices.

    All but the last :func:`nmflow.solvers.flow.simd_engine.scratch.tiles_near_end`.

    Parameters
    ----------
    values, mask : ndarray, shape (B, R, C), C-contiguous
        Floats, or the bit patterns of bfloat16 as uint16. The mask is written.
    box : tuple of slice
        Matrices, rows and columns.
    shape : TileShape
    signed : bool
        Whether the values are the scores; or else their magnitudes are.
    warm_start : WarmStart, optional
        From :func:`warm_start_of` for this box; starts from what the last solve left there, and
        writes only what differs from its masks.

    Returns
    -------
    Unproved or None
        The strips still to be solved, whose masks mean nothing yet; None if some value is not
        finite.
    """
    call = _Call.of(values, mask, box, shape, signed, warm_start)
    # A warm start counts what changes, once: nothing may be solved twice.
    call.take_strip_solver(shape, needed=warm_start is not None)
    count = solve_full_tiles(*call.args)
    if count == NEEDS_SOLVER:
        call.take_strip_solver(shape, needed=True)
        count = solve_full_tiles(*call.args)
    if count >= 0:
        _left_over[shape.m] += count * shape.m * shape.m * shape.tiles
    return give_back(call.scratch, call.free, count, call.view)


def is_spared(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    box: Box,
    shape: TileShape,
    signed: bool,
    of: int,
    warm_start: WarmStart | None = None,
) -> bool:
    """Whether the scalar stage solves a box, because compiling for it would not pay.

    ``of`` are the entries of all that is solved with it; the rest as for :func:`solve_box`.
    """

    def is_compiled() -> bool:
        call = _Call.of(values, mask, box, shape, signed, warm_start)
        call.free.append(call.scratch)
        return is_at_hand(solve_full_tiles, call.args)

    kind = shape, values.dtype, signed, warm_start is not None
    return spares_engine(kind, mask[box].size, of, is_compiled)


class _Call(NamedTuple):
    """A call of the kernel.

    Attributes
    ----------
    args : of the kernel
    view : what of the matrices it sees
    scratch, free : its scratch memory, and where that is put when it is free again
    """

    args: tuple[Any, ...]
    view: FlatView
    scratch: Scratch
    free: list[Scratch]

    @classmethod
    def of(
        cls,
        values: NDArray[Any],
        mask: NDArray[np.bool_],
        box: Box,
        shape: TileShape,
        signed: bool,
        warm_start: WarmStart | None,
    ) -> _Call:
        """The arguments of :func:`solve_box` as the kernel takes them."""
        view = flat_view(values, mask, box, shape)
        kind = np.float32 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
        key = shape, kind, signed
        free = free_scratch.setdefault(key, [])
        scratch = with_room(free.pop() if free else new_scratch(*key), view.strips, shape)
        scratch.config.update(stride=values.shape[2])
        args = (
            *view.arguments,
            scratch.config,
            scratch.strips,
            scratch.batch,
            shape,
            True if signed else None,
            *scratch.unproved,
            warm_start,
        )
        return cls(args, view, scratch, free)

    def take_strip_solver(self, shape: TileShape, *, needed: bool) -> None:
        """Tell the kernel where the strip solver is."""
        solver = _strip_solver(self.scratch, shape, needed=needed)
        self.scratch.config.update(strip_solver=solver)


def warm_start_of(box: Box, shape: TileShape) -> WarmStart:
    """A warm start for a box that was never solved."""
    return new_warm_start(shape, strip_count(box, shape))


def entries(unproved: Unproved, stride: int, shape: TileShape) -> NDArray[np.int64]:
    """The indices of all entries of the strips' tiles in the flat array, (T, m, m)."""
    m = shape.m
    corner = unproved.position[:, None] + m * np.arange(shape.tiles)
    inside = stride * np.arange(m)[:, None] + np.arange(m)
    index: NDArray[np.int64] = corner.reshape(-1, 1, 1) + inside
    return index


def side_by_side(tiles: NDArray[Any], shape: TileShape) -> NDArray[Any]:
    """Copy tiles (T, m, m) into one matrix (1, m, C), next to each other.

    Zeros behind the last tile let it be read in place.
    """
    count, m, _ = tiles.shape
    whole = -(-count // shape.tiles) * shape.tiles * m
    behind = shape.halves * ROW - m if shape.tiles == 1 else 0
    matrix = np.zeros((1, m, whole + behind), tiles.dtype)
    matrix[0, :, : count * m] = tiles.transpose(1, 0, 2).reshape(m, count * m)
    return matrix


_strip_solvers: dict[int, int] = {}
_left_over: Counter[int] = Counter()
_PATIENCE = PATIENCE // 2
"""Entries that go to the scalar fallback before the strip solver, which spares it most, pays: it is
compiled in less time than the fallback, and so before that is."""


def _strip_solver(scratch: Scratch, shape: TileShape, *, needed: bool) -> int:
    """The address of the strip solver for tiles of that m; 0 where it would have to be compiled.

    Strips that it is rarely asked for go to the scalar fallback instead.
    """
    m = shape.m
    known = m in _strip_solvers
    needed = needed or compiles_at_once() or _left_over[m] > _PATIENCE
    if not known or (needed and not _strip_solvers[m]):
        config, strips, batch = scratch.config, scratch.strips, scratch.batch
        arrays = config.type_of("tables"), strips.type_of("u"), strips.type_of("v")
        args = (
            *arrays, 0, False, 0, batch, False, 0, 0, False, False,
            shape.any_n,
        )  # fmt: skip
        at_hand = needed or is_at_hand(solve_strip, args)
        _strip_solvers[m] = address_of(solve_strip, args) if at_hand else 0
    return _strip_solvers[m]
