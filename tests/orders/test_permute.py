"""Orders of one array: what they keep, by exact solves, and what they are."""

import itertools

import numpy as np
import pytest

import nmflow
from nmflow import NmflowError
from nmflow.permuting.pricing import kept_with
from nmflow.permuting.search import Search
from nmflow.problem.pattern import Pattern


def weights(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def kept(array, n, m, pattern="transposable", score="abs", axes=(-2, -1)):
    mask = nmflow.solve(array, n, m, pattern=pattern, score=score, axes=axes)
    values = {"abs": np.abs, "square": np.square, "raw": np.array}[score](array.astype(np.float64))
    return values[mask].sum()


SHAPES = [(16, 24), (24, 16), (17, 22), (3, 16, 16), (8, 5), (4, 4), (1, 9)]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (2, 3)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pattern", ["transposable", "rows", "columns"])
def test_kept_scores_are_those_of_exact_masks(n, m, shape, pattern):
    array = weights(shape)
    found = nmflow.permute(array, n, m, pattern=pattern, rounds=2)
    assert sorted(found.rows) == list(range(shape[-2]))
    assert sorted(found.columns) == list(range(shape[-1]))
    assert found.kept_before == pytest.approx(kept(array, n, m, pattern), rel=1e-12)
    assert found.kept_after == pytest.approx(kept(found.apply(array), n, m, pattern), rel=1e-12)
    assert found.kept_before <= found.kept_after
    if shape[-2] % m == shape[-1] % m == 0:
        assert found.kept_after <= found.kept_unstructured * (1 + 1e-12)


@pytest.mark.parametrize("pattern", ["transposable", "rows", "columns"])
def test_more_is_kept(pattern):
    found = nmflow.permute(weights((32, 32)), 2, 4, pattern=pattern)
    assert found.gap_closed > 0.1


def test_both_sides_are_better_than_one():
    array = weights((48, 48))
    gains = {side: nmflow.permute(array, 2, 4, sides=side) for side in ("rows", "columns", "both")}
    assert gains["both"].kept_after > gains["rows"].kept_after > gains["rows"].kept_before
    assert gains["both"].kept_after > gains["columns"].kept_after
    assert list(gains["rows"].columns) == list(gains["columns"].rows) == list(range(48))


def test_nearly_the_best_of_all_orders():
    """8 columns in two groups of 4: all 35 ways to part them are tried."""
    gained, possible = 0.0, 0.0
    for seed in range(5):
        array = weights((8, 8), seed)
        best = max(
            kept(array[:, [0, *rest, *(c for c in range(1, 8) if c not in rest)]], 2, 4)
            for rest in itertools.combinations(range(1, 8), 3)
        )
        found = nmflow.permute(array, 2, 4, sides="columns", rounds=20)
        start = kept(array, 2, 4)
        assert found.kept_after <= best * (1 + 1e-12)
        gained, possible = gained + found.kept_after - start, possible + best - start
    # An exchange of one column is as good as none in some local optima.
    assert gained >= 0.6 * possible


def test_finds_groups_that_were_mixed():
    """Columns that are large in alternate rows belong together in pairs of both kinds."""
    large = np.zeros((16, 16))
    large[::2, :8] = 1
    large[1::2, 8:] = 1
    found = nmflow.permute(large, 2, 4)
    assert found.kept_before < large.sum()
    assert found.kept_after == large.sum()


@pytest.mark.parametrize("pattern", ["transposable", "rows"])
@pytest.mark.parametrize("columns", [16, 18])
def test_prices_are_what_the_exchanged_groups_keep(pattern, columns):
    array = np.abs(weights((13, columns)))
    bands = [array[:12], array[12:]]
    places = np.array([1, 6, 8, columns - 1])
    prices = kept_with(bands, Pattern(2, 4, pattern), places)
    for b, c in itertools.product(range(4), repeat=2):
        group = slice(places[b] // 4 * 4, places[b] // 4 * 4 + 4)
        exchanged = array.copy()
        exchanged[:, places[b]] = array[:, places[c]]
        alone = exchanged[:, group]
        expected = kept(alone[:12], 2, 4, pattern) + kept(alone[12:], 2, 4, pattern)
        assert prices[b, c] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", ["constant", "zero", "tied", "tiny", "huge range"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_never_keeps_less(make, dtype):
    array = weights((20, 24), dtype=np.float64)
    array = (
        {
            "constant": lambda: np.ones_like(array),
            "zero": lambda: np.zeros_like(array),
            "tied": lambda: np.round(2 * array),
            "tiny": lambda: array * 1e-7,
            "huge range": lambda: array * np.exp(4 * array[::-1]),
        }[make]()
        .clip(-120, 120)
        .astype(dtype)
    )
    found = nmflow.permute(array, 2, 4)
    assert found.kept_after >= found.kept_before
    assert found.kept_after == pytest.approx(kept(found.apply(array), 2, 4), rel=1e-12)


def test_a_worse_order_is_not_taken(monkeypatch):
    """Were a search ever misled by its rounding."""

    def misled(search, rounds):
        search.found = [np.roll(each, 3) for each in search.found]

    array = weights((16, 16))
    array = nmflow.permute(array, 2, 4).apply(array)
    monkeypatch.setattr(Search, "run", misled)
    found = nmflow.permute(array, 2, 4)
    assert list(found.rows) == list(found.columns) == list(range(16))
    assert found.kept_after == found.kept_before


@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_scores(score):
    array = weights((17, 20))
    found = nmflow.permute(array, 2, 4, score=score)
    after = kept(found.apply(array), 2, 4, score=score)
    assert found.kept_after == pytest.approx(after, rel=1e-6)
    assert found.kept_after > found.kept_before


def test_axes_of_convolutions():
    array = weights((16, 24, 3, 3))
    found = nmflow.permute(array, 2, 4, axes=(0, 1))
    assert (len(found.rows), len(found.columns)) == (16, 24)
    assert found.kept_after > found.kept_before
    after = kept(found.apply(array), 2, 4, axes=(0, 1))
    assert found.kept_after == pytest.approx(after, rel=1e-12)


def test_same_for_any_number_of_threads():
    array = weights((64, 320))
    first, second = (nmflow.permute(array, 2, 4, rounds=1, workers=count) for count in (1, 3))
    assert np.array_equal(first.columns, second.columns)
    assert np.array_equal(first.rows, second.rows)


def test_seeds_differ():
    array = weights((32, 64))
    first, second = (nmflow.permute(array, 2, 4, rounds=1, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.columns, second.columns)


def test_undo_is_the_inverse():
    array = weights((12, 16))
    found = nmflow.permute(array, 2, 4)
    assert np.array_equal(found.undo(found.apply(array)), array)
    mask = found.undo(nmflow.solve(found.apply(array), 2, 4))
    assert np.abs(array)[mask].sum(dtype=np.float64) == pytest.approx(found.kept_after)


def test_weights_stay():
    array = weights((12, 16))
    before = array.copy()
    nmflow.permute(array, 2, 4, score="raw")
    assert np.array_equal(array, before)


def test_tensors():
    torch = pytest.importorskip("torch")
    array = weights((16, 16))
    found = nmflow.permute(torch.tensor(array), 2, 4)
    assert np.array_equal(found.rows, nmflow.permute(array, 2, 4).rows)
    assert np.array_equal(found.apply(torch.tensor(array)).numpy(), found.apply(array))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sides": "left"}, "sides must be one of both, rows, columns, got 'left'"),
        ({"pattern": "unstructured"}, "keeps the same in every order"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"score": "cubed"}, "cubed"),
        ({"axes": (0, 0)}, "axes"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(NmflowError, match=words):
        nmflow.permute(weights((8, 8)), 2, 4, **options)


def test_nan_is_told():
    array = weights((8, 8))
    array[3, 2] = np.nan
    with pytest.raises(NmflowError, match=r"nan at index \(3, 2\)"):
        nmflow.permute(array, 2, 4)


def test_apply_wants_the_same_shape():
    found = nmflow.permute(weights((8, 12)), 2, 4)
    with pytest.raises(NmflowError, match=r"shape \(12, 8\) has not 8 entries"):
        found.apply(weights((12, 8)))
