"""Weights on a device -> mask on that device: the ascent on all tiles, then what it left open."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from nmflow.cuda.problem import DIFFICULT, NOT_FINITE, tile_count
from nmflow.device.ascent import BITS, ascend, fold_table, rounds, separates
from nmflow.device.kernels import solve_by_kernels
from nmflow.device.levels import LARGEST_M, solve_levels
from nmflow.device.numbers import Numbers, scores_of, supports
from nmflow.device.tiles import cut, pad, paste
from nmflow.errors import NmflowError
from nmflow.problem.arrays import check_storage
from nmflow.problem.batch import normalise_axes
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, check_score
from nmflow.problem.scores import scores_of as host_scores_of
from nmflow.problem.tiling import Window, windows
from nmflow.solvers.flow.method import solve_tiles

# Entries that are in work at a time: what a processor's cache holds, and enough for an accelerator.
_ENTRIES_CPU, _ENTRIES = 1 << 19, 1 << 24


class Given(NamedTuple):
    """Weights as they were given, and as matrices.

    Attributes
    ----------
    matrices : Tensor (B, R, C)
    moved : Tensor
        The weights with the axes of the matrices last.
    axes : two int
        Where these were, none negative.
    """

    matrices: Any
    moved: Any
    axes: tuple[int, int]

    @classmethod
    def of(cls, weights: Any, pattern: Pattern, axes: Any) -> Given | None:
        """None for what has to go through the host: 64-bit integers, m beyond 32, errors."""
        check_storage(weights, "weights")
        weights = weights.detach()
        if weights.ndim < 2 or pattern.m > LARGEST_M or not supports(weights.dtype):
            return None
        pair = normalise_axes(
            axes, weights.ndim, lambda: f"weights of shape {tuple(weights.shape)}"
        )
        moved = weights.resolve_neg().movedim(pair, (-2, -1))
        matrices = moved.reshape(math.prod(moved.shape[:-2]), *moved.shape[-2:])
        return cls(matrices, moved, pair)

    def restore(self, mask: Any) -> Any:
        """The mask of the matrices in the weights' own shape."""
        return mask.reshape(self.moved.shape).movedim((-2, -1), self.axes).contiguous()


class Counts(NamedTuple):
    """How tiles were solved.

    Attributes
    ----------
    tiles : all
    open : those that the ascent left, partial ones among them
    host : those of them that tie beyond all tables, which were solved on the CPU
    """

    tiles: int
    open: int
    host: int


def solve(
    weights: Any,
    n: int,
    m: int,
    *,
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
) -> Any:
    """The mask of :func:`nmflow.solve`, found by tensor operations on the weights' device.

    Parameters
    ----------
    weights : Tensor, at least two dimensions
        float16, bfloat16, float32, float64, or an integer of up to 32 bits; on any device.
    n, m : int
        1 <= n <= m <= 32.
    axes, score
        As for :func:`nmflow.solve`.

    Returns
    -------
    mask : bool Tensor
        Of the weights' shape, on their device; bit for bit what the CPU's engine finds.

    Raises
    ------
    NmflowError
        For weights that :func:`nmflow.solve` refuses, or solves on the CPU alone.
    """
    found = solve_counted(weights, Pattern(n, m), axes, score)
    if found is None:
        raise NmflowError(
            f"weights of shape {tuple(weights.shape)} and dtype {weights.dtype} for {n}:{m} can't"
            " be solved by tensor operations, which take two axes or more of finite floats, or of"
            f" integers of up to 32 bits, and m <= {LARGEST_M}: use nmflow.solve"
        )
    return found[0]


def solve_there(weights: Any, pattern: Pattern, axes: Any, score: ScoreName) -> Any:
    """The mask for :func:`nmflow.solve`; None for what has to go through the host."""
    transposable = pattern.name == "transposable"
    found = solve_counted(weights, pattern, axes, score) if transposable else None
    return None if found is None else found[0]


