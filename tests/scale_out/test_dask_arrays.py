"""Dask arrays are solved chunk by chunk, lazily, and the mask is that of the whole array."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nmflow

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

PATTERNS = ["transposable", "rows", "columns", "unstructured"]


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def weights(shape, seed=0):
    """Small integers: most tiles have ties, which the place of a tile must not decide."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


@st.composite
def chunked(draw):
    """A shape of two or three axes and chunks that know nothing of tiles."""
    shape = tuple(draw(st.lists(st.integers(1, 14), min_size=2, max_size=3)))
    chunks = []
    for length in shape:
        cuts = draw(st.sets(st.integers(1, length), max_size=4)) | {length}
        ordered = [0, *sorted(cuts)]
        chunks.append(tuple(np.diff(ordered).tolist()))
    return shape, tuple(chunks)


@settings(deadline=None, max_examples=60)
@given(
    chunked(),
    st.sampled_from(PATTERNS),
    st.sampled_from([(2, 4), (1, 2), (2, 3)]),
    st.sampled_from([(1, 1), (2, 1), (1, 3)]),
    st.booleans(),
    st.integers(0, 9),
)
def test_the_mask_is_that_of_the_whole_array(where, pattern, kept, unit, turned, seed):
    shape, chunks = where
    values = weights(shape, seed)
    axes = (-1, 0) if turned else (-2, -1)
    options = {"pattern": pattern, "unit": unit, "axes": axes}
    array = da.from_array(values, chunks=chunks)
    lazy = nmflow.solve(array, *kept, **options)
    assert lazy.chunks == array.chunks
    assert lazy.dtype == bool
    mask = lazy.compute()
    assert type(mask) is np.ndarray
    np.testing.assert_array_equal(mask, nmflow.solve(values, *kept, **options))
    assert nmflow.certify(array, lazy, *kept, **options) == nmflow.certify(
        values, mask, *kept, **options
    )


@settings(deadline=None, max_examples=30)
@given(chunked(), st.sampled_from(PATTERNS), st.integers(0, 9))
def test_constraints_are_cut_as_the_weights_are(where, pattern, seed):
    shape, chunks = where
    values = weights(shape, seed)
    within = np.random.default_rng(seed).random(shape) < 0.7
    options = {"pattern": pattern, "within": within, "at_most": True}
    array = da.from_array(values, chunks=chunks)
    mask = nmflow.solve(values, 2, 4, **options)
    np.testing.assert_array_equal(nmflow.solve(array, 2, 4, **options), mask)
    lazily = options | {"within": da.from_array(within, chunks=shape)}
    np.testing.assert_array_equal(nmflow.solve(array, 2, 4, **lazily), mask)
    assert nmflow.certify(array, mask, 2, 4, **lazily) == nmflow.certify(
        values, mask, 2, 4, **options
    )


@settings(deadline=None, max_examples=40)
@given(chunked(), st.sampled_from(PATTERNS), st.integers(0, 9))
def test_certificates_of_wrong_masks_add_up(where, pattern, seed):
    """Value, bound, counts, and the places of what is wrong, wherever chunks are cut."""
    shape, chunks = where
    values = weights(shape, seed) * np.float32(1.1) ** seed
    mask = nmflow.solve(values, 2, 4, pattern=pattern)
    flipped = np.random.default_rng(seed).integers(0, mask.size, 2)
    mask.ravel()[flipped] ^= True
    array = da.from_array(values, chunks=chunks)
    found = nmflow.certify(array, mask, 2, 4, pattern=pattern)
    whole = nmflow.certify(values, mask, 2, 4, pattern=pattern)
    assert set(found.violations) == set(whole.violations)
    for name in ("feasible", "full", "value", "bound", "absolute_gap", "tiles", "optimal_tiles"):
        assert getattr(found, name) == getattr(whole, name)


def test_violations_are_listed_by_place_and_no_more_than_of_one_array():
    values = weights((3, 8, 8))
    array = da.from_array(values, chunks=(1, 4, 4))
    found = nmflow.certify(array, np.ones(values.shape, bool), 2, 4).violations
    assert len(found) == 10
    assert [each.tile for each in found] == [(0, 0)] * 8 + [(0, 1)] * 2
    assert nmflow.certify(array, np.zeros(values.shape, bool), 2, 4).feasible


def test_nothing_is_calculated_before_it_is_asked_for():
    def fail(block):
        raise AssertionError

    array = da.map_blocks(fail, da.ones((8, 8), chunks=4), dtype=np.float32, meta=np.empty((0, 0)))
    assert nmflow.solve(array, 2, 4).shape == (8, 8)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "bool"])
