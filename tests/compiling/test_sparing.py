"""Kernels that few tiles need are not compiled for them, and masks are the same either way."""

import numpy as np
import pytest
from numba import config
from processes import run

from nmflow.compiling import sparing

if config.DISABLE_JIT:
    pytest.skip("nothing is compiled", allow_module_level=True)

# Whatever other tests have compiled, as if no kernel of few tiles were on the disk.
FRESH = """
import numpy as np, nmflow
from nmflow.compiling import sparing
from nmflow.solvers.flow.simd_engine import driver
sparing.is_at_hand = driver.is_at_hand = lambda kernel, args: False
"""
FIRST_MASKS = (
    FRESH
    + """
rng = np.random.default_rng(3)
matrices = [
    rng.standard_normal((64, 64)).astype(np.float32),
    (rng.standard_normal((16, 24)) * 10.0 ** rng.integers(-30, 30, (16, 24))).astype(np.float32),
    rng.integers(-(1 << 62), 1 << 62, (9, 8)),
    rng.standard_normal((13, 18)).astype(np.float32),
]
if {at_once}:
    sparing.compile_at_once()
for matrix in matrices:
    print(nmflow.solve(matrix, 4, 8).astype(int).tolist())
from nmflow.solvers.flow.scalar.kernel import solve_units
print(len(solve_units.overloads))
"""
)


def test_a_first_call_interprets_what_few_tiles_need():
    first = run(FIRST_MASKS.format(at_once=False))
    *interpreted, none = first.splitlines()
    assert none == "0"
    *compiled, some = run(FIRST_MASKS.format(at_once=True)).splitlines()
    assert some == "1"
    assert interpreted == compiled


def double(values):
    values *= 2


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(sparing, "compiles_at_once", lambda: False)
    monkeypatch.setattr(sparing, "_interpreted", type(sparing._interpreted)())
    monkeypatch.setattr(sparing, "_at_hand", set())
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    from nmflow.compiling.jit import compile_kernel

    return compile_kernel(double)


def test_patience_ends(kernel):
    values = np.ones(4)
    for count in range(4):
        sparing.run_sparingly(kernel, (values,), sparing.PATIENCE // 3)
        assert len(kernel.overloads) == (count == 3)
    assert values.tolist() == [16] * 4


def test_what_is_compiled_is_used_at_once(kernel):
    kernel(np.ones(3))
    assert not sparing.interprets(kernel, (np.ones(3),), 1)
    assert sparing.interprets(kernel, (np.ones(3, np.float32),), 1)


def test_what_is_on_the_disk_is_used_at_once(kernel):
    from nmflow.compiling.jit import compile_kernel

    kernel(np.ones(3))
    again = compile_kernel(double)
    assert not again.overloads
    assert not sparing.interprets(again, (np.ones(3),), 1)


def test_tied_tiles_call_for_the_strip_solver():
    """Many strips that want it are not left to the scalar fallback."""
    code = """
driver.spares_engine = lambda *_: False
for make in (lambda rng: rng.standard_normal((64, 64)), lambda rng: rng.integers(0, 2, (256, 256))):
    nmflow.solve(make(np.random.default_rng(0)).astype(np.float32), 4, 8)
    print(bool(driver._strip_solvers[8]))
"""
    assert run(FRESH + code).split() == ["False", "True"]
