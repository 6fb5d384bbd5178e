"""Tiling covers every entry once, and pasting undoes cutting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmflow.problem.tiling import windows


@given(
    st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(0, 30)),
    st.integers(1, 9),
    st.sampled_from([1, 10, 64, 1000]),
)
def test_paste_is_the_exact_inverse_of_cut(shape, m, entries):
    stack = np.arange(np.prod(shape)).reshape(shape)
    again, times = np.full(shape, -1), np.zeros(shape, int)
    for window in windows(shape, (m, m), entries):
        tiles = window.cut(stack[window.box])
        assert tiles.shape == (window.count, *window.tile)
        assert tiles.flags.c_contiguous
        assert window.full == (window.tile == (m, m))
        assert max(window.tile) <= m
        assert tiles.size <= max(entries, tiles[0].size)
        window.paste(again, tiles)
        times[window.box] += 1
    np.testing.assert_array_equal(again, stack)
    assert (times == 1).all()


@pytest.mark.parametrize(("rows", "columns", "m"), [(8, 12, 4), (9, 13, 4), (3, 20, 5)])
def test_tiles_are_blocks_of_the_matrix(rows, columns, m):
    matrix = np.arange(rows * columns).reshape(1, rows, columns)
    found = {tile.tobytes() for w in windows(matrix.shape, (m, m)) for tile in w.cut(matrix[w.box])}
    expected = {
        np.ascontiguousarray(matrix[0, i : i + m, j : j + m]).tobytes()
        for i in range(0, rows, m)
        for j in range(0, columns, m)
    }
    assert found == expected