def test_dtypes(dtype):
    values = np.abs(weights((8, 12))).astype(dtype)
    array = da.from_array(values, chunks=(5, 5))
    np.testing.assert_array_equal(nmflow.solve(array, 2, 4), nmflow.solve(values, 2, 4))


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = weights((8, 12)).astype(ml_dtypes.bfloat16)
    array = da.from_array(values, chunks=(5, 5))
    np.testing.assert_array_equal(nmflow.solve(array, 2, 4), nmflow.solve(values, 2, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 5}, "5:4 keeps n of every m"),
        ({"method": "flwo"}, "did you mean 'flow'"),
        ({"method": "greedy", "pattern": "rows"}, "'greedy' is approximate"),
        ({"method": "greedy", "columns": (4, 8)}, "'greedy' knows neither"),
        ({"axes": (0, 2)}, r"shape \(16, 24\).*axes must be two different"),
        ({"score": "cube"}, "unknown score 'cube'"),
        ({"workers": 0}, "workers must be None"),
        ({"unit": 3}, "unit must be"),
        ({"within": np.ones((3, 3), bool)}, r"within of shape \(3, 3\).*\(16, 24\)"),
    ],
)
def test_wrong_options_are_refused_at_once(change, message):
    options = {"n": 2, "m": 4} | change
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.solve(da.ones((16, 24), chunks=5), **options)


def test_what_is_no_matrix_and_what_has_no_size_are_refused_at_once():
    with pytest.raises(nmflow.NmflowError, match=r"\(7,\).*2 dimensions"):
        nmflow.solve(da.ones(7), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="complex64"):
        nmflow.solve(da.ones((8, 8), dtype=np.complex64), 2, 4)
    array = da.ones((8, 8), chunks=4)
    with pytest.raises(nmflow.NmflowError, match="compute_chunk_sizes"):
        nmflow.solve(array[array[:, 0] > 0], 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"mask of shape \(4, 8\)"):
        nmflow.certify(array, np.ones((4, 8), bool), 2, 4)
    prices = nmflow.solve_with_prices(np.ones((8, 8)), 2, 4)[1]
    with pytest.raises(nmflow.NmflowError, match="leave them out"):
        nmflow.certify(array, np.ones((8, 8), bool), 2, 4, prices=prices)


def test_errors_name_the_index_in_the_whole_array():
    values = weights((16, 24))
    values[9, 21] = np.nan
    mask = nmflow.solve(da.from_array(values, chunks=(5, 7)), 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"shape \(16, 24\).*nan at index \(9, 21\)"):
        mask.compute()
    odd = np.ones((16, 24), int)
    odd[13, 5] = 2
    with pytest.raises(nmflow.NmflowError, match=r"mask of shape .* 2 at index \(13, 5\)"):
        nmflow.certify(da.ones((16, 24), chunks=(5, 7)), odd, 2, 4)
    nothing = np.ones((16, 24), bool)
    nothing[8:12, 4:8] = False
    with pytest.raises(nmflow.NmflowError, match=r"at \(8, 4\).*tile \(0, 0\) of matrix 0"):
        nmflow.solve(da.ones((16, 24), chunks=4), 2, 4, within=nothing).compute()


def test_more_than_one_chunk_is_in_memory_only_where_matrices_are_ranked_whole():
    array = da.ones((32, 64), chunks=(8, 16))
    seen = []

    def see(block):
        seen.append(block.shape)
        return block

    looked_at = da.map_blocks(see, array, dtype=array.dtype, meta=np.empty((0, 0)))
    nmflow.solve(looked_at, 2, 4).compute()
    assert set(seen) == {(8, 16)}
    layers = dict(nmflow.solve(array, 2, 4).dask.layers)
    assert not any("rechunk" in name for name in layers), "aligned chunks stay as they are"


def test_other_schedulers_find_the_same_mask():
    values = weights((40, 24))
    array = da.from_array(values, chunks=(9, 24))
    expected = nmflow.solve(values, 2, 4)
    with dask.config.set(scheduler="threads", num_workers=2):
        np.testing.assert_array_equal(nmflow.solve(array, 2, 4), expected)
        np.testing.assert_array_equal(nmflow.solve(array, 2, 4, workers=2), expected)
    # What another process would be sent.
    lazy = pickle.loads(pickle.dumps(nmflow.solve(array, 2, 4)))
    np.testing.assert_array_equal(lazy, expected)


def test_errors_pass_from_one_process_to_another():
    missing = nmflow.MissingExtraError("method 'lp'", "lp")
    copied = pickle.loads(pickle.dumps(missing))
    assert type(copied) is nmflow.MissingExtraError
    assert str(copied) == str(missing)


def test_dask_is_not_imported_for_other_arrays():
    code = (
        "import sys, numpy, nmflow; nmflow.solve(numpy.ones((4, 4)), 2, 4);"
        "assert 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
