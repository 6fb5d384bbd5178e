"""Units moved in lanes along paths of slack 0, breadth-first over words of bits, one a column.

A row that holds too few may add pruned entries of slack 0, and a column drop kept ones; a path ends
at a column that misses units, or at a row that holds too many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.kernels.lanes_pieces import aligned
from nmflow.simd.lanes import any_bits, choose, differs, equal, greater, like, ones_count
from nmflow.simd.static import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store

DEPTH = 8
"""Columns on the longest path that is looked for."""


class Augmentation(NamedTuple):
    """Working memory for 32 tiles; words of bits are vectors, of m > 16 two for each row.

    Attributes
    ----------
    kept, tight : words of each row: entries kept, entries of slack 0
    need, level : units that each row misses; how many columns away from a row in need it is
    planes : units that columns miss, a word for each binary digit
    front, seen : columns that so many rows away; all reached
    row, column : potentials that distances lead to
    """

    kept: NDArray[np.int16]
    tight: NDArray[np.int16]
    need: NDArray[np.int16]
    level: NDArray[np.int16]
    planes: NDArray[np.int16]
    front: NDArray[np.int16]
    seen: NDArray[np.int16]
    row: NDArray[np.int16]
    column: NDArray[np.int16]


def new_augmentation(shape: TileShape) -> Augmentation:
    """Working memory."""
    line = shape.halves * LANES
    sizes = (shape.m * line,) * 2 + (shape.m * LANES,) * 2
    sizes += shape.planes * line, DEPTH * line, line, shape.m * LANES, shape.m * LANES
    return Augmentation(*(aligned(size, np.int16) for size in sizes))


@register_jitable(forceinline=True)
def columns_of(half, bits, shape):
    """A word of all columns."""
    word = load(bits, half * ROW * LANES)
    for j in range(half * ROW + 1, min(shape.m, half * ROW + ROW)):
        word = word | load(bits, j * LANES)
    return word


@register_jitable(forceinline=True)
def spend(planes, half, word, shape):
    """One unit less that these columns miss."""
    for digit in range(shape.planes):
        place = (digit * shape.halves + half) * LANES
        plane = load(planes, place)
        store(planes, place, plane ^ word)
        word = word & (plane ^ like(plane, -1))


@register_jitable(forceinline=True)
def missing(planes, half, shape):
    """The columns that miss units."""
    word = load(planes, half * LANES)
    for digit in range(1, shape.planes):
        word = word | load(planes, (digit * shape.halves + half) * LANES)
    return word


@register_jitable
def count_units(work, bits, shape):
    """Units that rows and columns miss; in which lanes any do."""
    none = load(bits, 0) ^ load(bits, 0)
    for half in range(shape.halves):
        columns = columns_of(half, bits, shape)
        for digit in range(shape.planes):
            place = (digit * shape.halves + half) * LANES
            store(work.planes, place, columns if shape.n >> digit & 1 else none)
    wrong = none
    for i in range(shape.m):
        need = like(none, shape.n)
        for half in range(shape.halves):
            word = load(work.kept, (i * shape.halves + half) * LANES)
            need = need - ones_count(word)
            spend(work.planes, half, word, shape)
        store(work.need, i * LANES, need)
        wrong = wrong | need
    return differs(wrong, none)


@register_jitable(forceinline=True)
def lowest(word):
    """Its lowest bit."""
    return word & (word ^ word) - word


@register_jitable(forceinline=True)
def most_missing(planes, half, room, shape):
    """Those of some columns that miss most units; none if none miss any."""
    room = room & missing(planes, half, shape)
    for digit in range(shape.planes - 1, -1, -1):
        best = room & load(planes, (digit * shape.halves + half) * LANES)
        room = choose(best, best, room)
    return room


@register_jitable
def fill(work, shape):
    """Let rows in need add entries of slack 0 in columns that miss units, one each at most.

    Returns the lanes where some did.
    """
    none = load(work.need, 0) ^ load(work.need, 0)
    done = none
    for i in range(shape.m):
        need = load(work.need, i * LANES)
        wanting = greater(need, none)
        for half in range(shape.halves):
            place = (i * shape.halves + half) * LANES
            kept = load(work.kept, place)
            room = load(work.tight, place) & (kept ^ like(none, -1)) & wanting
            entry = lowest(most_missing(work.planes, half, room, shape))
            wanting = wanting & equal(entry, none)
            spend(work.planes, half, entry, shape)
            store(work.kept, place, kept | entry)
            need = need + differs(entry, none)
            done = done | entry
        store(work.need, i * LANES, need)
    return done


@register_jitable
def reach_columns(work, depth, shape):
    """Columns where rows at that depth may add an entry; the lanes where one misses units."""
    none = load(work.need, 0) ^ load(work.need, 0)
    ends = none
    for half in range(shape.halves):
        word = none
        for i in range(shape.m):
            place = (i * shape.halves + half) * LANES
            add = load(work.tight, place) & (load(work.kept, place) ^ like(none, -1))
            word = word | (add & equal(load(work.level, i * LANES), like(none, depth)))
        seen = load(work.seen, half * LANES)
        word = word & (seen ^ like(none, -1))
        store(work.seen, half * LANES, seen | word)
        store(work.front, (depth * shape.halves + half) * LANES, word)
        ends = ends | (word & missing(work.planes, half, shape))
    return differs(ends, none)


@register_jitable
def reach_rows(work, depth, shape):
    """Rows that may drop an entry in a column of that depth; lanes where one holds too many."""
    none = load(work.need, 0) ^ load(work.need, 0)
    far = like(none, DEPTH + 1)
    ends = none
    for i in range(shape.m):
        hit = none
        for half in range(shape.halves):
            place = (i * shape.halves + half) * LANES
            drop = load(work.tight, place) & load(work.kept, place)
            hit = hit | (drop & load(work.front, (depth * shape.halves + half) * LANES))
        level = load(work.level, i * LANES)
        reached = differs(hit, none) & equal(level, far)
        store(work.level, i * LANES, choose(reached, like(none, depth + 1), level))
        ends = ends | (reached & greater(none, load(work.need, i * LANES)))
    return ends


@register_jitable(forceinline=True)
def added(work, depth, shape):
    """The columns of that depth, be it in which half they may."""
    word = load(work.front, depth * shape.halves * LANES)
    if shape.halves == 2:
        word = word | load(work.front, (depth * shape.halves + 1) * LANES)
    return word


@register_jitable
def search(work, shape):
    """Breadth-first from rows in need; the depth of each lane's first path, or DEPTH."""
    none = load(work.need, 0) ^ load(work.need, 0)
    last = like(none, DEPTH)
    wrong = none
    for half in range(shape.halves):
        store(work.seen, half * LANES, none)
    for i in range(shape.m):
        need = load(work.need, i * LANES)
        wrong = wrong | need
        store(work.level, i * LANES, choose(greater(need, none), none, like(none, DEPTH + 1)))
    for depth in range(DEPTH):
        ends = reach_columns(work, depth, shape)
        ends = ends | reach_rows(work, depth, shape)
        last = choose(ends & equal(last, like(none, DEPTH)), like(none, depth), last)
        searching = equal(last, like(none, DEPTH)) & differs(wrong, none)
        if any_bits(searching & added(work, depth, shape)) == 0:
            break
    return last


