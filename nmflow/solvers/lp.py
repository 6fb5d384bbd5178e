"""``lp``: the linear programming relaxation through PuLP, for verification.

The constraint matrix of a tile is totally unimodular, so a vertex of the relaxation is a mask and
integer scores have integer dual prices. Both are checked, never assumed. An LP solver calculates
in float64, with absolute tolerances, and reports about eight digits; the scores may have any
range. So they are cut into digits: the LP of the leading ones, then the LP of the reduced costs
that it leaves, followed by the next digits, until none are left. What a floor leaves out is less
than a unit an arc, so an arc whose reduced cost exceeds the length of a cycle keeps its state, and
reduced costs are clipped there: every LP has small integers. This is iterative refinement
(Gleixner, Steffy & Wolter, INFORMS Journal on Computing 28, 2016) for a problem whose solutions are
integral. Each stage's answer is held against complementary slackness in exact integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from numpy.typing import NDArray

from nmflow import ties
from nmflow.errors import MissingExtraError, NmflowError
from nmflow.solvers.registry import Lp

# Variables of one model at most: more amortises the solver's start, and slows its simplex.
MODEL_VARIABLES = 8000
# What a solver's float64 answers may differ from the integers they stand for.
TOLERANCE = 1e-6
# Digits of a dual price that CBC writes are good for so many bits.
PRICE_BITS = 26


def solve_tiles(scores: NDArray[Any], n: int, full: bool, method: Lp, /) -> NDArray[np.bool_]:
    """Masks of the largest value by linear programming.

    Takes and returns what :class:`nmflow.solvers.registry.TileSolver` says.

    Raises
    ------
    MissingExtraError
        Without PuLP.
    NmflowError
        If the solver fails, runs out of time, or returns what is no optimal mask.
    """
    _, rows, columns = scores.shape
    step = max(1, MODEL_VARIABLES // (rows * columns))
    parts = [
        _solve_model(scores[start : start + step], n, full, method)
        for start in range(0, len(scores), step)
    ]
    return np.concatenate(parts)


def _solve_model(scores: NDArray[Any], n: int, full: bool, method: Lp) -> NDArray[np.bool_]:
    """Masks of a few tiles, as many LPs one after another as their scores have digits.

    Ties are settled by the digits of the tie tables, so that the mask of a tile does not depend on
    the others in the model.
    """
    count, rows, columns = scores.shape
    cycle = rows + columns + 2
    leading = PRICE_BITS - (2 * max(rows, columns)).bit_length()
    following = leading - cycle.bit_length() - 1
    whole, settled = _integers(scores)
    shift = max(settled[0], int(abs(whole).max()).bit_length() - leading)
    mask = np.empty(scores.shape, np.bool_)
    left = np.arange(count)
    stage = whole >> shift
    while True:
        flow, reduced = _solve_stage(stage, n, full, method)
        mask[left] = flow[:, :rows, :columns] == 1
        if shift in settled:
            tied = _has_ties(flow, reduced, n)
            left, whole, reduced = left[tied], whole[tied], reduced[tied]
        if not left.size or shift == 0:
            return mask
        # The digits of the scores, and of each table, end with a stage.
        digits = min(following, shift - max(end for end in settled if end < shift))
        shift -= digits
        clipped = np.clip(reduced, -cycle, cycle)
        stage = (clipped << digits) + ((whole >> shift) & ((1 << digits) - 1))


def _integers(scores: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Scores as Python integers with the tie rule below their last bit.

    Times one power of two per tile, nothing rounded. Below come the tables in their order, then a
    power of two per position. The last row and column hold the slack variables: what a column and
    a row leave unused, worth nothing.

    Also returned is above which bits nothing below can make up for a difference: those where the
    scores end, where each table ends, and 0.
    """
    count, rows, columns = scores.shape
    table_bits = ties.TABLE_BITS + max(rows, columns).bit_length()
    rule = np.zeros((rows, columns), object)
    for index in range(ties.TABLES):
        rule = (rule << table_bits) + ties.table(index, rows, columns).astype(object)
    size = rows * columns
    position = np.arange(size, dtype=object).reshape(rows, columns)
    rule = (rule << size) + (1 << (size - 1 - position))
    tie_bits = ties.TABLES * table_bits + size
    whole = np.zeros((count, rows + 1, columns + 1), object)
    for tile, integers in zip(scores, whole, strict=True):
        ratios = [value.as_integer_ratio() for value in tile.ravel().tolist()]
        unit = max(bottom for _, bottom in ratios)
        exact = np.array([top * (unit // bottom) for top, bottom in ratios], object)
        integers[:rows, :columns] = (exact.reshape(rows, columns) << tie_bits) + rule
    ends = [size + table_bits * left for left in range(ties.TABLES, -1, -1)]
    return whole, [*ends, 0]


def _has_ties(flow: NDArray[np.int64], reduced: NDArray[Any], n: int) -> NDArray[np.bool_]:
    """Which tiles have several optima: a cycle of the residual network whose arcs all cost 0.

    Arcs lead from a row to a column where a unit may be added, back where one may be taken; the
    last row and column are one node. A cycle through an entry exists if both ends of its arc lie in
    one strong component.
    """
    count, height, width = flow.shape
    limit = np.ones((height, width), np.int64)
    limit[-1], limit[:, -1] = n, n
    tile, i, j = np.nonzero(reduced == 0)
    base = tile * (height + width)
    row, column = base + i, base + height + np.where(j == width - 1, -1, j)
    add, take = flow[tile, i, j] < limit[i, j], flow[tile, i, j] > 0
    tails = np.concatenate([row[add], column[take]])
    heads = np.concatenate([column[add], row[take]])
    nodes = count * (height + width)
    graph = scipy.sparse.coo_array((np.ones(tails.size), (tails, heads)), (nodes, nodes))
    component = scipy.sparse.csgraph.connected_components(graph, connection="strong")[1]
    entry = (i < height - 1) & (j < width - 1)
    tied = np.zeros(count, np.bool_)
    tied[tile[entry & (component[row] == component[column])]] = True
    return tied


def _solve_stage(
    stage: NDArray[Any], n: int, full: bool, method: Lp
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Optimal flows of integer scores and their exact reduced costs, slack included."""
    flow, u, v = _call_solver(stage, n, full, method)
    zero = np.zeros((len(stage), 1), object)
    price = (
        np.concatenate([u, zero], axis=1)[:, :, None] + np.concatenate([v, zero], axis=1)[:, None]
    )
    reduced = stage - price
    limit = np.ones(stage.shape[1:], np.int64)
    limit[-1], limit[:, -1] = n, n
    held = flow[:, :-1].sum(axis=2), flow[:, :, :-1].sum(axis=1)
    wrong = ((flow > 0) & (reduced < 0)) | ((flow < limit) & (reduced > 0))
    wrong[:, -1, -1] = False
    if full:
        # Nothing may stay unused, whatever it would bring.
        wrong[:, -1], wrong[:, :, -1] = False, False
    if wrong.any() or (held[0] != n).any() or (held[1] != n).any():
        raise NmflowError(
            "method 'lp': the solver's answer breaks complementary slackness, so it is not optimal;"
            " try another PuLP solver, or method 'flow'"
        )
    return flow, reduced


def _call_solver(
    stage: NDArray[Any], n: int, full: bool, method: Lp
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Solve one model of all tiles; flows and dual prices, as integers."""
    pulp = _import_pulp()
    model, variables, constraints = _build_model(pulp, stage, n, full)
    solver = method.solver
    if solver is None:
        path = pulp.PULP_CBC_CMD.pulp_cbc_path
        solver = pulp.COIN_CMD(path=path, msg=False, threads=1, timeLimit=method.time_limit)
    try:
        model.solve(solver)
    except (pulp.PulpError, OSError) as error:
        raise NmflowError(f"method 'lp': the solver failed ({error})") from error
    if model.status != pulp.LpStatusOptimal or model.sol_status != pulp.LpSolutionOptimal:
        raise NmflowError(
            f"method 'lp': the solver stopped without an optimum (status"
            f" {pulp.LpStatus[model.status]!r}); give it more time, or take method 'flow'"
        )
    flow = np.zeros(stage.shape, np.int64)
    for place, variable in variables.items():
        flow[place] = _whole(variable.varValue, "a variable")
    count, rows, columns = (size - (axis > 0) for axis, size in enumerate(stage.shape))
    u, v = np.zeros((count, rows), object), np.zeros((count, columns), object)
    for (kind, t, line), constraint in constraints.items():
        (u if kind == "row" else v)[t, line] = -_whole(constraint.pi, "a dual price")
    return flow, u, v


def _import_pulp() -> Any:
    try:
        import pulp
    except ImportError:
        raise MissingExtraError("method 'lp'", "lp") from None
    return pulp


def _build_model(
    pulp: Any, stage: NDArray[Any], n: int, full: bool
) -> tuple[Any, dict[Any, Any], dict[Any, Any]]:
    """The relaxation: 0 <= x <= 1, rows and columns with their slack sum to n."""
    _, rows, columns = (size - (axis > 0) for axis, size in enumerate(stage.shape))
    model = pulp.LpProblem("masks", pulp.LpMinimize)
    variables = {}
    lines: dict[Any, list[Any]] = {}
    for t, i, j in np.ndindex(*stage.shape):
        slack = i == rows or j == columns
        if slack and (full or (i == rows and j == columns)):
            continue
        x = model.add_variable(f"x_{t}_{i}_{j}", 0, n if slack else 1)
        variables[t, i, j] = x
        if i < rows:
            lines.setdefault(("row", t, i), []).append((x, 1))
        if j < columns:
            lines.setdefault(("column", t, j), []).append((x, 1))
    cost = [(variable, -int(stage[place])) for place, variable in variables.items()]
    model += pulp.LpAffineExpression(cost)
    constraints = {line: pulp.LpAffineExpression(terms) == n for line, terms in lines.items()}
    for constraint in constraints.values():
        model += constraint
    return model, variables, constraints


def _whole(value: float | None, what: str) -> int:
    """The integer that a solver's number stands for."""
    if value is None:
        raise NmflowError(f"method 'lp': the solver reports no value for {what}")
    nearest = round(value)
    if abs(value - nearest) > TOLERANCE * max(1, abs(nearest)):
        raise NmflowError(f"method 'lp': the solver returned {value!r} for {what}, no integer")
    return nearest
