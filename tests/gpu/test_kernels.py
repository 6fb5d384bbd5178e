"""The CUDA source, run on the host with a warp as arrays of 32, finds the engine's masks."""

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from samples import PATTERNS, side_by_side, tiles_of_every_kind
from tiles import KINDS

import nmflow
from nmflow.cuda.source import network, source
from nmflow.simd.selection_networks import selection

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu import host_kernels
from nmflow.cuda.problem import BEYOND_TABLES, DIFFICULT, NOT_FINITE, OPEN, _divisor

pytestmark = pytest.mark.skipif(host_kernels.compiler() is None, reason="no C++ compiler")


def check(weights, n, m, score="abs"):
    mask, counters = host_kernels.solve(weights, n, m, signed=score == "raw")
    assert np.array_equal(mask, nmflow.solve(weights, n, m, score=score))
    return counters


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (4, 8), (8, 16)])
def test_masks_are_the_engines_on_every_kind_of_tile(n, m):
    check(side_by_side(tiles_of_every_kind(n, m, np.float32, each=10), 20)[None], n, m)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "m"), [*PATTERNS, (1, 8), (2, 8), (5, 8), (3, 5), (1, 3), (7, 11), (20, 31)]
)
def test_masks_of_two_thousand_tiles(n, m):
    tiles = tiles_of_every_kind(n, m, np.float32, each=112)
    assert len(tiles) == 112 * len(KINDS) > 2000
    check(side_by_side(tiles, 48)[None], n, m)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (16, 32)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats(n, m, dtype):
    weights = side_by_side(tiles_of_every_kind(n, m, np.float16, each=12), 12)[None]
    if dtype == "float16":
        check(weights, n, m)
        return
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(weights).to(torch.bfloat16)
    mask, _ = host_kernels.solve(tensor.view(torch.int16).numpy(), n, m, "bfloat16")
    assert np.array_equal(mask, nmflow.solve(tensor, n, m).numpy())


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
def test_ragged_edges_strides_and_batches(n, m, rng):
    shapes = [(2, 3 * m + 1, 5 * m - 1), (3, 1, m + 2), (1, 7 * m, m - 1), (2, m + 3, 2 * m + 4)]
    for shape in shapes:
        weights = rng.standard_normal(shape).astype(np.float32)
        weights[:, ::3] = rng.integers(0, 3, weights[:, ::3].shape)
        check(weights, n, m)
        check(weights.transpose(0, 2, 1), n, m)
        check(np.repeat(weights, 2, axis=2)[:, :, ::2], n, m)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (3, 4), (3, 8), (9, 16)])
def test_signed_scores(n, m):
    tiles = tiles_of_every_kind(n, m, np.float32, each=12)
    signs = np.random.default_rng(0).choice([-1, 1], tiles.shape).astype(np.float32)
    weights = side_by_side(tiles * signs, 12)[None, 1:, : -m // 2]
    check(weights, n, m, score="raw")


def test_most_tiles_need_the_first_stage_alone(rng):
    weights = rng.standard_normal((1, 256, 256)).astype(np.float32)
    counters = check(weights, 4, 8)
    assert counters[OPEN] < 0.04 * 1024
    assert counters[DIFFICULT] < 0.02 * 1024
    assert check(weights, 2, 4)[DIFFICULT] < 10


def test_a_tile_that_is_not_finite_is_flagged_and_its_mask_left_alone():
    for m, bad, edge in itertools.product((4, 8), (np.nan, np.inf), (0, 3)):
        weights = np.ones((1, 2 * m, 2 * m + edge), np.float32)
        weights[0, -1, -1] = bad
        mask, counters = host_kernels.solve(weights, m // 2, m)
        assert counters[NOT_FINITE] == 1
        assert (mask[0, m:, -(edge or m) :] == 7).all()
        assert (mask[0, :m, :m] < 2).all()


def test_beyond_the_tables_the_first_entries_are_kept(rng):
    """With tables that tell nothing, against all masks of a tile in their order."""

    def blind(text):
        return re.sub(r"TIES\[64\] = \{[^}]*\}", f"TIES[64] = {{{', '.join(['1'] * 64)}}}", text)

    masks = np.array([m for m in itertools.product(*[list(rows())] * 4) if is_mask(m)])
    assert len(masks) == 90
    weights = rng.integers(0, 3, (40, 4, 4)).astype(np.float32)
    weights[0] = 1
    mask, counters = host_kernels.solve(weights, 2, 4, change=blind)
    assert counters[BEYOND_TABLES] > 20
    for tile, found in zip(weights, mask, strict=True):
        kept = (masks * tile).sum((1, 2))
        best = masks[kept == kept.max()]
        first = max(best, key=lambda each: tuple(each.ravel()))
        assert np.array_equal(found, first)


def rows():
    for pair in itertools.combinations(range(4), 2):
        yield tuple(int(j in pair) for j in range(4))


def is_mask(mask):
    return (np.sum(mask, axis=0) == 2).all()


def test_networks_are_the_engines():
    for n, m in PATTERNS:
        text = network(n, m)
        assert text.count("larger(") + text.count("smaller(") == len(selection(m, n).steps)


def test_sources_name_what_they_are_for():
    text = source(2, 4, "bfloat16", True)
    assert "#define FORMAT 2" in text
    assert "#define SIGNED 1" in text
    assert "enumerate_masks" in text
    assert "enumerate_masks" not in source(4, 8, "float32", False).split("first_stage")[0]


@pytest.mark.parametrize("number", [1, 2, 3, 7, 31, 32, 33, 511, 1000, 65537, 2**31 - 1])
def test_division_by_multiplication(number):
    shift, magic = _divisor(number)
    assert magic < 2**32
    edges = [k * number + d for k in (0, 1, 2, 3, 5, (2**31 - 1) // number) for d in (-1, 0, 1)]
    for x in [x for x in edges if 0 <= x < 2**31]:
        assert x * magic >> shift == x // number