@register_jitable
def end_row(work, lanes, depth, row, shape):
    """Where a path ends in a row that holds too many: that row."""
    none = load(work.need, 0) ^ load(work.need, 0)
    for i in range(shape.m):
        need = load(work.need, i * LANES)
        here = equal(load(work.level, i * LANES), like(none, depth + 1)) & lanes
        here = here & greater(none, need)
        lanes = lanes & (here ^ like(none, -1))
        store(work.need, i * LANES, need - here)
        row = choose(here, like(none, i), row)
    return row


@register_jitable
def choose_column(work, ends, depth, row, half, shape):
    """Columns through which the path may go."""
    none = load(work.need, 0) ^ load(work.need, 0)
    word = missing(work.planes, half, shape) & ends
    for i in range(shape.m):
        place = (i * shape.halves + half) * LANES
        drop = load(work.tight, place) & load(work.kept, place)
        word = word | (drop & equal(row, like(none, i)))
    return word & load(work.front, (depth * shape.halves + half) * LANES)


@register_jitable
def exchange(work, first, second, depth, row, shape):
    """Drop the column from the row behind, and add it to a row before; that row."""
    none = load(work.need, 0) ^ load(work.need, 0)
    before = like(none, -1)
    for i in range(shape.m):
        place = i * shape.halves * LANES
        behind = equal(row, like(none, i))
        kept = load(work.kept, place)
        add = load(work.tight, place) & (kept ^ like(none, -1)) & first
        if shape.halves == 2:
            other = load(work.kept, place + LANES)
            add = add | load(work.tight, place + LANES) & (other ^ like(none, -1)) & second
        here = differs(add, none) & equal(load(work.level, i * LANES), like(none, depth))
        here = here & equal(before, like(none, -1))
        before = choose(here, like(none, i), before)
        store(work.kept, place, kept ^ (first & (behind | here)))
        if shape.halves == 2:
            store(work.kept, place + LANES, other ^ (second & (behind | here)))
    return before


@register_jitable
def follow(work, last, shape):
    """Move a unit along each lane's path, from its end back to the row in need."""
    none = load(work.need, 0) ^ load(work.need, 0)
    row = like(none, -1)
    for depth in range(DEPTH - 1, -1, -1):
        if any_bits(greater(like(none, depth + 1), last)) == 0:
            continue
        ends = equal(last, like(none, depth))
        hits = none
        for half in range(shape.halves):
            front = load(work.front, (depth * shape.halves + half) * LANES)
            hits = hits | (front & missing(work.planes, half, shape))
        hits = differs(hits, none)
        row = end_row(work, ends & (hits ^ like(none, -1)), depth, row, shape)
        ends = ends & hits
        first = lowest(choose_column(work, ends, depth, row, 0, shape))
        second = none
        spend(work.planes, 0, first & ends, shape)
        if shape.halves == 2:
            second = lowest(choose_column(work, ends, depth, row, 1, shape))
            second = second & equal(first, none)
            spend(work.planes, 1, second & ends, shape)
        row = exchange(work, first, second, depth, row, shape)
    for i in range(shape.m):
        need = load(work.need, i * LANES)
        store(work.need, i * LANES, need + equal(row, like(none, i)))


@register_jitable
def open_lanes(work, shape):
    """Where some row has too few or too many."""
    wrong = load(work.need, 0)
    for i in range(1, shape.m):
        wrong = wrong | load(work.need, i * LANES)
    return differs(wrong, wrong ^ wrong)


@register_jitable
def move_units(work, shape):
    """Along all paths of slack 0."""
    while any_bits(fill(work, shape)):
        pass
    while any_bits(open_lanes(work, shape)):
        last = search(work, shape)
        if any_bits(differs(last, like(last, DEPTH))) == 0:
            break
        follow(work, last, shape)
