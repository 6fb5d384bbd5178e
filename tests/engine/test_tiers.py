"""What is too little to compile the SIMD engine for is solved by the scalar stage, alike."""

from collections import Counter

import numpy as np
import pytest
from numba import config
from processes import run

import nmflow
from nmflow.solvers.flow import tiers
from nmflow.solvers.flow.simd_engine import driver

if config.DISABLE_JIT:
    pytest.skip("nothing is compiled", allow_module_level=True)

MASKS = """
import numpy as np, nmflow

normal = np.random.default_rng(3).standard_normal((160, 160))
cases = [(normal.astype(kind), n, m) for kind in ("f4", "f8") for n, m in ((2, 4), (4, 8))]
cases += [(normal.astype("f2"), 4, 8), (np.floor(normal), 4, 8), (normal[:150, :149], 4, 8)]
found = [nmflow.solve(weights, n, m) for weights, n, m in cases]
found.append(nmflow.solve(normal, 2, 4, within=normal > -1, at_most=True))
tracker = nmflow.Tracker(normal.shape, 4, 8)
found += [tracker.update(normal + step * normal[::-1])[0].copy() for step in (0, 0.01)]
masks = [np.packbits(mask).tobytes().hex() for mask in found]
"""
FIRST = (
    MASKS
    + """
from nmflow.solvers.flow.scalar.kernel import solve_units
from nmflow.solvers.flow.simd_engine.kernel import solve_full_tiles

print(len(solve_full_tiles.overloads), len(solve_units.overloads), *masks)
"""
)


def test_first_masks_compile_one_kernel_for_all(tmp_path):
    """With nothing cached; the engine, which is compiled at once here, finds the same masks."""
    engines, scalar, *masks = run(FIRST, NUMBA_CACHE_DIR=str(tmp_path)).split()
    assert (engines, scalar) == ("0", "1")
    names: dict = {}
    exec(MASKS, names)
    assert masks == names["masks"]


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(tiers, "compiles_at_once", lambda: False)
    monkeypatch.setattr(tiers, "_seen", Counter())
    monkeypatch.setattr(tiers, "_at_hand", set())


@pytest.mark.usefixtures("fresh")
class TestPatience:
    def test_ends_for_each_kind_by_itself(self):
        quarter = tiers.PATIENCE // 4
        spared = [tiers.spares_engine("a", quarter, quarter, lambda: False) for _ in range(7)]
        assert spared == [True] * 5 + [False] * 2
        assert tiers.spares_engine("b", quarter, quarter, lambda: False)

    def test_large_matrices_have_none(self):
        assert not tiers.spares_engine("a", 1, tiers.PATIENCE // 2 + 1, lambda: False)
        assert tiers.spares_engine("b", 1, tiers.PATIENCE // 2, lambda: False)

    def test_what_is_compiled_is_used_at_once(self):
        assert not tiers.spares_engine("a", 1, 1, lambda: True)
        assert not tiers.spares_engine("a", 1, 1, lambda: pytest.fail("known already"))

    def test_a_solve_uses_what_is_compiled(self, monkeypatch, rng):
        weights = rng.standard_normal((32, 32)).astype(np.float32)
        nmflow.solve(weights, 4, 8)
        calls = []
        solve_box = driver.solve_box
        monkeypatch.setattr(driver, "solve_box", lambda *args: calls.append(1) or solve_box(*args))
        monkeypatch.setattr(driver, "is_at_hand", lambda *_: True)
        nmflow.solve(weights, 4, 8)
        assert calls
        calls.clear()
        monkeypatch.setattr(driver, "is_at_hand", lambda *_: False)
        monkeypatch.setattr(tiers, "_at_hand", set())
        nmflow.solve(weights, 4, 8)
        assert not calls
