"""``lp``: exact masks by linear programming through PuLP, for verification.

The constraint matrix of a tile's programme is totally unimodular (Hoffman & Kruskal, "Integral
boundary points of convex polyhedra", 1956), so a vertex of the relaxation is a mask and integer
scores have integer duals. Neither is taken on trust: values must be within 1e-6 of integers, and
the duals must satisfy complementary slackness exactly, in integers.

An LP solver works to absolute tolerances of about 1e-7 and CBC prints eight digits of a dual, so
scores of any range are solved in stages of few bits: iterative refinement (Gleixner, Steffy &
Wolter, "Iterative refinement for linear programming", INFORMS J. Comput. 28, 2016). A stage's
programme has the reduced scores of the stage before as its leading bits and the next digits of
the scores below them. It rests on two facts about the alternating cycles by which masks differ:

* Dropping the digits below a stage's unit takes less than one unit off each entry. A cycle adds
  fewer than ``rows + columns`` entries, so one that costs at least as many units as it adds
  entries is a loss for the full scores too.
* Hence reduced scores may be clipped to ``rows + columns + 2``: an entry that far from its price
  keeps its state in every optimal mask.

Below a tile's scores stand the tie tables (see :mod:`nmflow.problem.ties`) and a power of two for
each position. Only one mask is then optimal, whatever else is in the model; a tile is done as soon
as its mask is proved to be that one, which is mostly after the first stage.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.solvers.integers import unique_integers
from nmflow.solvers.pulp_solver import load_pulp, run
from nmflow.solvers.registry import Lp

Masks = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Variables in one model, about.
MODEL_SIZE = 4000
# How far a value may be from an integer.
TOLERANCE = 1e-6
# Bits that a dual may have for CBC's eight printed digits to tell its integer.
DUAL_BITS = 26

_FAR = 1 << 40


class Stage(NamedTuple):
    """Optimal solutions of a batch of stage programmes, and their reduced scores."""

    flow: Integers
    reduced: Integers


def solve_tiles(scores: NDArray[Any], n: int, full: bool, method: Lp, /) -> Masks:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.interface.TileSolver`.

    Raises
    ------
    MissingExtraError
        Where PuLP is not installed.
    NmflowError
        Where the LP solver fails, runs out of time, or returns anything but a proved optimum.
    """
    pulp = load_pulp()
    rows, columns = scores.shape[1:]
    if n >= max(rows, columns):
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    bits = DUAL_BITS - (2 * max(rows, columns)).bit_length()
    cycle = rows + columns + 2
    digits = max(bits - cycle.bit_length() - 1, 1)
    whole = unique_integers(scores)
    shift = np.array([max(_bit_length(tile) - bits, 0) for tile in whole], object)[:, None, None]
    q = _with_slacks(whole >> shift, full)
    mask = np.empty(scores.shape, np.bool_)
    todo = np.arange(len(scores))
    while todo.size:
        stage = solve_stage(pulp, q, n, full, method)
        mask[todo] = stage.flow[:, :rows, :columns] == 1
        more = (shift[:, 0, 0] > 0) & ~is_strict(stage, full)
        todo, whole, shift, reduced = todo[more], whole[more], shift[more], stage.reduced[more]
        step = np.minimum(shift, digits)
        shift = shift - step
        low = _with_slacks((whole >> shift) & ((1 << step) - 1), full)
        q = (np.clip(reduced, -cycle, cycle) << step.astype(np.int64)) + low
    return mask


def _bit_length(tile: NDArray[Any]) -> int:
    return int(np.abs(tile).max()).bit_length()


def _with_slacks(entries: NDArray[Any], full: bool) -> Integers:
    """Scores of all arcs: on a partial tile a last column and a last row of slacks join.

    Their scores are zero: a group that keeps fewer than n sends the rest to the root.
    """
    spare = 0 if full else 1
    return np.pad(entries.astype(np.int64), ((0, 0), (0, spare), (0, spare)))


