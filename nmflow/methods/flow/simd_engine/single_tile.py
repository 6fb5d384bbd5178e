"""Pieces with ties, finished tile by tile: scores first, then one table after the other.

A mask is proved by potentials strictly between what is kept and what is pruned, or by optimal ones
at which no cycle of exact entries costs nothing: no other can be optimal. Or else optimal
potentials still tell what all optimal masks have in common: they keep the entries of positive
slack and prune those of negative. The next table decides among the others. A score of more digits
than its floor shows is never among them: where the floor has slack 0, it has more. In pieces that
are tabled the first table is read with the scores, which spares a step.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.methods.flow.simd_engine.augmentation import balance, is_unique
from nmflow.methods.flow.simd_engine.enumeration import enumerate_piece, enumerates, write_word
from nmflow.methods.flow.simd_engine.read import (
    CERTAIN,
    LIKELY,
    MARGIN,
    UNLIKELY,
    choose_tables,
    digits_of,
    is_inexact,
    reduced,
)
from nmflow.methods.flow.simd_engine.shortest_paths import (
    EDGE,
    NEVER,
    kept_of_row,
    separate,
    turn,
    within_limits,
)
from nmflow.methods.flow.simd_engine.strips import (
    SPARE,
    beyond,
    lane_of,
    mean_of,
    move_base,
    start_base,
)
from nmflow.methods.flow.simd_engine.tile_batch import is_open
from nmflow.problem.ties import TABLE_BITS
from nmflow.simd.integers import any_bits, bit_count, choose, equal, greater, largest_lane, like
from nmflow.simd.lines import load_line, negative_lanes, padded
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store

TABLES = 4
"""How many tables are tried here; few tiles are left to the scalar road, which costs far more."""
FEW = 8
"""So many tiles that are left at the very end do not wait for others."""
TABLE_UNIT = 12
"""Bits below a table that is looked at by itself."""


@helper
def read_piece(weights, problem, pieces, slot, tile, spare, shape, signed):
    """Slacks of a piece, the first table with them, but for some low bits; whether all is exact."""
    digits = digits_of(pieces, slot)
    scale, _, tabled, _ = digits
    some = load(tile.piece, 0) ^ load(tile.piece, 0)
    for i in range(shape.m):
        for half in range(shape.halves):
            slack = reduced(weights, slot, i, half, digits, pieces, problem, shape, signed)
            slack = slack >> like(slack, spare)
            slack = maximum(minimum(slack, like(slack, EDGE)), like(slack, -EDGE))
            line = (i * shape.halves + half) * ROW
            store(tile.piece, line, slack)
            # What has tables has room for all digits.
            if not tabled:
                place = pieces.position[slot] + i * problem.stride + half * ROW
                more = is_inexact(weights, place, scale, signed)
                store(tile.inexact, line, more)
                some = some | more
    return any_bits(some) == 0


@helper
def keep_beyond(pieces, slot, index, panel, level, spare, shape):
    """What of a tile's potentials did not fit into those of the piece."""
    tile, lane, shift = panel.tile, lane_of(slot, index, shape), pieces.shift[slot]
    mean = mean_of(panel.v, lane, shape)
    for k in range(shape.m):
        u, v = panel.u[k * LANES + lane] + mean, panel.v[k * LANES + lane] - mean
        tile.u[k] = (beyond(u) << shift) + level >> spare
        tile.v[k] = beyond(v) << shift >> spare


@helper
def choose_tile(pieces, slot, index, panel, inside, level, spare, shape):
    """One tile of the piece, and what of its potentials is not ``inside`` those of the piece."""
    tile = panel.tile
    if inside:
        line = load_line(tile.u, 0, shape)
        store(tile.u, 0, like(line, level >> spare))
        store(tile.v, 0, line ^ line)
    else:
        keep_beyond(pieces, slot, index, panel, level, spare, shape)
    for i in range(shape.m):
        line = load_line(tile.piece, i * shape.halves * ROW + index * shape.m, shape)
        store(tile.scores, i * shape.line, padded(line, -EDGE, shape))
    begin(tile, shape)


@helper
def choose_face(tables, number, index, tile, exact, shape):
    """A table where slack is 0; what all optimal masks keep, or prune, stands apart."""
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        line = i * shape.halves * ROW
        slack = load_line(tile.scores, i * shape.line, shape) - v
        slack = slack - like(slack, tile.u[i])
        zero = more = slack ^ slack
        if not exact:
            # A floor may be zero where there is more of it.
            more = equal(slack, zero) & load_line(tile.inexact, line + index * shape.m, shape)
        table = load_line(tables, number * shape.m * shape.halves * ROW + line, shape)
        table = table << like(slack, TABLE_UNIT)
        score = choose(greater(slack - more, zero), like(slack, EDGE), table)
        score = choose(greater(zero, slack), like(slack, -EDGE), score)
        store(tile.scores, i * shape.line, padded(score, -EDGE, shape))
    for k in range(shape.m):
        tile.u[k] = 1 << (TABLE_UNIT + TABLE_BITS)
        tile.v[k] = 0
    begin(tile, shape)


