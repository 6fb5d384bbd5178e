"""Certificates of tiles some of whose entries are forbidden or forced.

Such a tile is one of other scores, in which forbidden entries are worth less than nothing and
forced ones more than all others (:func:`nmflow.problem.constraints.penalised`): a proved optimum of
those that obeys the constraints is optimal under them, and if none does no mask does.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints, breaks, check_scores, penalised
from nmflow.problem.tiling import Window, as_tiles
from nmflow.proof.certificate import Tally
from nmflow.proof.kept_sum import kept_sum
from nmflow.proof.prove import Proof, count, prove, side_by_side
from nmflow.proof.violations import note_broken, note_violations


def certify_within(
    tally: Tally,
    window: Window,
    batch: MatrixBatch,
    given: NDArray[np.bool_],
    constraints: Constraints,
) -> None:
    """Certify the tiles of one window.

    Raises
    ------
    NmflowError
        For a tile of which no mask obeys the constraints.
    """
    pattern, tile = tally.pattern, window.tile
    values = for_kernels(batch.scores(window.box))
    scores = for_kernels(check_scores(values, batch))
    mask, bounds = for_kernels(given), constraints.of_box(window.box)[:2]
    proof = _prove(scores, mask, bounds, tally, window.full, window)
    filled = np.full(proof.optimal.shape, window.full)
    never = _broken(proof, bounds, window)
    if never.any() and window.full and pattern.at_most:
        filled = ~never
        where = np.nonzero(never)
        parts = (side_by_side(part, tile, where) for part in (scores, mask, *bounds))
        part, given_part, *part_bounds = parts
        flat = Window((slice(0, 1), slice(0, tile[0]), slice(0, part.shape[2])), tile, False)
        rest = _prove(part, given_part, tuple(part_bounds), tally, False, flat)
        optimal, optimum = proof.optimal.copy(), proof.optimum.copy()
        optimal[where] = rest.optimal.ravel()
        as_tiles(optimum, tile)[where] = as_tiles(rest.optimum, tile)[0, 0]
        proof = Proof(optimum, optimal)
        never = _broken(proof, bounds, window)
    if never.any():
        _raise_for(np.argwhere(never)[0], batch, window)
    tally.count(proof.optimal)
    value = kept_sum(values, mask)
    tally.value += value
    tally.missed += kept_sum(values, for_kernels(proof.optimum)) - value
    n = pattern.capacities
    due = np.where(filled, *(count(scores, mask, tile, n, full) for full in (True, False)))
    if not due.all():
        note_violations(tally, window, mask, due, filled)
    note_broken(tally, window, mask, *bounds)


def _prove(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    bounds: tuple[NDArray[np.bool_], ...],
    tally: Tally,
    full: bool,
    window: Window,
) -> Proof:
    """Optima with penalties of few digits, and with decisive ones where they don't do."""
    tile, n = window.tile, tally.pattern.capacities
    tiles, allowed, forced = (as_tiles(part, tile) for part in (scores, *bounds))

    def whole(tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(tiles.swapaxes(2, 3)).reshape(scores.shape)

    proof = prove(
        whole(penalised(tiles, allowed, forced, decisive=False)), False, mask, tile, n, full
    )
    broken = _broken(proof, bounds, window)
    if not broken.any():
        return proof
    again = prove(whole(penalised(tiles, allowed, forced)), False, mask, tile, n, full)
    optimum = again.optimum.copy()
    np.copyto(
        as_tiles(optimum, tile), as_tiles(proof.optimum, tile), where=~broken[..., None, None]
    )
    return Proof(optimum, np.where(broken, again.optimal, proof.optimal))


def _broken(
    proof: Proof, bounds: tuple[NDArray[np.bool_], ...], window: Window
) -> NDArray[np.bool_]:
    """Which tiles' optima don't obey the constraints: shape (B, I, J)."""
    optimum, allowed, forced = (as_tiles(part, window.tile) for part in (proof.optimum, *bounds))
    return breaks(optimum, allowed, forced)


def _raise_for(place: NDArray[Any], batch: MatrixBatch, window: Window) -> NoReturn:
    matrix, tile = window.place(tuple(place), batch.pattern.tile)
    raise NmflowError(
        f"{batch.what}: tile {tile} of matrix {matrix} has no mask that obeys within and"
        " keep: allow more, force fewer, or pass at_most=True"
    )
