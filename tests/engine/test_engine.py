"""The SIMD engine gives the scalar fallback's mask, whatever the tiles, layout and processor."""

import itertools
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from hypothesis import given
from hypothesis import strategies as st
from tiles import KINDS, make, narrowed

import nmflow
from nmflow.simd.selection_networks import selection
from nmflow.simd.tile_shape import tile_shape
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine import driver, scratch

SIZES = [
    (2, 4),
    (1, 4),
    (3, 4),
    (4, 8),
    (3, 8),
    (6, 8),
    (8, 16),
    (16, 32),
    (1, 2),
    (5, 7),
    (13, 24),
]
# Each line is compiled, which takes some seconds.
PROBLEMS = [(n, m, np.float32, "abs") for n, m in SIZES] + [
    (2, 4, np.float64, "abs"),
    (16, 32, np.float64, "abs"),
    (4, 8, np.float16, "abs"),
    (3, 4, np.float64, "raw"),
    (4, 8, np.float32, "raw"),
    (8, 16, np.float16, "raw"),
]


def seeded(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def side_by_side(tiles, across):
    """Tiles (T, m, m) as one matrix, so many in a row."""
    count, m, _ = tiles.shape
    return (
        tiles.reshape(count // across, across, m, m).transpose(0, 2, 1, 3).reshape(-1, across * m)
    )


def cut(matrix, m):
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows // m, m, columns // m, m).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).reshape(-1, m, m)


def check(tiles, n, m, across, score="abs"):
    matrix = side_by_side(tiles, across)
    mask = nmflow.solve(matrix, n, m, score=score)
    scores = tiles.astype(np.float64)
    expected = solve_tiles(scores if score == "raw" else np.abs(scores), n, True)
    np.testing.assert_array_equal(cut(mask, m), expected)


@pytest.mark.parametrize(("n", "m", "dtype", "score"), PROBLEMS)
def test_same_mask_as_the_scalar_fallback(n, m, dtype, score):
    count = 8 if m < 16 else 4
    for kind in KINDS:
        rng = seeded(kind, n, m)
        tiles = narrowed(make(kind, rng, count, m, m), dtype)
        check(tiles * rng.choice([-1, 1], tiles.shape).astype(dtype), n, m, count // 2, score)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_same_mask_as_the_scalar_fallback_on_thousands(kind, n, m):
    rng = seeded(kind, n, m, "many")
    for dtype in (np.float32, np.float64):
        check(narrowed(make(kind, rng, 2048, m, m), dtype), n, m, 64)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_binary_tile_of_four(n):
    """So many open strips wait that some meet again in another order than that of their places."""
    entries = np.arange(1 << 16)[:, None] >> np.arange(16) & 1
    tiles = entries.astype(np.float32).reshape(-1, 4, 4)
    weights = np.ascontiguousarray(tiles.swapaxes(0, 1).reshape(4, -1))
    expected = nmflow.solve(weights, n, 4, "exhaustive")
    np.testing.assert_array_equal(nmflow.solve(weights, n, 4, workers=1), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_certified_and_equal_in_value_to_network_simplex(kind, n, m):
    """Two algorithms and a proof by a third, on 2,048 tiles of each kind."""
    matrix = side_by_side(make(kind, seeded(kind, n, m, "value"), 2048, m, m), 64)
    if kind == "whole range":
        matrix *= 2.0**-20  # or else the total exceeds float64
    mask = nmflow.solve(matrix, n, m)
    proof = nmflow.certify(matrix, mask, n, m)
    assert proof.full
    assert proof.absolute_gap == 0
    assert proof.optimal_tiles == proof.tiles == 2048
    other = nmflow.certify(matrix, nmflow.solve(matrix, n, m, "network-simplex"), n, m)
    assert other.value == proof.value


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32), (5, 7)])
def test_layouts_do_not_matter(n, m, rng):
    matrices = rng.standard_normal((2, 5 * m + 3, 7 * m + 1)).astype(np.float32)
    expected = nmflow.solve(matrices, n, m)
    padded = np.full((2, 5 * m + 9, 7 * m + 8), np.float32(np.nan))
    padded[:, 2 : 5 * m + 5, 3 : 7 * m + 4] = matrices
    layouts = {
        "a window of a larger array": nmflow.solve(padded[:, 2 : 5 * m + 5, 3 : 7 * m + 4], n, m),
        "columns first": nmflow.solve(np.asfortranarray(matrices), n, m),
        "one at a time": np.stack([nmflow.solve(w, n, m) for w in matrices]),
        "batch behind": np.moveaxis(
            nmflow.solve(np.moveaxis(matrices, 0, -1).copy(), n, m, axes=(0, 1)), -1, 0
        ),
        "three threads": nmflow.solve(matrices, n, m, workers=3),
        "float64": nmflow.solve(matrices.astype(np.float64), n, m),
        "backwards in memory": nmflow.solve(matrices[::-1].copy()[::-1], n, m),
    }
    for layout, mask in layouts.items():
        np.testing.assert_array_equal(mask, expected, err_msg=layout)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (5, 7)])
