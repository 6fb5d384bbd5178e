"""Kernels that a package brings along, for processors of a feature level."""

import pytest
from numba import config
from processes import run

if config.DISABLE_JIT:
    pytest.skip("nothing is compiled", allow_module_level=True)

from numba.core.registry import cpu_target

from nmflow.compiling.shipped import LEVELS, levels_of

CALL = """
from pathlib import Path
import numpy as np, nmflow
from nmflow.compiling import shipped
shipped.SHIPPED = Path({folder!r})
from nmflow.solvers.heuristics import greedy_keep
mask = nmflow.solve(np.arange(16.0).reshape(4, 4), 2, 4, "greedy-keep")
kernel = greedy_keep.solve_batch
"""
SHIP = CALL + "print(kernel._cache.ship(kernel.overloads, shipped.LEVELS[{level}]))"
# And once more as where nothing was shipped.
LOAD = (
    CALL
    + """
import os
from nmflow.compiling.jit import compile_kernel
def hits(kernel):
    return sum(kernel.stats.cache_hits.values())
print(hits(kernel), mask.astype(int).tolist())
os.environ[shipped.OFF] = "1"
greedy_keep.solve_batch = again = compile_kernel(kernel.py_func)
mask = nmflow.solve(np.arange(16.0).reshape(4, 4), 2, 4, "greedy-keep")
print(len(again.overloads) - 1, hits(again), mask.astype(int).tolist())
"""
)


class Host:
    """As numba's code generator describes what it compiles for."""

    def __init__(self, features, triple="x86_64-unknown-linux-gnu"):
        self.features, self.triple = features, triple

    def magic_tuple(self):
        return self.triple, "any", ",".join(self.features)


def test_levels_go_by_features(monkeypatch):
    v4, v3 = (level.features.split(",") for level in LEVELS)
    assert [level.processor for level in levels_of(Host(v4))] == ["x86-64-v4", "x86-64-v3"]
    assert [level.processor for level in levels_of(Host(v3))] == ["x86-64-v3"]
    assert levels_of(Host([each for each in v3 if each != "+avx2"])) == []
    assert levels_of(Host(v4, "aarch64-linux-gnu")) == []
    monkeypatch.setenv("NMFLOW_COMPILE", "1")
    assert levels_of(Host(v4)) == []


def test_what_was_shipped_is_not_compiled(tmp_path):
    here = levels_of(cpu_target.target_context.codegen())
    if not here:
        pytest.skip("this processor is of no such level")
    level, folder = here[0], str(tmp_path / "shipped")
    ship = SHIP.format(folder=folder, level=LEVELS.index(level))
    environment = {
        "NUMBA_CPU_NAME": level.processor,
        "NUMBA_CPU_FEATURES": level.features,
        "NMFLOW_COMPILE": "1",
    }
    assert run(ship, NUMBA_CACHE_DIR=str(tmp_path / "one"), **environment) == "1\n"
    load, cache = LOAD.format(folder=folder), str(tmp_path / "other")
    found, anew = run(load, NUMBA_CACHE_DIR=cache).splitlines()
    hits, mask = found.split(maxsplit=1)
    assert hits == "1"
    assert anew == f"0 0 {mask}"
