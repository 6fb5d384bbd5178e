"""Masks of some tiles of a window, taken over where they obey the constraints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper


def take_tiles(
    masks: NDArray[np.bool_],
    bounds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    chosen: NDArray[np.bool_],
    target: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Copy the masks of the chosen tiles; which of these break the constraints.

    Parameters
    ----------
    masks, target : ndarray of bool, shape (B, R, C)
        The second is written, and may be part of a larger array.
    bounds : (ndarray, ndarray) of bool, shape (B, R, C)
        What is allowed, and what is forced.
    chosen : ndarray of bool, shape (B, I, J)

    Returns
    -------
    ndarray of bool, shape (B, I, J)
    """
    wrong = np.zeros(chosen.shape, np.bool_)
    columns = masks.shape[2]
    lines = np.empty(columns, np.uint8), np.empty(columns, np.uint8)
    parts = (part.view(np.uint8) for part in (masks, *bounds, chosen))
    _take(*parts, *lines, target.view(np.uint8), wrong)
    return wrong


@compile_kernel(nrt=False)
def _take(masks, allowed, forced, chosen, taken, broken, target, wrong):
    """As :func:`take_tiles`."""
    _, down, across = chosen.shape
    height, width = masks.shape[1] // down, masks.shape[2] // across
    for b in range(chosen.shape[0]):
        for i in range(down):
            spread(chosen[b, i], taken)
            broken[:] = 0
            for k in range(i * height, (i + 1) * height):
                kept = masks[b, k]
                copy(kept, taken, target[b, k])
                compare(kept, allowed[b, k], forced[b, k], broken)
            if any_of(broken, taken):
                for t in range(across):
                    wrong[b, i, t] = any_of(
                        broken[t * width : (t + 1) * width], taken[t * width : (t + 1) * width]
                    )


@helper
def spread(chosen, taken):
    """All bits of the columns of chosen tiles, none of others; nearly always all or none are."""
    count = 0
    for t in range(chosen.size):
        count += chosen[t]
    if count in (0, chosen.size):
        taken[:] = 255 if count else 0
        return
    width = taken.size // chosen.size
    for t in range(chosen.size):
        for x in range(t * width, (t + 1) * width):
            taken[x] = 255 if chosen[t] else 0


@helper
def any_of(broken, taken):
    """Whether any column that is taken is marked."""
    odd = np.uint8(0)
    for x in range(broken.size):
        odd |= broken[x] & taken[x]
    return odd != 0


@helper
def copy(kept, taken, target):
    """Copy a row where it is taken."""
    for x in range(taken.size):
        target[x] = (kept[x] & taken[x]) | (target[x] & ~taken[x])


@helper
def compare(kept, allowed, forced, broken):
    """Mark columns in which a row keeps what it may not, or not what it must."""
    for x in range(broken.size):
        broken[x] |= (kept[x] & ~allowed[x]) | (forced[x] & ~kept[x])