@pytest.mark.parametrize("columns", [4, 8, 12, 16, 20, 21, 24, 40, 56])
def test_matrices_narrower_than_a_strip_or_not_a_multiple_of_it(n, m, columns, rng):
    matrix = rng.standard_normal((3 * m, columns))
    mask = nmflow.solve(matrix, n, m)
    whole = columns - columns % m
    if whole:
        expected = solve_tiles(np.abs(cut(matrix[:, :whole], m)), n, True)
        np.testing.assert_array_equal(cut(mask[:, :whole], m), expected)


@pytest.mark.parametrize("m", [3, 4, 5, 7, 8, 11, 15, 16, 17, 24, 31, 32])
def test_nothing_behind_the_array_is_read(m):
    """Rows of tiles are read 16 entries at a time, even where a tile has fewer."""
    shape = tile_shape(1, m)
    wide, width = shape.halves * 16, m * shape.tiles
    for matrices, below, beside in itertools.product((1, 2), (0, 1), range(wide)):
        whole = (wide + beside) // m * m
        values = np.zeros((matrices, 2 * m + below, wide + beside), np.float32)
        assert driver.reads_in_place(values, wide + beside, m)
        box = slice(0, matrices), slice(0, 2 * m), slice(0, whole)
        last_row = (values.size // values.shape[2] - 1 - below) * values.shape[2]
        corners = np.minimum(np.arange(0, whole, width), whole - width)
        beyond = last_row + corners + wide > values.size
        assert scratch.tiles_near_end(values, box, shape) == np.count_nonzero(beyond)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32)])
def test_a_matrix_may_mix_all_kinds_of_tiles(n, m):
    """Each strip has its scale, and what is left waits in one queue."""
    rng = seeded(n, m)
    tiles = np.concatenate([make(kind, rng, 4, m, m) for kind in KINDS for _ in range(2)])
    check(tiles[rng.permutation(len(tiles))], n, m, 12)


