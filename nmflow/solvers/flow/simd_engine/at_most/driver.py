"""What calls the kernels of tiles that hold at most n."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.pointers import is_at_hand
from nmflow.simd.tile_shape import LANES, TileShape, tile_shape
from nmflow.solvers.flow.scalar.digits import leading_digits
from nmflow.solvers.flow.simd_engine.at_most.kernel import solve_at_most
from nmflow.solvers.flow.simd_engine.at_most.partial_tiles import solve_partial_batch
from nmflow.solvers.flow.simd_engine.at_most.prices import new_bounds
from nmflow.solvers.flow.simd_engine.fixed_point import PARTIAL_BITS, WORTHLESS
from nmflow.solvers.flow.simd_engine.schedule import relaxation_shifts
from nmflow.solvers.flow.simd_engine.scratch import (
    Box,
    FlatView,
    Scratch,
    Unproved,
    flat_view,
    free_scratch,
    give_back,
    new_scratch,
    with_room,
)
from nmflow.solvers.flow.simd_engine.strips import aligned
from nmflow.solvers.flow.tiers import spares_engine


def solve_box_at_most(
    values: NDArray[Any], mask: NDArray[np.bool_], box: Box, shape: TileShape
) -> Unproved | None:
    """As :func:`nmflow.solvers.flow.simd_engine.driver.solve_box`, of scores, with at most n.

    Entries of negative scores are not kept.
    """
    args, view, scratch, free = _call(values, mask, box, shape)
    return give_back(scratch, free, solve_at_most(*args), view)


def is_spared(values: NDArray[Any], mask: NDArray[np.bool_], box: Box, shape: TileShape) -> bool:
    """Whether the scalar stage solves a box, because compiling for it would not pay."""

    def is_compiled() -> bool:
        args, _, scratch, free = _call(values, mask, box, shape)
        free.append(scratch)
        return is_at_hand(solve_at_most, args)

    return spares_engine((shape, values.dtype), values.size, values.size, is_compiled)


def _call(
    values: NDArray[Any], mask: NDArray[np.bool_], box: Box, shape: TileShape
) -> tuple[tuple[Any, ...], FlatView, Scratch, list[Scratch]]:
    """The kernel's arguments; what it sees, its scratch memory, and where that is put back."""
    view = flat_view(values, mask, box, shape)
    kind = np.float32 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
    free = free_scratch.setdefault((shape, kind, "at most"), [])
    scratch = with_room(free.pop() if free else new_scratch(shape, kind, True), view.strips, shape)
    scratch.config.update(stride=values.shape[2])
    args = (
        *view.arguments,
        *(scratch.config, scratch.strips, scratch.batch),
        new_bounds(shape),
        shape,
        *scratch.unproved,
    )
    return args, view, scratch, free


def spares_partial(scores: NDArray[Any], n: int) -> bool:
    """Whether the scalar stage solves partial tiles (T, r, c), as :func:`is_spared` says."""
    shape = tile_shape(n, max(scores.shape[1:]))

    def is_compiled() -> bool:
        q, mask = (np.empty((0, *scores.shape[1:]), kind) for kind in (np.int16, np.bool_))
        args = _partial_call(q, shape, mask, mask[:, 0, 0], q[:, 0])
        return is_at_hand(solve_partial_batch, args)

    return spares_engine(("partial", shape), scores.size, scores.size, is_compiled)


def solve_partial_tiles(
    scores: NDArray[np.float64],
    n: int,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    start: NDArray[np.float64],
) -> None:
    """Masks of partial tiles (T, r, c), and which of them are proved to be the only optimal ones.

    ``start``, (T, c), is written too: prices of columns, from which the fallback may start.
    """
    shape = tile_shape(n, max(scores.shape[1:]))
    digits = leading_digits(scores, PARTIAL_BITS)
    q = np.maximum(digits.q, WORTHLESS).astype(np.int16)
    prices = np.empty(start.shape, np.int16)
    solve_partial_batch(*_partial_call(q, shape, mask, proved, prices))
    start[:] = np.ldexp(prices.astype(np.float64), -digits.exponent[:, None].astype(np.int32))


def _partial_call(
    q: NDArray[np.int16],
    shape: TileShape,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    prices: NDArray[np.int16],
) -> tuple[Any, ...]:
    """The arguments of the kernel of partial tiles, with scratch memory."""
    m = shape.m
    lanes, *lines = (aligned(k * m * LANES, np.int16) for k in (m + 1, 1, 1, 1))
    scratch = lanes, *lines, shape, relaxation_shifts(m)[0]
    return q, *scratch, mask, aligned(LANES, np.int16), proved, prices
