"""``lp`` finds exact masks through any LP solver, or none."""

import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import oracle
import pytest
from tiles import KINDS, make

from nmflow import Lp
from nmflow.errors import MissingExtraError, NmflowError
from nmflow.methods import integers, lp
from nmflow.methods.flow import method as flow
from nmflow.methods.lp import solve_tiles

pulp = pytest.importorskip("pulp")


def seeded(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def same(scores, n, full, method=None):
    """Equal to flow in value, and, since both follow the tie rule, in mask."""
    found = solve_tiles(scores.copy(), n, full, method or Lp())
    expected = flow.solve_tiles(scores.copy(), n, full)
    for tile, mask, best in zip(scores, found, expected, strict=True):
        assert oracle.exact_sum(tile, mask) == oracle.exact_sum(tile, best)
        np.testing.assert_array_equal(mask, best)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (5, 7), (8, 16)])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_mask_of_flow(kind, n, m):
    rng = seeded(kind, n, m)
    # A range of 2000 bits takes 200 stages.
    count = 1 if m == 16 or kind == "whole range" else 3
    same(make(kind, rng, count, m, m), n, True)
    if kind == "whole range" and m > 4:
        return
    same(make(kind, rng, count, m, m) * rng.choice([-1, 1], (count, m, m)), n, True)
    if m < 16:
        for rows, columns in ((m - 1, m), (m, 2), (1, n + 1)):
            scores = make(kind, rng, count, rows, columns)
            same(scores, n, False)
            same(scores * rng.choice([-1, 1], scores.shape), n, False)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16)])
