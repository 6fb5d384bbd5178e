"""``lp`` takes no mask from a solver without a proof, whatever the solver does."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from lp_against_flow import same

from nmflow import Lp
from nmflow.errors import MissingExtraError, NmflowError
from nmflow.solvers import lp
from nmflow.solvers.lp import solve_tiles

pulp = pytest.importorskip("pulp")


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
