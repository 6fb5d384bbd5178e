"""Named arrays behind one pointer, in kernels and in the interpreter."""

import copy
import pickle

import numpy as np
import pytest
from numba import config
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.compiling.structs import Struct


class Inner(Struct):
    values: NDArray[np.float32]


class Outer(Struct):
    counts: NDArray[np.int64]
    inner: Inner
    step: int
    table: NDArray[np.int16]
    flags: NDArray[np.bool_]


def fresh():
    return Outer(
        counts=np.arange(3),
        inner=Inner(values=np.ones(5, np.float32)),
        step=7,
        table=np.arange(6, dtype=np.int16).reshape(2, 3),
        flags=np.array([True, False]),
    )


@helper
def take(outer, into):
    into[0] = outer.step
    into[1] = outer.counts.size
    into[2] = outer.table[1, 2]
    into[3] = outer.table.shape[1]
    into[4] = outer.flags[0] and not outer.flags[1]
    outer.inner.values[4] += outer.step
    outer.counts[:] = 5


@compile_kernel
def through_a_kernel(outer, into):
    take(outer, into)


@pytest.mark.parametrize("run", [through_a_kernel, take])
def test_kernels_read_and_write_what_is_there(run):
    outer, into = fresh(), np.zeros(5, np.int64)
    run(outer, into)
    assert into.tolist() == [7, 3, 5, 3, 1]
    assert outer.inner.values.tolist() == [1, 1, 1, 1, 8]
    assert outer.counts.tolist() == [5, 5, 5]
    outer.update(step=-2)
    run(outer, into)
    assert outer.step == into[0] == -2
    assert outer.inner.values[4] == 6


@pytest.mark.parametrize("again", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_has_arrays_of_its_own(again):
    outer, into = fresh(), np.zeros(5, np.int64)
    twin = again(outer)
    through_a_kernel(twin, into)
    assert outer.counts.tolist() == [0, 1, 2]
    assert outer.inner.values[4] == 1
    assert twin.counts.tolist() == [5, 5, 5]
    assert twin.inner.values[4] == 8


def test_bytes():
    assert fresh().nbytes == 3 * 8 + 5 * 4 + 6 * 2 + 2


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_types_go_by_what_fields_are():
    a, b = fresh(), fresh()
    assert a._numba_type_ == b._numba_type_
    c = Inner(values=np.ones(5))
    assert c._numba_type_ != a.inner._numba_type_
    assert len(str(a._numba_type_)) < 40
