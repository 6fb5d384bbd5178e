"""PuLP and its solver CBC, run with care: the foreign code that ``lp`` stands on."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

from nmflow.errors import MissingExtraError, NmflowError
from nmflow.solvers.registry import Lp

# A solver object of the caller's may keep state while it solves.
_ONE_AT_A_TIME = threading.Lock()


def load_pulp() -> Any:
    """The module; it is an optional dependency."""
    try:
        import pulp
    except ImportError as error:
        raise MissingExtraError("method 'lp'", "lp") from error
    return pulp


def run(pulp: Any, problem: Any, method: Lp) -> None:
    """Solve, or raise unless the solver says that the solution is optimal."""
    try:
        if method.solver is not None:
            with _ONE_AT_A_TIME:
                problem.solve(method.solver)
        else:
            # PuLP leaves its files behind when the solver fails.
            with tempfile.TemporaryDirectory(prefix="nmflow-lp-") as directory:
                problem.solve(_cbc(pulp, method.time_limit, directory))
    except Exception as error:
        # Whatever goes wrong in foreign code, the outcome is the same: no mask.
        raise NmflowError(f"method 'lp': the LP solver failed: {error}") from error
    # CBC stopped by its time limit has status optimal in PuLP, and another solution status.
    if (problem.status, problem.sol_status) != (pulp.LpStatusOptimal, pulp.LpSolutionOptimal):
        raise NmflowError(
            "method 'lp': the LP solver found no optimum (status"
            f" {pulp.LpStatus.get(problem.status, problem.status)!r}, solution"
            f" {pulp.LpSolution.get(problem.sol_status, problem.sol_status)!r},"
            f" time_limit {method.time_limit}); allow more time, or use method='flow'"
        )


def _cbc(pulp: Any, time_limit: float | None, directory: str) -> Any:
    """CBC: PuLP's own where it brings one, else the one on the path."""
    # The class PULP_CBC_CMD warns from PuLP 3.3 on and is gone in 4.0.
    path = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)
    solver = pulp.COIN_CMD(path=path, mip=False, msg=False, threads=1, timeLimit=time_limit)
    solver.tmpDir = directory
    return solver
