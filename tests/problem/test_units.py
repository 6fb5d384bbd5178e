"""Blocks of entries kept or dropped whole: the best mask of their sums, and no other."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from oracle import feasible_masks
from strategies import filled, finite, st
from tiles import KINDS, make, seeded

import nmflow
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.pattern import PATTERNS, Pattern
from nmflow.units import sums as unit_sums_module
from nmflow.units.sums import unit_sums

UNITS = [(2, 2), (1, 2), (2, 1), (3, 2), (1, 5)]
METHODS = [method.name for method in nmflow.methods()]
EXACT = [method.name for method in nmflow.methods() if method.exact]


def nearest(values):
    """The float64 nearest to the exact sum, by fractions."""
    return float(sum(map(Fraction, values)))


def scaled(kind, *what):
    """Tiles of a kind, whose total float64 holds."""
    return make(kind, *what) / (4096 if kind == "whole range" else 1)


def slow_sums(weights, unit, score=np.abs):
    """Sums of units of a batch of matrices, one by one."""
    scores = score(np.asarray(weights).astype(object))
    a, b = unit
    _, rows, columns = scores.shape
    return np.array(
        [
            [
                [nearest(m[i : i + a, j : j + b].ravel()) for j in range(0, columns, b)]
                for i in range(0, rows, a)
            ]
            for m in scores
        ]
    )


def spread(mask, unit, shape):
    """Each unit's bit for each of its entries."""
    whole = mask.repeat(unit[0], axis=-2).repeat(unit[1], axis=-1)
    return whole[..., : shape[-2], : shape[-1]]


