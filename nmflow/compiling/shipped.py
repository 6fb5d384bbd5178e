"""Compiled kernels that come with the package, for any processor of a feature level.

A wheel may bring kernels along that were compiled for the levels of x86-64 that compilers and Linux
distributions know (x86-64-v3: AVX2; x86-64-v4: AVX-512), so that a first call needs to compile
nothing. They hold for the Python minor version, numba version and sources that they were compiled
from; for others, and for other processors, kernels are compiled as ever.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

SHIPPED = Path(__file__).parents[1] / "_compiled"
"""Where a wheel has them; not in the repository."""
OFF = "NMFLOW_COMPILE"
"""Environment variable: kernels that were shipped are not used, if it is set."""

_V3 = (
    "64bit avx avx2 bmi bmi2 cmov crc32 cx16 cx8 f16c fma fxsr lzcnt mmx movbe popcnt sahf sse"
    " sse2 sse3 sse4.1 sse4.2 ssse3 x87 xsave"
)
_V4 = _V3 + " avx512bw avx512cd avx512dq avx512f avx512vl"


class Level(NamedTuple):
    """A feature level: LLVM's name of it as a processor, and LLVM's names of its features."""

    processor: str
    features: str


def _level(processor: str, features: str) -> Level:
    return Level(processor, ",".join(f"+{name}" for name in features.split()))


LEVELS = (_level("x86-64-v4", _V4), _level("x86-64-v3", _V3))
"""The best first."""


def levels_of(codegen: Any) -> list[Level]:
    """The levels whose code runs on what numba compiles for."""
    if os.environ.get(OFF):
        return []
    triple, _, features = codegen.magic_tuple()
    here = set(features.split(","))
    # Some of LLVM's names, such as 64bit, are of modes that every such processor has.
    always = {"+64bit", "+x87", "+cmov", "+cx8", "+fxsr", "+mmx", "+sse", "+sse2"}
    if not triple.startswith("x86_64"):
        return []
    return [level for level in LEVELS if set(level.features.split(",")) - always <= here]


def folder_of(level: Level, module: str) -> Path:
    """Where the kernels of a module lie."""
    return SHIPPED / level.processor / hashlib.sha256(module.encode()).hexdigest()[:12]
