"""The kernels' source, compiled for the host and called: what a GPU would do, lane by lane."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nmflow.cuda.launch import SOLVING
from nmflow.cuda.problem import COUNTERS, Matrix, Pointers, Table, scratch_size, tables, warm_size
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
    n: int,
    m: int,
    dtype: str = "float32",
    signed: bool = False,
    warm: bool = False,
    change: Change = unchanged,
) -> ctypes.CDLL:
    """Compiled once for all runs of the same text."""
    if compiler() is None:
        raise NoCompilerError("no C++ compiler to run kernels with: g++, clang++ or what CXX names")
    text = change(source(n, m, dtype, signed, warm=warm, host=True))
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


def launch(kernels: ctypes.CDLL, names: tuple[str, ...], table: Table) -> None:
    """What :func:`nmflow.cuda.launch.launch` does on a device."""
    run = kernels.solve_on_host if names == SOLVING else kernels.put_in_force_on_host
    run(ctypes.byref(table))


BLOCKS = 12
"""Of a launch: few, so that each warp takes several pieces."""


class Solved(NamedTuple):
    """What kernels made of batches of matrices, an array for each.

    Attributes
    ----------
    masks : list of (B, R, C) uint8
    counters : (K, COUNTERS) int32
    """

    masks: list[Any]
    counters: Any


def solve_each(
    weights: Sequence[Any],
    n: int,
    m: int,
    dtype: str | None = None,
    signed: bool = False,
    warm: Sequence[Any] = (),
    change: Change = unchanged,
) -> Solved:
    """The masks of batches of matrices (B, R, C), in as few launches as hold them all.

    ``warm`` are arrays of int32, :func:`warm_size` each, which keep potentials.
    """
    name = dtype or str(weights[0].dtype)
    masks = [np.full(each.shape, 7, np.uint8) for each in weights]
    counters = np.zeros((len(weights), COUNTERS), np.int32)
    scratch = [np.empty(scratch_size(each.shape, m), np.int32) for each in weights]
    matrices = []
    for k, each in enumerate(weights):
        arrays = [each, masks[k], counters[k], scratch[k]]
        own = Pointers(*(array.ctypes.data for array in arrays))
        if warm:
            own = own._replace(warm=warm[k].ctypes.data)
        strides = tuple(step // each.itemsize for step in each.strides)
        matrices.append(Matrix(own, each.shape, strides, each.itemsize))
    kernels = library(n, m, name, signed, bool(warm), change)
    for table in tables(matrices, m, BLOCKS):
        launch(kernels, SOLVING, table)
    return Solved(masks, counters)


def no_potentials(shape: tuple[int, ...], m: int) -> Any:
    """Where potentials of matrices of a shape will stay, and none do yet."""
    return np.zeros(warm_size(shape, m), np.int32)


def solve(
    weights: Any,
    n: int,
    m: int,
    dtype: str | None = None,
    signed: bool = False,
    change: Change = unchanged,
) -> tuple[Any, Any]:
    """The mask of a batch of matrices (B, R, C), by the kernels; and their counters."""
    found = solve_each([weights], n, m, dtype, signed, change=change)
    return found.masks[0], found.counters[0]