@helper
def begin(tile, shape):
    """Keep what exceeds u + v, but of columns with more than n of these none."""
    turn(tile, shape)
    for k in range(shape.m, shape.line):
        tile.u[k] = 0
        tile.v[k] = 0
    u = load_line(tile.u, 0, shape)
    for j in range(shape.m):
        slack = load_line(tile.across, j * shape.line, shape) - u
        slack = slack - like(slack, tile.v[j])
        kept = greater(slack, slack ^ slack)
        count = bit_count(negative_lanes(kept))
        if count > shape.n:
            tile.v[j] += largest_lane(slack)
            kept, count = kept ^ kept, 0
        score = load_line(tile.across, j * shape.line, shape)
        store(tile.kept, j * shape.line, choose(kept, score, like(score, NEVER)))
        tile.missing[j] = shape.n - count
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        score = load_line(tile.scores, i * shape.line, shape)
        kept = greater(score - v, like(v, tile.u[i]))
        store(tile.pruned, i * shape.line, choose(kept, like(score, -NEVER), score))
        tile.need[i] = shape.n - bit_count(negative_lanes(kept))


@helper
def write_words(tile, slot, index, panel, shape):
    """The tile's bits among those of its piece."""
    own = (1 << shape.m) - 1
    for i in range(shape.m):
        bits = negative_lanes(kept_of_row(tile, i, shape)) & own
        if shape.halves == 2:
            word = (i * LANES + slot) * 2
            panel.words[word] = bits & 0xFFFF
            panel.words[word + 1] = bits >> ROW
        else:
            write_word(panel.words, bits, i, slot, index, shape)


@inlined
def move_tile_base(pieces, slot, index, tile, spare, shape):
    """Add a tile's potentials to those that its piece stands on."""
    start = slot * shape.halves * ROW
    for k in range(shape.m):
        pieces.u[start + k * shape.tiles + index] += tile.u[k] << spare
        pieces.v[start + index * shape.m + k] += tile.v[k] << spare


@helper
def finish_tile(problem, pieces, slot, index, panel, inside, level, spare, exact, memory, shape):
    """Find the mask of a tile of the piece that was read: by its scores, then by the tables.

    ``exact`` says whether the piece's scores are, and not only their floors were read.
    """
    tile = panel.tile
    choose_tile(pieces, slot, index, panel, inside, level, spare, shape)
    proved = False
    for table in range(-1, TABLES):
        if table == 0 and pieces.tabled[slot]:
            continue
        if table >= 0:
            choose_face(problem.tables, table, index, tile, exact, shape)
        balanced = balance(tile, shape) and within_limits(tile, shape)
        proved = balanced and (exact or table >= 0) and is_unique(tile, shape)
        if table < 0:
            # What is remembered is proved at a glance where it stands apart.
            if balanced and (not exact or (proved and memory is not None)):
                proved = separate(tile, shape) or proved
            move_tile_base(pieces, slot, index, tile, spare, shape)
        if proved or not balanced:
            break
    return proved


@inlined
def are_due(weights, problem, pieces, slot, shape):
    """Whether a piece has ties that are to be settled now; it gets tables if there is room.

    Digits without room make ties likely in large tiles. Of small ones most will be settled by a
    second look, as others are. Enumeration finds no potentials to start from, which only tables can
    do without.
    """
    if pieces.tabled[slot]:
        return True
    ties = choose_tables(weights, problem, pieces, slot, shape)
    if pieces.tabled[slot] or pieces.stage[slot] > 0:
        return ties != UNLIKELY
    return (ties == LIKELY and shape.m > ROW) or (ties == CERTAIN and not enumerates(shape))


@inlined
def are_few(panel, fresh, shape):
    """Whether the open tiles of a panel cost less one by one than what another panel would."""
    count = 0
    for lane in range(LANES):
        count += panel.settled[lane] == 0
    return count <= FEW and not (fresh and enumerates(shape))


@inlined
def finish_open(weights, problem, pieces, used, fresh, few, panel, memory, shape, signed):
    """Settle the open tiles of pieces where ties are likely; all of them if they are ``few``."""
    for slot in range(used):
        if not is_open(panel, slot, shape):
            continue
        if not are_due(weights, problem, pieces, slot, shape) and not few:
            continue
        if fresh and memory is None and pieces.tabled[slot] and enumerates(shape):
            enumerate_piece(weights, problem, pieces, slot, panel, shape, signed)
            if not is_open(panel, slot, shape):
                continue
        if fresh:
            start_base(pieces, slot, problem, shape)
        inside = move_base(pieces, slot, panel, shape)
        pieces.finished[slot] = True
        # What equaled its potentials in the window was pruned, whatever is behind it.
        level, spare = (1 << pieces.shift[slot]) - 1, 0
        if pieces.tabled[slot]:
            if pieces.shown[slot]:
                level = 0
            else:
                level = max(level, 1 << (pieces.unit[slot] - problem.table_bits + TABLE_BITS))
            pieces.shown[slot] = True
            # What few digits leave free is room for potentials, which have no digits there either.
            spare = min(max(pieces.unit[slot] - problem.table_bits - MARGIN, 0), SPARE)
            spare = min(spare, pieces.shift[slot])
        exact = read_piece(weights, problem, pieces, slot, panel.tile, spare, shape, signed)
        for index in range(shape.tiles):
            lane = lane_of(slot, index, shape)
            if panel.settled[lane] == 0 and finish_tile(
                problem, pieces, slot, index, panel, inside, level, spare, exact, memory, shape
            ):
                write_words(panel.tile, slot, index, panel, shape)
                panel.settled[lane] = -1
