"""Compile the kernels that a wheel brings along, for each feature level that this machine has.

``make wheel`` runs this before it builds: kernels go to ``nmflow/_compiled``, which is no part of
the repository. They hold for this minor version of Python and this version of numba.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

import nmflow
from nmflow.compiling.cache import KernelCache
from nmflow.compiling.shipped import LEVELS, SHIPPED, Level, levels_of
from nmflow.compiling.sparing import compile_at_once

PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))
FLOATS = ("float32", "bfloat16", "float16")


def use(dtype: str) -> None:
    """Call what users call with weights of a dtype."""
    rng = np.random.default_rng(0)
    for n, m in PATTERNS:
        # A ragged edge of many partial tiles, beside full ones.
        weights = rng.standard_normal((9 * m + 1, 9 * m + 1)).astype(np.float32)
        given = weights.astype("float32" if dtype == "bfloat16" else dtype)
        if dtype == "bfloat16":
            import torch

            given = torch.from_numpy(weights).bfloat16()
        mask = nmflow.solve(given, n, m)
        nmflow.certify(given, mask, n, m)
        if dtype == "float32":
            tracker = nmflow.Tracker(given.shape, n, m)
            tracker.update(given)
            tracker.update(given)


def compile_here(level: Level) -> None:
    """Compile in this process, which numba was told to do for the level, and keep it."""
    compile_at_once()
    for dtype in FLOATS:
        use(dtype)
    count = 0
    modules = [module for name, module in sys.modules.items() if name.startswith("nmflow.")]
    for module in modules:
        for kernel in vars(module).values():
            # Kernels are kept where they were written, not where they were imported.
            if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == module.__name__:
                assert isinstance(kernel._cache, KernelCache)
                count += kernel._cache.ship(kernel.overloads, level)
    print(f"{level.processor}: {count} kernels")


def compile_for(level: Level) -> None:
    """Compile in a process of its own, which finds nothing compiled before."""
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {
            "NUMBA_CACHE_DIR": cache,
            "NUMBA_CPU_NAME": level.processor,
            "NUMBA_CPU_FEATURES": level.features,
            "NMFLOW_COMPILE": "1",
        }
        command = [sys.executable, __file__, "--level", level.processor]
        subprocess.run(command, check=True, env=env)


def main() -> None:
    """Compile for all levels of this machine, or with ``--level`` in this process for one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--level", help="compile in this process, for one level")
    given = parser.parse_args()
    if given.level:
        compile_here(next(level for level in LEVELS if level.processor == given.level))
        return
    shutil.rmtree(SHIPPED, ignore_errors=True)
    start = time.perf_counter()
    # Compiled code can be made for other processors, but not be run to see what it needs.
    for level in levels_of(cpu_target.target_context.codegen()):
        compile_for(level)
    size = sum(path.stat().st_size for path in Path(SHIPPED).rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB in {SHIPPED}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