@pytest.mark.parametrize("bits", [20, 30, 40, 52, 80])
def test_near_ties(n, m, bits):
    rng = seeded(n, m, bits)
    scores = 1 + rng.integers(0, 3, (4, m, m)) * 2.0 ** -min(bits, 52)
    if bits > 52:
        scores[:, ::2, ::2] = rng.integers(0, 3, (4, m // 2, m // 2)) * 2.0**-bits
    same(scores, n, True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_beyond_float64(dtype):
    scores = seeded(dtype).integers(0, 3, (4, 8, 8)).astype(dtype) + dtype(2**62)
    if dtype is np.int64:
        scores[2:] *= -1
    same(scores, 4, True)
    same(scores, 4, False)


def test_float32_and_empty_and_unconstrained():
    scores = seeded("f").standard_normal((4, 8, 8)).astype(np.float32)
    expected = flow.solve_tiles(scores.astype(float), 4, True)
    np.testing.assert_array_equal(solve_tiles(scores, 4, True, Lp()), expected)
    assert solve_tiles(scores[:0], 4, True, Lp()).shape == (0, 8, 8)
    assert solve_tiles(scores, 8, True, Lp()).all()
    np.testing.assert_array_equal(solve_tiles(scores, 8, False, Lp()), scores >= 0)


def test_a_tile_does_not_depend_on_its_model(monkeypatch):
    rng = seeded("batch")
    scores = np.concatenate([make(kind, rng, 2, 4, 4) for kind in KINDS if kind != "whole range"])
    whole = solve_tiles(scores, 2, True, Lp())
    order = rng.permutation(len(scores))
    np.testing.assert_array_equal(solve_tiles(scores[order], 2, True, Lp()), whole[order])
    monkeypatch.setattr(lp, "MODEL_SIZE", 40)
    np.testing.assert_array_equal(solve_tiles(scores, 2, True, Lp()), whole)


def test_the_integers_are_the_scores_then_the_rule():
    scores = seeded("u").choice([-3.0, 0.0, 2.0**-40, 7e5, 5e-324], (3, 3, 4))
    for tile, whole in zip(scores, integers.unique_integers(scores), strict=True):
        expected = oracle.by_augmentation(oracle.with_tie_rule(tile), 2, False)
        np.testing.assert_array_equal(oracle.by_augmentation(whole.tolist(), 2, False), expected)


def test_most_tiles_need_one_stage_and_range_more(monkeypatch):
    sizes = []
    solve = lp.solve_stage
    monkeypatch.setattr(lp, "solve_stage", lambda p, q, *a: sizes.append(len(q)) or solve(p, q, *a))
    scores = seeded("stages").standard_normal((50, 8, 8))
    solve_tiles(scores, 4, True, Lp())
    assert sizes[0] == 50
    assert sum(sizes[1:]) <= 5
    sizes.clear()
    solve_tiles(1 + scores * 2.0**-40, 4, True, Lp())
    assert 3 <= len(sizes) <= 6


def test_threads_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(Path.cwd().iterdir())
    scores = seeded("threads").standard_normal((8, 10, 4, 4))
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(lambda part: solve_tiles(part, 2, True, Lp()), scores))
    for part, mask in zip(scores, masks, strict=True):
        np.testing.assert_array_equal(mask, flow.solve_tiles(part.copy(), 2, True))
    assert list(tmp_path.iterdir()) == []
    assert set(Path.cwd().iterdir()) == before


def test_a_solver_of_the_caller(rng):
    path = pulp.COIN_CMD(msg=False).path
    path = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", path)
    same(rng.standard_normal((5, 4, 4)), 2, True, Lp(pulp.COIN_CMD(path=path, msg=False)))


class Cbc(pulp.LpSolver):
    """CBC, whose answer the tests then spoil; counts who is inside."""

    def __init__(self, spoil=lambda problem: None, sign=1):
        super().__init__(msg=False)
        self.spoil, self.sign = spoil, sign
        self.inside, self.most = 0, 0
        self.lock = threading.Lock()

    def available(self):
        return True

    def actualSolve(self, problem):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        path = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)
        status = pulp.COIN_CMD(path=path, msg=False).actualSolve(problem)
        for line in lines(problem):
            line.pi *= self.sign
        self.spoil(problem)
        self.inside -= 1
        return status


def lines(problem):
    """The constraints: a list, or in older PuLP a dictionary."""
    found = getattr(problem, "_constraints", None) or problem.constraints
    return list(found.values()) if isinstance(found, dict) else list(found)


def fail(problem):
    raise RuntimeError("no licence")


def status(*code):
    return lambda problem: problem.assignStatus(*code)


def value(number, at=0):
    def spoil(problem):
        problem.variables()[at].varValue = number

    return spoil


def swap(problem):
    """Feasible and whole, but not optimal: every entry of a 1:2 tile changes its state."""
    for variable in problem.variables():
        variable.varValue = 1 - variable.varValue


def dual(number):
    def spoil(problem):
        lines(problem)[0].pi = number if number is None else lines(problem)[0].pi + number

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (fail, "failed: no licence"),
        (status(pulp.LpStatusNotSolved), "Not Solved"),
        (status(pulp.LpStatusInfeasible), "Infeasible"),
        (status(pulp.LpStatusUnbounded), "Unbounded"),
        (status(pulp.LpStatusOptimal, pulp.LpSolutionIntegerFeasible), "Solution Found"),
        (value(0.5), "returned 0.5"),
        (value(1e-5), "returned 1e-05"),
        (value(1 - 1e-5), "returned 0.99999"),
        (value(float("nan")), "returned nan"),
        (value(float("inf")), "returned inf"),
        (value(2), "breaks the constraints"),
        (value(-1), "breaks the constraints"),
        (value(1e30), "breaks the constraints"),
        (value(None), "gave no value"),
        (swap, "do not prove"),
        (dual(None), "gave no dual"),
        (dual(1), "do not prove"),
        (dual(float("nan")), "do not prove"),
        (dual(1e300), "do not prove"),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_no_mask_without_a_proof(spoil, words, full):
    # Each tile keeps its diagonal, on every stage, and its duals have no room to move.
    scores = np.tile([[3.0, 1.0], [1.0, 3.0]], (4, 1, 1))
    assert solve_tiles(scores, 1, full, Lp(Cbc())).shape == scores.shape
    if spoil is swap and not full:
        pytest.skip("slacks are no part of the swap")
    if words == "do not prove" and spoil is not swap:
        scores[:] = 1
    with pytest.raises(NmflowError, match=words):
        solve_tiles(scores, 1, full, Lp(Cbc(spoil)))


@pytest.mark.parametrize("full", [True, False])
def test_either_sign_of_the_duals_will_do(rng, full):
    scores = rng.standard_normal((5, 4, 4))
    same(scores, 2, full, Lp(Cbc(sign=-1)))


def test_a_solver_object_is_used_by_one_thread_at_a_time(rng):
    solver = Cbc()
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda part: solve_tiles(part, 2, True, Lp(solver)), rng.random((6, 2, 4, 4)))
        )
    assert solver.most == 1


