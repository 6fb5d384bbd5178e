"""What calls the kernels of tiles that hold at most n."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.pointers import is_at_hand
from nmflow.simd.enumeration_within import ENUMERATED
from nmflow.simd.floats import AllowedScores as FlatScores
from nmflow.simd.tile_shape import LANES, TileShape, tile_shape
from nmflow.solvers.flow.allowed import AllowedScores
from nmflow.solvers.flow.scalar.digits import leading_digits
from nmflow.solvers.flow.simd_engine.at_most.kernel import solve_at_most
from nmflow.solvers.flow.simd_engine.at_most.partial_tiles import solve_partial_batch
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
    scores: AllowedScores, mask: NDArray[np.bool_], box: Box, shape: TileShape, fills: bool
) -> tuple[Unproved | None, NDArray[np.uint8]]:
    """As :func:`nmflow.solvers.flow.simd_engine.driver.solve_box`, with at most n.

    Parameters
    ----------
    scores : AllowedScores
        Of shape (B, R, C), as the mask.
    mask : ndarray of bool
        Written.
    box : tuple of slice
        All of it.
    shape : TileShape
    fills : bool
        Whether tiles are rather filled, where that is tried at all.

    Returns
    -------
    Unproved or None
    ndarray of uint8, shape (B, I, J)
        Not 0 for tiles that could be filled and perhaps are not.
    """
    call = _Call.of(scores, mask, box, shape, fills)
    unproved = give_back(call.scratch, call.free, solve_at_most(*call.args), call.view)
    return unproved, call.is_open


def is_spared(scores: AllowedScores, mask: NDArray[np.bool_], box: Box, shape: TileShape) -> bool:
    """Whether the scalar stage solves a box, because compiling for it would not pay."""

    def is_compiled() -> bool:
        call = _Call.of(scores, mask, box, shape, False)
        call.free.append(call.scratch)
        return is_at_hand(solve_at_most, call.args)

    return spares_engine((shape, scores.values.dtype), mask.size, mask.size, is_compiled)


class _Call(NamedTuple):
    """The kernel's arguments; what it sees, its scratch memory, and where that is put back."""

    args: tuple[Any, ...]
    view: FlatView
    scratch: Scratch
    free: list[Scratch]
    is_open: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        scores: AllowedScores,
        mask: NDArray[np.bool_],
        box: Box,
        shape: TileShape,
        fills: bool,
    ) -> _Call:
        values = scores.values
        view = flat_view(values, mask, box, shape)
        free = free_scratch.setdefault((shape, values.dtype, "at most"), [])
        scratch = free.pop() if free else new_scratch(shape, values.dtype, True, at_most=True)
        scratch = with_room(scratch, view.strips, shape)
        scratch.config.update(stride=values.shape[2])
        matrices, rows, columns = values.shape
        grid = matrices, rows // shape.m, columns // shape.m
        # What can't be enumerated is not filled.
        open_at_first = np.zeros if (shape.n, shape.m) == ENUMERATED else np.ones
        is_open = open_at_first(grid, np.uint8)
        args = (
            flat_scores(scores),
            *view.arguments[1:],
            *(scratch.config, scratch.strips, scratch.batch, scratch.bounds, shape),
            *scratch.unproved,
            *(fills, is_open.reshape(-1)),
        )
        return cls(args, view, scratch, free, is_open)


def flat_scores(scores: AllowedScores) -> FlatScores:
    """Scores as kernels read them."""
    values, allowed = scores.values.reshape(-1), scores.allowed.reshape(-1).view(np.uint8)
    # To the compiler a read-only array is of another type: let all be.
    values.flags.writeable = allowed.flags.writeable = False
    bits = 8 * values.itemsize
    digits = (1 << bits - 1) - 1
    return FlatScores(values, allowed, digits if scores.unsigned else -1)


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
