"""``lp`` finds exact masks through any LP solver, or none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import oracle
import pytest
from lp_against_flow import same
from tiles import KINDS, make, seeded

from nmflow import Lp
from nmflow.solvers import integers, lp
from nmflow.solvers.flow import method as flow
from nmflow.solvers.lp import solve_tiles

pulp = pytest.importorskip("pulp")


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (5, 7), (8, 16)])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_mask_of_flow(kind, n, m):
    rng = seeded(kind, n, m)
    # A range of 2000 bits takes 200 stages.
    count = 1 if m == 16 or kind == "whole range" else 3
    same(make(kind, rng, count, m, m), n, True)
    if kind == "whole range" and m > 4:
        return
    same(make(kind, rng, count, m, m) * rng.choice([-1, 1], (count, m, m)), n, True)
    if m < 16:
        for rows, columns in ((m - 1, m), (m, 2), (1, n + 1)):
            scores = make(kind, rng, count, rows, columns)
            same(scores, n, False)
            same(scores * rng.choice([-1, 1], scores.shape), n, False)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16)])
@pytest.mark.parametrize("bits", [20, 30, 40, 52, 80])
def test_near_ties(n, m, bits):
    rng = seeded(n, m, bits)
    scores = 1 + rng.integers(0, 3, (4, m, m)) * 2.0 ** -min(bits, 52)
    if bits > 52:
        scores[:, ::2, ::2] = rng.integers(0, 3, (4, m // 2, m // 2)) * 2.0**-bits
    same(scores, n, True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_beyond_float64(dtype):
    scores = seeded(dtype).integers(0, 3, (4, 8, 8)).astype(dtype) + dtype(2**62)
    if dtype is np.int64:
        scores[2:] *= -1
    same(scores, 4, True)
    same(scores, 4, False)


def test_float32_and_empty_and_unconstrained():
    scores = seeded("f").standard_normal((4, 8, 8)).astype(np.float32)
    expected = flow.solve_tiles(scores.astype(float), 4, True)
    np.testing.assert_array_equal(solve_tiles(scores, 4, True, Lp()), expected)
    assert solve_tiles(scores[:0], 4, True, Lp()).shape == (0, 8, 8)
    assert solve_tiles(scores, 8, True, Lp()).all()
    np.testing.assert_array_equal(solve_tiles(scores, 8, False, Lp()), scores >= 0)


def test_a_tile_does_not_depend_on_its_model(monkeypatch):
    rng = seeded("batch")
    scores = np.concatenate([make(kind, rng, 2, 4, 4) for kind in KINDS if kind != "whole range"])
    whole = solve_tiles(scores, 2, True, Lp())
    order = rng.permutation(len(scores))
    np.testing.assert_array_equal(solve_tiles(scores[order], 2, True, Lp()), whole[order])
    monkeypatch.setattr(lp, "MODEL_SIZE", 40)
    np.testing.assert_array_equal(solve_tiles(scores, 2, True, Lp()), whole)


def test_the_integers_are_the_scores_then_the_rule():
    scores = seeded("u").choice([-3.0, 0.0, 2.0**-40, 7e5, 5e-324], (3, 3, 4))
    for tile, whole in zip(scores, integers.unique_integers(scores), strict=True):
        expected = oracle.by_augmentation(oracle.with_tie_rule(tile), 2, False)
        np.testing.assert_array_equal(oracle.by_augmentation(whole.tolist(), 2, False), expected)


def test_most_tiles_need_one_stage_and_range_more(monkeypatch):
    sizes = []
    solve = lp.solve_stage
    monkeypatch.setattr(lp, "solve_stage", lambda p, q, *a: sizes.append(len(q)) or solve(p, q, *a))
    scores = seeded("stages").standard_normal((50, 8, 8))
    solve_tiles(scores, 4, True, Lp())
    assert sizes[0] == 50
    assert sum(sizes[1:]) <= 5
    sizes.clear()
    solve_tiles(1 + scores * 2.0**-40, 4, True, Lp())
    assert 3 <= len(sizes) <= 6


def test_threads_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(Path.cwd().iterdir())
    scores = seeded("threads").standard_normal((8, 10, 4, 4))
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(lambda part: solve_tiles(part, 2, True, Lp()), scores))
    for part, mask in zip(scores, masks, strict=True):
        np.testing.assert_array_equal(mask, flow.solve_tiles(part.copy(), 2, True))
    assert list(tmp_path.iterdir()) == []
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("most", [2 - 2.0**-52, 2.0, 2 + 2.0**-51])
def test_two_entries_against_one_in_the_last_bit(most):
    """The cycle by which these masks differ runs through the root."""
    tile = np.array([[1, most], [-1, 1]])
    scores = np.array([tile, tile[::-1], tile[:, ::-1], tile[::-1, ::-1]])
    same(scores, 1, False)


def test_a_strict_mask_wins_against_cycles_through_the_root():
    # Row 0 keeps one of (2, 1), row 1 one of (-1, 1): 1 + 1 against 2, equal in these units.
    flow = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]])
    reduced = np.array([[[0, 0, 0], [-3, 0, 0], [0, 0, 0]]])
    assert not lp.is_strict(lp.Stage(flow, reduced), False).any()
    reduced[0, 0, 1] = -1
    assert lp.is_strict(lp.Stage(flow, reduced), False).all()


def test_position_decides_where_tables_do_not(monkeypatch):
    monkeypatch.setattr(
        "nmflow.problem.ties.table", lambda k, rows, columns: np.ones((rows, columns), int)
    )
    mask = solve_tiles(np.ones((2, 4, 4)), 2, True, Lp())
    first = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    np.testing.assert_array_equal(mask, np.broadcast_to(np.array(first, bool), mask.shape))