def test_time_limit(monkeypatch, tmp_path, rng):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(lp, "MODEL_SIZE", 20000)
    scores = rng.standard_normal((20, 32, 32))
    with pytest.raises(NmflowError, match=r"no optimum .*time_limit 0.01"):
        solve_tiles(scores, 16, True, Lp(time_limit=0.01))
    assert list(tmp_path.iterdir()) == []
    same(scores[:1, :4, :4].copy(), 2, True, Lp(time_limit=60))
    with pytest.raises(NmflowError, match="set the limit on the solver object"):
        solve_tiles(scores, 16, True, Lp(Cbc(), 1.0))


def test_cbc_missing_or_crashing(monkeypatch, tmp_path):
    scores = np.ones((1, 2, 2))
    gone = pulp.COIN_CMD(path=str(tmp_path / "cbc"), msg=False)
    with pytest.raises(NmflowError, match="LP solver failed: Pulp: cannot execute"):
        solve_tiles(scores, 1, True, Lp(gone))
    crashing = tmp_path / "crashing"
    crashing.write_text("#!/bin/sh\nexit 3\n")
    crashing.chmod(0o755)
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(files))
    monkeypatch.setenv("TMPDIR", str(files))
    monkeypatch.setenv("TMP", str(files))
    monkeypatch.setattr(pulp.PULP_CBC_CMD, "pulp_cbc_path", str(crashing))
    with pytest.raises(NmflowError, match="LP solver failed"):
        solve_tiles(scores, 1, True, Lp())
    assert list(files.iterdir()) == []


def test_pulp_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pulp", None)
    with pytest.raises(MissingExtraError, match=r"method 'lp' .*nmflow\[lp\]"):
        solve_tiles(np.ones((1, 2, 2)), 1, True, Lp())


@pytest.mark.parametrize("most", [2 - 2.0**-52, 2.0, 2 + 2.0**-51])
def test_two_entries_against_one_in_the_last_bit(most):
    """The cycle by which these masks differ runs through the root."""
    tile = np.array([[1, most], [-1, 1]])
    scores = np.array([tile, tile[::-1], tile[:, ::-1], tile[::-1, ::-1]])
    same(scores, 1, False)


def test_a_strict_mask_wins_against_cycles_through_the_root():
    # Row 0 keeps one of (2, 1), row 1 one of (-1, 1): 1 + 1 against 2, equal in these units.
    flow = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]])
    reduced = np.array([[[0, 0, 0], [-3, 0, 0], [0, 0, 0]]])
    assert not lp.is_strict(lp.Stage(flow, reduced), False).any()
    reduced[0, 0, 1] = -1
    assert lp.is_strict(lp.Stage(flow, reduced), False).all()


def test_position_decides_where_tables_do_not(monkeypatch):
    monkeypatch.setattr(
        "nmflow.problem.ties.table", lambda k, rows, columns: np.ones((rows, columns), int)
    )
    mask = solve_tiles(np.ones((2, 4, 4)), 2, True, Lp())
    first = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    np.testing.assert_array_equal(mask, np.broadcast_to(np.array(first, bool), mask.shape))


@pytest.mark.parametrize(
    ("values", "full"),
    [
        ([[1, 1], [0, 0]], True),
        ([[1, 0], [1, 0]], True),
        ([[2, -1], [-1, 2]], True),
        ([[1, 1, -1], [0, 0, 1], [0, 0, 0]], False),
        ([[0, 1, 0], [1, 0, 0], [0, 1, 0]], False),
    ],
)
def test_each_constraint_is_checked(values, full):
    with pytest.raises(NmflowError, match="breaks the constraints"):
        lp.checked_flow(np.array([values], float), 1, full)


def test_prices_of_slacks_are_checked():
    flow = np.array([[[0, 1], [1, 0]]])  # a 1 x 1 tile that keeps nothing
    for score, dual, proves in ((-1, 0, True), (-1, 1, False), (-2, 1, False), (1, 0, False)):
        q = np.array([[[score, 0], [0, 0]]])
        if proves:
            lp.checked_reduced(q, flow, np.array([[dual, dual]], float), False)
        else:
            with pytest.raises(NmflowError, match="do not prove"):
                lp.checked_reduced(q, flow, np.array([[dual, dual]], float), False)
