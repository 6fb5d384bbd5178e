"""The kernels' source, compiled for the host and called: what a GPU would do, lane by lane."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmflow.cuda.problem import COUNTERS, arguments, scratch_size
from nmflow.cuda.source import source


class NoCompilerError(RuntimeError):
    """There is no C++ compiler on this machine."""


Change = Callable[[str], str]


def unchanged(text: str) -> str:
    return text


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


@functools.cache
def library(
    n: int, m: int, dtype: str = "float32", signed: bool = False, change: Change = unchanged
) -> ctypes.CDLL:
    """Compiled once for all runs of the same text."""
    if compiler() is None:
        raise NoCompilerError("no C++ compiler to run kernels with: g++, clang++ or what CXX names")
    text = change(source(n, m, dtype, signed, host=True))
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"nmflow-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / f"{name}.so"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=folder) as room:
            command = [compiler(), "-std=c++17", "-O1", "-ftree-vectorize", "-march=native"]
            command += ["-Wall", "-Werror", "-Wno-unused-function", "-shared", "-fPIC"]
            command += ["-x", "c++", "-"]
            out = Path(room) / "kernels.so"
            subprocess.run([*command, "-o", out], input=text, text=True, check=True)
            out.replace(made)
    return ctypes.CDLL(str(made))


def solve(
    weights: Any,
    n: int,
    m: int,
    dtype: str | None = None,
    signed: bool = False,
    change: Change = unchanged,
) -> tuple[Any, Any]:
    """The mask of a batch of matrices (B, R, C), by the kernels; and their counters."""
    dtype = dtype or str(weights.dtype)
    mask = np.full(weights.shape, 7, np.uint8)
    scratch = np.zeros(scratch_size(weights.shape, m), np.int32)
    strides = [step // weights.itemsize for step in weights.strides]
    pointers = [array.ctypes.data for array in (weights, mask, scratch)]
    problem = arguments(pointers, strides, weights.shape, m, weights.itemsize)
    library(n, m, dtype, signed, change).solve_on_host(ctypes.byref(problem))
    return mask, scratch[:COUNTERS]
