"""The kernels' source, compiled for the host and called there."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nmflow.cuda.source import source

# Flags and queues, as tiles.h has them.
COUNTERS = 8
OPEN, DIFFICULT, NOT_FINITE, BEYOND_TABLES = range(4)
_POINTERS = ("weights", "mask", "scratch")
_STRIDES = ("batch_stride", "row_stride", "column_stride")
_SIZES = ("batch", "rows", "columns", "vectors")


class Problem(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_longlong) for name in _STRIDES),
        *((name, ctypes.c_int) for name in _SIZES),
    ]


def compiler():
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


@functools.cache
def library(n, m, dtype="float32", signed=False, change=lambda text: text):
    """Compiled once for all runs of the same text."""
    if compiler() is None:
        pytest.skip("no C++ compiler (g++ or clang++, or one that CXX names) to run kernels with")
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


def solve(weights, n, m, dtype=None, signed=False, change=lambda text: text):
    """The mask of a batch of matrices (B, R, C), by the kernels; and their counters."""
    dtype = dtype or str(weights.dtype)
    batch, rows, columns = weights.shape
    tiles = batch * -(-rows // m) * -(-columns // m)
    mask = np.full(weights.shape, 7, np.uint8)
    scratch = np.zeros(COUNTERS + tiles * (3 + 2 * m), np.int32)
    steps = [step // weights.itemsize for step in weights.strides]
    aligned = weights.ctypes.data % 16 == 0 and all(step % 4 == 0 for step in steps[:2])
    pointers = (array.ctypes.data for array in (weights, mask, scratch))
    problem = Problem(*pointers, *steps, *weights.shape, aligned and steps[2] == 1)
    library(n, m, dtype, signed, change).solve_on_host(ctypes.byref(problem))
    return mask, scratch[:COUNTERS]