def solve_counted(
    weights: Any, pattern: Pattern, axes: Any, score: ScoreName
) -> tuple[Any, Counts] | None:
    """The mask, and how its tiles were solved; None for what has to go through the host.

    That is what raises, so that messages are the same wherever weights lie, and what tensor
    operations can't do: 64-bit integers, m beyond 32.
    """
    check_score(score)
    given = Given.of(weights, pattern, axes)
    if given is None:
        return None
    if (by_kernels := solve_by_kernels(given.matrices, pattern, score)) is not None:
        mask, flags = by_kernels
        if bool(flags[NOT_FINITE]):
            return None
        # Of what is open the kernels leave nothing to anybody else.
        counts = Counts(tile_count(given.matrices.shape, pattern.m), int(flags[DIFFICULT]), 0)
        return given.restore(mask), counts
    found = solve_by_operations(given.matrices, pattern, score)
    return None if found is None else (given.restore(found[0]), found[1])


def solve_by_operations(
    matrices: Any, pattern: Pattern, score: ScoreName
) -> tuple[Any, Counts] | None:
    """The mask of matrices (B, R, C) by tensor operations; None where they are not finite."""
    if matrices.dtype.is_floating_point and not _all_finite(matrices, score):
        return None
    mask = torch.empty(matrices.shape, dtype=torch.bool, device=matrices.device)
    entries = _ENTRIES_CPU if matrices.device.type == "cpu" else _ENTRIES
    each = [
        _solve_window(matrices, window, mask, pattern, score)
        for window in windows(tuple(matrices.shape), pattern.tile, entries)
    ]
    counts = Counts(*(sum(part) for part in zip(*each, (0, 0, 0), strict=True)))
    return mask, counts


def _all_finite(values: Any, score: str) -> bool:
    """Whether no value, and no square of a float64, is infinite or NaN."""
    if score == "square" and values.dtype is torch.float64:
        values = values * values
    return bool(torch.isfinite(values).all())


def _solve_window(matrices: Any, window: Window, mask: Any, pattern: Pattern, score: str) -> Counts:
    n, m = pattern.n, pattern.m
    tiles = cut(matrices, window)
    scores = scores_of(tiles, score)
    if n >= max(window.tile):
        # The groups constrain nothing.
        paste(mask, window, (scores.mantissa >= 0) | window.full)
        return Counts(window.count, 0, 0)
    if window.full:
        found, proved, u, v = _ascend(scores, n, m)
        index, barred = (~proved).nonzero()[:, 0], None
        scores = scores.take(index)
    else:
        found = torch.empty((len(tiles), m, m), dtype=torch.bool, device=tiles.device)
        index = torch.arange(len(tiles), device=tiles.device)
        scores, barred = pad(scores, m)
        u = v = torch.zeros((m, len(tiles)), dtype=torch.int32, device=tiles.device)
    left = index[:0]
    if len(index):
        part = torch.empty((len(index), m, m), dtype=torch.bool, device=tiles.device)
        tied = solve_levels(scores, barred, u.T[index], v.T[index], n, window.full, part)
        found[index] = part
        left = index[tied]
    found = found[:, : window.tile[0], : window.tile[1]]
    if len(left):
        found[left] = _solve_on_host(tiles[left], n, window.full, score)
    paste(mask, window, found)
    return Counts(window.count, len(index), len(left))


def _ascend(scores: Numbers, n: int, m: int) -> tuple[Any, Any, Any, Any]:
    """Masks of full tiles (T, m, m), which are proved, and potentials (m, T)."""
    parts = scores.mantissa, scores.exponent
    moved = Numbers(*(part.permute(1, 2, 0).contiguous() for part in parts))
    q, lost = moved.floor(moved.scale((0, 1)) - BITS)
    q = fold_table(q.to(torch.int32), lost)
    zero = torch.zeros_like(q[0])
    u, v = ascend(q, n, zero + (1 << BITS - 1), zero, rounds(m), full=True)
    mask, proved = separates(q, n, u, v)
    return mask.permute(2, 0, 1).contiguous(), proved, u, v


def _solve_on_host(tiles: Any, n: int, full: bool, score: str) -> Any:
    values = tiles.to(torch.float32) if tiles.dtype is torch.bfloat16 else tiles
    found = solve_tiles(host_scores_of(values.cpu().numpy(), score), n, full)
    return torch.from_numpy(found).to(tiles.device)