@pytest.mark.parametrize(
    ("n", "m", "dtype"),
    [
        *((2, 4, dtype) for dtype in ("float16", "bfloat16", "float32", "float64")),
        *((16, 32, dtype) for dtype in ("float32", "float64")),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_finds_what_is_not_finite(n, m, dtype, value, rng):
    torch = pytest.importorskip("torch")
    for place in [(0, 0), (5, 37), (31, 63), (32, 64), (16, 65)]:
        weights = torch.from_numpy(rng.standard_normal((33, 66))).to(getattr(torch, dtype))
        weights[place] = value
        with pytest.raises(nmflow.NmflowError, match=rf"at index \({place[0]}, {place[1]}\)"):
            nmflow.solve(weights, n, m)


@pytest.mark.parametrize(
    ("n", "m", "dtype"), [(2, 4, np.float32), (4, 8, np.float32), (2, 4, np.float64)]
)
def test_the_tiniest_numbers_beside_the_hugest(n, m, dtype):
    """Scaled to fixed point the tiny ones vanish, but they are no zeros, which tie."""
    rng, most = seeded("tiny", n, m), np.finfo(dtype)
    tiles = np.zeros((256, m, m), dtype)
    tiny, huge = rng.random(tiles.shape) < 0.3, rng.random(tiles.shape) < 0.2
    tiles[tiny] = rng.integers(1, 5, tiny.sum()) * most.smallest_subnormal
    tiles[huge] = most.max
    check(tiles, n, m, 16)


@pytest.mark.parametrize(("n", "m", "dtype"), [(3, 4, np.float64), (4, 8, np.float32)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_signed_tiny_numbers_beside_huge_ones(n, m, dtype, sign):
    """Whatever is in the same 16 columns: a tiny loss is one, and a tiny gain."""
    rng, most, count = seeded("signed", n, m, sign), np.finfo(dtype), 3840 // m
    tiles = np.zeros((count, m, m), dtype)
    tiny = rng.random(tiles.shape) < rng.choice([0.2, 0.5, 0.8], (count, 1, 1))
    least = sign * float(most.smallest_subnormal)
    tiles[tiny] = rng.integers(1, 5, np.count_nonzero(tiny)) * least
    huge = rng.random(tiles.shape) < rng.choice([0, 0.1], (count, 1, 1))
    tiles[huge] = most.max * rng.choice([-1, 1], np.count_nonzero(huge)).astype(dtype)
    check(tiles, n, m, 24, score="raw")


def test_a_mask_of_tiny_losses_does_not_depend_on_what_is_beside():
    """The only optimum prunes all of them."""
    keep = np.add.outer(np.arange(8), np.arange(8)) % 8 < 4
    tile = np.where(keep, 0, -1e-17).astype(np.float32)
    for beside in (0.0, 1.0, 3e38, -3e38):
        pair = np.hstack([tile, np.full((8, 8), beside, np.float32)])
        mask = nmflow.solve(pair, 4, 8, score="raw")
        np.testing.assert_array_equal(mask[:, :8], keep)


@given(st.data())
def test_every_bfloat16_and_float16(data):
    torch = pytest.importorskip("torch")
    dtype = data.draw(st.sampled_from([torch.float16, torch.bfloat16]))
    bits = data.draw(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=64, max_size=64))
    weights = torch.tensor(bits, dtype=torch.int16).view(dtype).reshape(4, 16)
    weights = torch.where(weights.isfinite(), weights, torch.zeros_like(weights))
    mask = nmflow.solve(weights, 2, 4).numpy()
    expected = solve_tiles(np.abs(cut(weights.to(torch.float64).numpy(), 4)), 2, True)
    np.testing.assert_array_equal(cut(mask, 4), expected)


@pytest.mark.parametrize("size", range(2, 33))
def test_networks_find_neighbouring_ranks(size, rng):
    """By the 0-1 principle all vectors of zeros and ones prove a network; above 12 a sample."""
    if size <= 12:
        values = np.array(list(itertools.product([0, 1], repeat=size)))
    else:
        values = rng.integers(0, 3, (2000, size))
    descending = -np.sort(-values, axis=1)
    for rank, registers in itertools.product(range(1, size), (16, 32)):
        network = selection(size, rank, registers)
        wires = list(values.T)
        for larger, first, second in network.steps:
            choose = np.maximum if larger else np.minimum
            wires.append(choose(wires[first], wires[second]))
        for output, place in zip(network.outputs, (rank - 1, rank), strict=True):
            np.testing.assert_array_equal(wires[output], descending[:, place])


MASKS = """
import hashlib, sys
import numpy as np, nmflow
for n, m in {patterns}:
    for dtype in (np.float32, np.float16):
        weights = np.random.default_rng(3).standard_normal((3 * m, 5 * m + 16)).astype(dtype)
        for values in (weights, np.floor(weights), weights * (weights > 1)):
            mask = nmflow.solve(values, n, m)
            assert not {certify} or nmflow.certify(values, mask, n, m).optimal
            print(hashlib.sha256(np.packbits(mask).tobytes()).hexdigest())
"""


RANKS = """
import numba, numpy as np
from nmflow.solvers.flow.simd_engine.strips import aligned
from nmflow.simd.order_statistics import nth_and_next_largest
from nmflow.simd.tile_shape import LANES, tile_shape
from nmflow.simd.vectors import store

@numba.njit
def write(lanes, potentials, found, shape):
    upper, lower = nth_and_next_largest(lanes, 0, LANES, potentials, shape)
    store(found, 0, upper)
    store(found, LANES, lower)

for n, m in [(4, 8), (8, 16), (4, 16), (11, 32), (2, 5)]:
    lanes, potentials, found = (aligned(size * LANES, np.int16) for size in (m, m, 2))
    lanes[:], potentials[:] = np.random.default_rng(m).integers(-50, 50, (2, m * LANES))
    write(lanes, potentials, found, tile_shape(n, m))
    ascending = np.sort((lanes - potentials).reshape(m, LANES), axis=0)
    if np.array_equal(found.reshape(2, LANES), ascending[[m - n, m - n - 1]]):
        print(f"{n}:{m}")
"""


def run_on(processor, script, cache, features=None):
    """Run it for a processor; for this one, where none is named, with what is compiled already."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    env |= {"NUMBA_CACHE_DIR": str(cache), "NUMBA_CPU_NAME": processor} if processor else {}
    env |= {"NUMBA_CPU_FEATURES": features} if features else {}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def masks_on(processor, patterns, cache, certify=True):
    return run_on(processor, MASKS.format(patterns=patterns, certify=certify), cache)


def test_a_processor_without_wide_vectors(tmp_path):
    patterns = [(4, 8)]
    found = masks_on("generic", patterns, tmp_path, certify=False)
    assert found == masks_on(None, patterns, None)


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["generic", "haswell"])
def test_other_processors(processor, tmp_path):
    patterns = [(2, 4), (8, 16), (16, 32), (5, 7)]
    assert masks_on(processor, patterns, tmp_path) == masks_on(None, patterns, None)


@pytest.mark.parametrize(
    ("processor", "features"),
    [
        (None, None),
        ("generic", None),
        ("icelake-server", "+avx512"),
        ("znver5", "+avx512"),
        ("znver3", "-avx512"),
    ],
)
def test_ranks_on_other_processors(processor, features, tmp_path):
    """Bits instead of minima, 16 registers or 32, whole vectors or parts: see nmflow.simd.llvm."""
    if features:
        host = get_host_cpu_features()
        if not host.get("avx512bw"):
            pytest.skip("this processor has not what those have")
        features = host.flatten().replace("+avx512", features)
    sorted_alike = run_on(processor, RANKS, tmp_path, features).split()
    assert sorted_alike == ["4:8", "8:16", "4:16", "11:32", "2:5"]


def test_the_engine_is_used():
    """Or else every test here compares the scalar fallback with itself."""
    matrix = seeded("used").standard_normal((64, 64)).astype(np.float32)
    mask = np.zeros((1, 64, 64), np.bool_)
    box = slice(0, 1), slice(0, 64), slice(0, 64)
    unproved = driver.solve_box(matrix[None], mask, box, tile_shape(4, 8), signed=False)
    assert len(unproved.position) <= 2
    assert mask.sum() > 0.9 * 64 * 32
