"""The CUDA source for one n:m and one dtype, put together from the files beside this one.

What depends on n and m is generated: the selection network is that of the CPU's engine
(:mod:`nmflow.simd.selection_networks`), the tie tables are :mod:`nmflow.problem.ties`.
"""

from __future__ import annotations

import functools
from pathlib import Path

from nmflow.problem.ties import TABLES, table
from nmflow.simd.selection_networks import selection

FORMATS = ("float32", "float16", "bfloat16")
"""Dtypes in the order of FORMAT in ``tiles.h``."""
SMALLEST_M, LARGEST_M = 2, 32
# In the order in which they need each other.
_FILES = (
    *("tiles.h", "ascent.h", "enumeration.h", "exact.h", "levels.h", "replacing.h"),
    "solve.cu",
)
_FOLDER = Path(__file__).parent


@functools.cache
def source(
    n: int, m: int, dtype: str, signed: bool, *, warm: bool = False, host: bool = False
) -> str:
    """Text for NVRTC, or for a C++ compiler of the host.

    Parameters
    ----------
    n, m : int
        1 <= n < m <= 32.
    dtype : str
        One of :data:`FORMATS`.
    signed : bool
        Whether values are the scores themselves, not their magnitudes.
    warm : bool
        Whether potentials stay from solve to solve, which the next one starts from.
    host : bool
        Whether to run warps as arrays of 32 lanes, on the host.
    """
    numbers = f"#define FORMAT {FORMATS.index(dtype)}\n#define SIGNED {int(signed)}\n"
    numbers += f"#define WARM {int(warm)}\n"
    sizes = f"#define N {n}\n#define M {m}\n"
    return "\n".join(
        (
            numbers,
            _read("warp_host.h" if host else "warp_device.h"),
            sizes,
            _tables(m),
            network(n, m),
            *(_read(name) for name in _FILES if m == 4 or name != "enumeration.h"),
        )
    )


@functools.cache
def network(n: int, m: int) -> str:
    """A function template: the n-th and the next largest of m values, on any type with an order."""
    chosen = selection(m, n)
    lines = [f"T x{k} = x[{k}];" for k in range(m)]
    for number, step in enumerate(chosen.steps):
        name = "larger" if step.larger else "smaller"
        lines.append(f"T x{m + number} = {name}(x{step.first}, x{step.second});")
    upper, lower = chosen.outputs
    lines.append(f"upper = x{upper}; lower = x{lower};")
    body = "\n  ".join(lines)
    return (
        "template <class T> DEVICE void nth_and_next(const T (&x)[M], T& upper, T& lower) {\n"
        f"  {body}\n}}\n"
    )


def _tables(m: int) -> str:
    entries = (str(x) for k in range(TABLES) for x in table(k, m, m).flat)
    return f"CONSTANT unsigned char TIES[{TABLES * m * m}] = {{{', '.join(entries)}}};\n"


@functools.cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