@pytest.mark.parametrize("unit", [(2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_best_of_all_masks(kind, unit):
    """Of all ninety, summed in Python's integers, on sixty tiles; and certified."""
    a, b = unit
    weights = scaled(kind, seeded("units", kind, unit), 60, 4 * a, 4 * b)
    mask = nmflow.solve(weights, 2, 4, unit=unit)
    certificate = nmflow.certify(weights, mask, 2, 4, unit=unit)
    assert certificate.optimal
    assert certificate.full
    assert certificate.gap == 0
    units = mask[:, ::a, ::b]
    assert (mask == spread(units, unit, mask.shape)).all()
    fractions = [[Fraction(s) for s in tile.ravel()] for tile in slow_sums(weights, unit)]
    digits = max(f.denominator for tile in fractions for f in tile)
    scores = np.array([[int(f * digits) for f in tile] for tile in fractions], object)
    masks = feasible_masks(4, 4, 2, True).reshape(-1, 16).astype(object)
    kept = (scores * units.reshape(-1, 16)).sum(axis=1)
    assert (kept == (scores @ masks.T).max(axis=1)).all()
    assert certificate.value == float(Fraction(int(kept.sum()), digits))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(1, 24, 40), (2, 7, 13), (3, 9, 17)])
def test_is_the_mask_of_the_sums(shape, pattern, unit):
    """Ties, ragged edges and all; small integers tie everywhere."""
    rng = seeded("sums", shape, pattern, unit)
    for weights in (rng.standard_normal(shape), rng.integers(-2, 3, shape).astype("f4")):
        for n, m in ((2, 4), (2, 3)):
            options = {"pattern": pattern}
            expected = nmflow.solve(slow_sums(weights, unit), n, m, **options)
            found = nmflow.solve(weights, n, m, unit=unit, **options)
            assert (found == spread(expected, unit, shape)).all()
            certificate = nmflow.certify(weights, found, n, m, unit=unit, **options)
            assert certificate.gap == 0
            assert certificate.optimal


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_units(method, rng):
    if method == "lp":
        pytest.importorskip("pulp")
    weights = rng.standard_normal((16, 12))
    mask = nmflow.solve(weights, 2, 4, method, unit=(2, 1))
    expected = nmflow.solve(slow_sums(weights[None], (2, 1)), 2, 4, method)[0]
    assert (mask == spread(expected, (2, 1), mask.shape)).all()
    certificate = nmflow.certify(weights, mask, 2, 4, unit=(2, 1))
    assert certificate.feasible
    assert certificate.optimal or method not in EXACT


@pytest.mark.parametrize("unit", [(2, 2), (1, 2)])
def test_is_as_good_as_the_linear_programme(unit):
    pytest.importorskip("pulp")
    for kind in KINDS:
        weights = scaled(kind, seeded("lp", kind, unit), 2, 4 * unit[0], 4 * unit[1])
        values = {
            method: nmflow.certify(
                weights, nmflow.solve(weights, 2, 4, method, unit=unit), 2, 4, unit=unit
            ).value
            for method in ("flow", "lp")
        }
        assert values["flow"] == values["lp"], kind


def holds(mask, n, m, width=1):
    """Whether each m * width entries of each row hold n whole units of that width."""
    units = mask.reshape(mask.shape[0], -1, m, width)
    return (units.all(axis=3) == units.any(axis=3)).all() and (
        units.any(axis=3).sum(axis=2) == n
    ).all()


def test_pairs_are_what_hardware_reads(rng):
    weights = rng.standard_normal((32, 48)).astype("f4")
    both = nmflow.solve(weights, 2, 4, unit=(2, 2))
    assert holds(both, 2, 4, 2)
    assert holds(both.T, 2, 4, 2)
    forward = nmflow.solve(weights, 2, 4, unit=(1, 2))
    assert holds(forward, 2, 4, 2)
    assert holds(forward.T, 2, 4)
    assert not holds(forward.T, 2, 4, 2)


def batch_of(weights, score="abs"):
    return MatrixBatch.of(weights, Pattern(2, 4), (-2, -1), score)


@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_the_nearest_floats(kind, dtype, interpreted, monkeypatch):
    if not interpreted:
        monkeypatch.setattr("nmflow.compiling.sparing.PATIENCE", -1)
    with np.errstate(over="ignore", under="ignore"):
        weights = scaled(kind, seeded("nearest", kind, dtype), 3, 9, 14).astype(dtype)
    weights[~np.isfinite(weights)] = 1
    for unit in UNITS:
        for score, as_score in (("abs", np.abs), ("raw", lambda x: x)):
            found = unit_sums(batch_of(weights, score), unit, 1)
            expected = slow_sums(weights.astype(float), unit, as_score)
            assert (found == expected).all(), (unit, score)


def test_what_is_lost_is_rounded_once():
    """A hair above halfway between two floats."""
    weights = np.array([[[1.0, 2.0**-53, 2.0**-110]]])
    assert unit_sums(batch_of(weights), (1, 3), 1).item() == 1 + 2.0**-52


@given(filled((1, 2, 6), finite), st.sampled_from(["abs", "raw"]))
def test_sums_of_any_floats_are_the_nearest(weights, score):
    try:
        expected = slow_sums(weights, (2, 3), np.abs if score == "abs" else lambda x: x)
    except OverflowError:
        with pytest.raises(nmflow.NmflowError, match=r"2 x 3 add up to more than float64"):
            unit_sums(batch_of(weights, score), (2, 3), 1)
        return
    assert (unit_sums(batch_of(weights, score), (2, 3), 1) == expected).all()


def test_no_addition_rounds_where_that_is_what_is_taken_for_granted():
    """float32 whose exponents are as far apart as they may be, and one further."""
    rng = seeded("span")
    for span in range(20, 34):
        parts = 1 + rng.integers(0, 1 << 23, (1, 4, 4000)) / 2.0**23
        weights = (parts * rng.choice([1.0, 2.0**span], parts.shape)).astype("f4")
        found = unit_sums(batch_of(weights), (4, 2), 1)
        expected = weights.astype(float).reshape(4, 2000, 2).transpose(1, 0, 2).reshape(2000, 8)
        assert found.ravel().tolist() == [math.fsum(unit) for unit in expected.tolist()]


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u2", "u8", "?"])
def test_integers_are_summed_as_integers(dtype, rng):
    dtype = np.dtype(dtype)
    largest = 1 if dtype.kind == "b" else min(np.iinfo(dtype).max, 1 << 61)
    weights = rng.integers(0, largest, (2, 5, 6), dtype="u8", endpoint=True).astype(dtype)
    found = unit_sums(batch_of(weights), (2, 2), 1)
    exact = np.add.reduceat(weights.astype(object), [0, 2, 4], axis=1)
    exact = np.add.reduceat(exact, [0, 2, 4], axis=2)
    assert found.tolist() == [[[int(x) for x in row] for row in matrix] for matrix in exact]
    mask = nmflow.solve(weights, 1, 2, unit=(2, 2))
    assert nmflow.certify(weights, mask, 1, 2, unit=(2, 2)).gap == 0


def test_sums_that_no_64_bits_hold_raise():
    weights = np.full((4, 4), 1 << 62)
    with pytest.raises(nmflow.NmflowError, match=r"\(4, 4\).*add up to more than 64 bits hold"):
        nmflow.solve(weights, 1, 2, unit=(1, 2))
    weights[:, 1::2] = -(1 << 62)
    assert nmflow.solve(weights, 1, 2, unit=(1, 2), score="raw").sum() == 8
    weights = np.full((4, 4), (1 << 61) - 1)
    assert unit_sums(batch_of(weights), (2, 2), 1).tolist() == [[[(1 << 63) - 4] * 2] * 2]


def test_signed_sums_may_pass_beyond_float64_on_the_way():
    weights = np.array([[1.5e308, 1.5e308, -1.5e308, -1.0]])
    assert unit_sums(batch_of(weights, "raw"), (1, 4), 1).tolist() == [[[1.5e308]]]
    with pytest.raises(nmflow.NmflowError, match="scale the weights down"):
        nmflow.solve(weights, 1, 2, unit=(1, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_not_finite_is_named_where_the_user_has_it(value, dtype):
    weights = np.ones((8, 16, 3, 2), dtype)
    weights[5, 7, 2, 1] = value
    with pytest.raises(nmflow.NmflowError, match=r"at index \(5, 7, 2, 1\)"):
        nmflow.solve(weights, 2, 4, axes=(1, 0), unit=(2, 2))
    with pytest.raises(nmflow.NmflowError, match=r"at index \(0, 0\)"):
        nmflow.solve(np.full((8, 8), value, dtype), 2, 4, unit=(2, 2))
    mask = np.zeros(weights.shape, bool)
    with pytest.raises(nmflow.NmflowError, match=r"at index \(5, 7, 2, 1\)"):
        nmflow.certify(weights, mask, 2, 4, axes=(1, 0), unit=(2, 2))


def test_units_lie_along_the_axes(rng):
    weights = rng.standard_normal((12, 16, 3, 3))
    mask = nmflow.solve(weights, 2, 4, axes=(1, 0), unit=(4, 1))
    expected = nmflow.solve(weights.transpose(2, 3, 1, 0), 2, 4, unit=(4, 1))
    assert (mask == expected.transpose(3, 2, 0, 1)).all()
    assert nmflow.certify(weights, mask, 2, 4, axes=(1, 0), unit=(4, 1)).optimal


def test_strips_and_threads_change_nothing(rng, monkeypatch):
    for shape in ((37, 41), (9, 5, 6)):
        weights = rng.standard_normal(shape).astype("f4")
        whole = nmflow.solve(weights, 2, 4, unit=(3, 2), workers=1)
        with monkeypatch.context() as patch:
            patch.setattr(unit_sums_module, "_STRIP_ENTRIES", 70)
            assert (nmflow.solve(weights, 2, 4, unit=(3, 2), workers=2) == whole).all()


def test_masks_come_back_as_the_weights_came():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    weights = torch.randn(16, 24, dtype=torch.bfloat16)
    mask = nmflow.solve(weights, 2, 4, unit=(2, 2))
    assert mask.dtype is torch.bool
    assert np.array_equal(mask, nmflow.solve(weights.float().numpy(), 2, 4, unit=(2, 2)))
    assert nmflow.certify(weights, mask, 2, 4, unit=(2, 2)).optimal


def test_single_entries_are_units_of_one(rng):
    weights = rng.standard_normal((9, 14))
    mask = nmflow.solve(weights, 2, 4)
    assert (nmflow.solve(weights, 2, 4, unit=(1, 1)) == mask).all()
    assert nmflow.certify(weights, mask, 2, 4, unit=(1, 1)) == nmflow.certify(weights, mask, 2, 4)


def test_empty_weights():
    mask = nmflow.solve(np.ones((0, 8)), 2, 4, unit=(2, 2))
    assert mask.shape == (0, 8)
    assert nmflow.certify(np.ones((0, 8)), mask, 2, 4, unit=(2, 2)).tiles == 0


@pytest.mark.parametrize("unit", [0, (2,), (0, 2), (2, -1), (2, 2, 2), (1.5, 2), "ab", None])
def test_other_units_raise(unit):
    weights = np.ones((8, 8))
    for call in (
        lambda: nmflow.solve(weights, 2, 4, unit=unit),
        lambda: nmflow.certify(weights, weights > 0, 2, 4, unit=unit),
    ):
        with pytest.raises(nmflow.NmflowError, match="unit must be"):
            call()


PLACES = {
    "transposable": ((1, 0), 6),
    "rows": ((5, 0), 2),
    "columns": ((1, 2), 1),
    "unstructured": ((0, 0), 5 * 5 + 2),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_units_kept_in_part_are_violations(pattern, rng):
    weights = rng.standard_normal((2, 16, 15))
    mask = nmflow.solve(weights, 2, 4, unit=(2, 3), pattern=pattern)
    mask[1, 10:12, 6:9] = [[True, False, True], [False, False, False]]
    certificate = nmflow.certify(weights, mask, 2, 4, unit=(2, 3), pattern=pattern)
    assert not certificate.feasible
    assert not certificate.optimal
    assert math.isnan(certificate.gap)
    violation = certificate.violations[0]
    assert (violation.matrix, violation.line) == (1, "unit")
    assert (violation.tile, violation.index) == PLACES[pattern]
    assert (violation.held, violation.allowed) == (2, 6)
    whole = mask.copy()
    whole[1, 10:12, 6:9] = False
    dropped = nmflow.certify(weights, whole, 2, 4, unit=(2, 3), pattern=pattern)
    assert certificate.value == dropped.value


def test_a_mask_of_entries_is_no_mask_of_pairs(rng):
    weights = rng.standard_normal((32, 32))
    certificate = nmflow.certify(weights, nmflow.solve(weights, 2, 4), 2, 4, unit=(2, 2))
    assert not certificate.feasible
    assert len(certificate.violations) == 10
    assert "NOT FEASIBLE" in str(certificate)


def test_partial_units_are_whole_with_what_they_have():
    weights = np.zeros((3, 5))
    weights[2, 4] = 1
    mask = nmflow.solve(weights, 1, 2, unit=(2, 2))
    assert mask[2, 4]
    certificate = nmflow.certify(weights, mask, 1, 2, unit=(2, 2))
    assert certificate.feasible
    assert certificate.value == 1


def test_a_split_unit_worth_nothing_leaves_nothing_optimal():
    """On a partial tile the rest may be all that an optimum keeps."""
    weights = np.zeros((2, 2))
    mask = np.array([[True, False], [False, False]])
    certificate = nmflow.certify(weights, mask, 1, 2, unit=(2, 2))
    assert not certificate.feasible
    assert not certificate.optimal