def solve_stage(pulp: Any, q: Integers, n: int, full: bool, method: Lp) -> Stage:
    """Solve programmes of few bits, as many in one model as :data:`MODEL_SIZE` allows."""
    at_once = max(MODEL_SIZE // (q.shape[1] * q.shape[2]), 1)
    parts = [
        solve_model(pulp, q[first : first + at_once], n, full, method)
        for first in range(0, len(q), at_once)
    ]
    return Stage(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def solve_model(pulp: Any, q: Integers, n: int, full: bool, method: Lp) -> Stage:
    """Build one model, solve it, and check what comes back.

    Per tile, with the slacks as last row and column on a partial tile:

        minimise    -sum_ij q_ij x_ij
        subject to  sum_j x_ij = n  for all i,  sum_i x_ij = n  for all j,
                    0 <= x_ij <= 1, slacks >= 0.
    """
    count, height, width = q.shape
    rows, columns = (height, width) if full else (height - 1, width - 1)
    problem = pulp.LpProblem("nmflow", pulp.LpMinimize)
    variable = getattr(problem, "add_variable", pulp.LpVariable)
    places = [
        (t, i, j)
        for t in range(count)
        for i in range(height)
        for j in range(width)
        if i < rows or j < columns
    ]
    x = {
        (t, i, j): variable(f"x_{t}_{i}_{j}", 0, 1 if i < rows and j < columns else None)
        for t, i, j in places
    }
    problem.setObjective(pulp.LpAffineExpression([(x[place], -int(q[place])) for place in places]))

    def constraint(name: str, cells: list[tuple[int, int, int]]) -> Any:
        kept = pulp.LpAffineExpression([(x[cell], 1) for cell in cells])
        line = pulp.LpConstraint(kept, pulp.LpConstraintEQ, name, n)
        problem.addConstraint(line)
        return line

    lines = [
        [constraint(f"r_{t}_{i}", [(t, i, j) for j in range(width)]) for i in range(rows)]
        + [constraint(f"c_{t}_{j}", [(t, i, j) for i in range(height)]) for j in range(columns)]
        for t in range(count)
    ]
    run(pulp, problem, method)
    values = np.zeros(q.shape)
    for place in places:
        values[place] = _number(x[place].varValue, "value")
    duals = np.array([[_number(line.pi, "dual") for line in tile] for tile in lines])
    flow = checked_flow(values, n, full)
    return Stage(flow, checked_reduced(q, flow, duals.reshape(count, rows + columns), full))


def _number(value: float | None, what: str) -> float:
    if value is None:
        raise NmflowError(
            f"method 'lp': the LP solver gave no {what}; pass one that returns values and duals"
        )
    return float(value)


def checked_flow(values: NDArray[np.float64], n: int, full: bool) -> Integers:
    """The solution as integers.

    Raises
    ------
    NmflowError
        Where a value is no integer, or breaks a bound or a constraint.
    """
    nearest = np.rint(values)
    with np.errstate(invalid="ignore"):
        off = np.abs(values - nearest)
    # Written so that NaN is caught.
    if not (off <= TOLERANCE).all():
        worst = float(values.flat[np.argmax(off)])
        raise NmflowError(
            f"method 'lp': the LP solver returned {worst!r} where only whole numbers can be"
            " optimal; use another solver, or method='flow'"
        )
    rows, columns = _entries(nearest, full)
    if (
        (nearest < 0).any()
        or (nearest[:, :rows, :columns] > 1).any()
        or (nearest[:, :rows].sum(axis=2) != n).any()
        or (nearest[:, :, :columns].sum(axis=1) != n).any()
    ):
        raise NmflowError("method 'lp': the LP solver's solution breaks the constraints")
    flow: Integers = nearest.astype(np.int64)
    return flow


def checked_reduced(
    q: Integers, flow: Integers, duals: NDArray[np.float64], full: bool
) -> Integers:
    """Reduced scores q - u - v from the solver's duals (rows first, then columns).

    Raises
    ------
    NmflowError
        Unless they prove the flow optimal: kept entries have reduced scores >= 0, pruned ones
        <= 0; slacks <= 0, and 0 where there is room.
    """
    rows, columns = _entries(flow, full)
    slack = np.ones(q.shape[1:], np.bool_)
    slack[:rows, :columns] = False
    if (np.abs(duals) < _FAR).all():
        # Solvers differ in the sign of a dual.
        for price in (-np.rint(duals).astype(np.int64), np.rint(duals).astype(np.int64)):
            reduced = q.copy()
            reduced[:, :rows] -= price[:, :rows, None]
            reduced[:, :, :columns] -= price[:, None, rows:]
            if not (((flow == 0) | slack) & (reduced > 0) | (flow > 0) & (reduced < 0)).any():
                return reduced
    raise NmflowError(
        "method 'lp': the LP solver's duals do not prove its solution optimal;"
        " use another solver, or method='flow'"
    )


def is_strict(stage: Stage, full: bool) -> Masks:
    """Which masks are the only optimal ones whatever the digits below are.

    They are if no alternating cycle gains even with every entry that it adds a unit dearer;
    Bellman-Ford settles if there is none.
    """
    flow, reduced = stage
    rows, columns = _entries(flow, full)
    add = -reduced
    pruned = add[:, :rows, :columns]
    pruned -= 1
    pruned[flow[:, :rows, :columns] == 1] = _FAR
    remove = np.where(flow > 0, reduced, _FAR)
    if not full:
        # The corner joins the root of the rows to that of the columns: they are one node.
        remove[:, -1, -1] = 0
    row = np.zeros(flow.shape[:2], np.int64)
    column = np.zeros((len(flow), flow.shape[2]), np.int64)
    settled = np.zeros(len(flow), np.bool_)
    for _ in range(rows + columns + 2):
        before = row
        column = np.minimum(column, (row[:, :, None] + add).min(axis=1))
        row = np.minimum(row, (column[:, None, :] + remove).min(axis=2))
        settled = (row == before).all(axis=1)
        if settled.all():
            break
    return settled


def _entries(arcs: NDArray[Any], full: bool) -> tuple[int, int]:
    """Rows and columns of the tile without its slacks."""
    _, height, width = arcs.shape
    return (height, width) if full else (height - 1, width - 1)
