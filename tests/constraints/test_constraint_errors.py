"""What can't be solved under constraints, and what a certificate says of masks that break them."""

import numpy as np
import pytest

import nmflow

WEIGHTS = np.random.default_rng(7).standard_normal((8, 8))


def allowed_but(*places):
    allowed = np.ones(WEIGHTS.shape, bool)
    for place in places:
        allowed[place] = False
    return allowed


def raises(message, *args, **options):
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.solve(*args, **options)


def test_tiles_that_cannot_be_filled_are_named():
    allowed = allowed_but((5, slice(4, 7)))
    raises(r"tile \(1, 1\) of matrix 0 has too few allowed entries.*at_most", WEIGHTS, 2, 4,
           within=allowed)  # fmt: skip
    mask = nmflow.solve(WEIGHTS, 2, 4, within=allowed, at_most=True)
    assert mask[5, 4:].sum() <= 1
    assert (mask[:4].sum(axis=0) == 2).all()
    # Rows and columns have enough, but four rows share three columns.
    allowed = allowed_but((slice(0, 4), slice(3, 8)))
    raises(
        r"tile \(0, 0\) of matrix 0 has no mask of allowed entries", WEIGHTS, 3, 8, within=allowed
    )
    mask = nmflow.solve(WEIGHTS, 3, 8, within=allowed, at_most=True)
    assert mask[:4].sum() < 12
    assert nmflow.certify(WEIGHTS, mask, 3, 8, within=allowed, at_most=True).optimal


def test_it_is_the_first_tile_whatever_the_workers():
    weights = np.ones((64, 4096))
    allowed = np.ones(weights.shape, bool)
    allowed[60, :] = False
    allowed[3, 4000:] = False
    for workers in (1, 4):
        raises(r"tile \(0, 1000\)", weights, 2, 4, within=allowed, workers=workers)


def test_too_much_is_forced():
    keep = ~allowed_but((0, slice(0, 3)))
    raises(r"tile \(0, 0\) of matrix 0 has more forced entries.*force fewer", WEIGHTS, 2, 4,
           keep=keep, at_most=True)  # fmt: skip
    raises("keep asks for entry .0, 1. of matrix 0, which within forbids", WEIGHTS, 4, 8,
           keep=keep, within=allowed_but((0, 1)))  # fmt: skip
    for pattern in ("rows", "unstructured"):
        raises("more forced entries", WEIGHTS, 1, 4, pattern=pattern, keep=np.ones((8, 8), bool))
    raises(
        "too few allowed", WEIGHTS, 3, 4, pattern="columns", within=allowed_but((slice(0, 2), 3))
    )


def test_wrong_arguments():
    raises("within of shape .4, 4.", WEIGHTS, 2, 4, within=np.ones((4, 4), bool))
    raises("keep .* 2.0 at index", WEIGHTS, 2, 4, keep=2 * np.ones((8, 8)))
    raises("'greedy' knows neither within", WEIGHTS, 2, 4, "greedy", within=allowed_but())
    raises("'lp' knows neither", WEIGHTS, 2, 4, "lp", columns=(4, 8))
    raises("20 entries counted by rows and 16 by columns.*at_most", WEIGHTS, 2, 4, columns=(4, 10))
    raises("columns must be a pair", WEIGHTS, 2, 4, columns=4)
    raises("only transposable masks", WEIGHTS, 2, 4, columns=(2, 4), pattern="rows")
    raises("2\\*\\*53", np.full((4, 4), 2**60), 2, 4, within=np.eye(4) == 0)
    huge = np.where(np.eye(4) == 1, 1e308, 5e-324)
    raises("scale the weights down", huge, 2, 4, within=np.eye(4) == 1, at_most=True,
           score="raw")  # fmt: skip
    weights = WEIGHTS.copy()
    weights[3, 3] = np.nan
    raises(r"nan at index \(3, 3\)", weights, 2, 4, within=nmflow.solve(WEIGHTS, 2, 4))


def test_a_ratio_that_differs_is_kept_at_most():
    mask = nmflow.solve(WEIGHTS, 2, 4, columns=(2, 8), at_most=True)
    assert mask.sum(axis=0).max() <= 2
    assert nmflow.certify(WEIGHTS, mask, 2, 4, columns=(2, 8), at_most=True).optimal


def test_certificates_name_what_is_broken():
    allowed, keep = allowed_but((0, 0), (0, 5), (6, slice(0, 2))), np.zeros((8, 8), bool)
    keep[2, 2:4] = True
    options = {"within": allowed, "keep": keep, "at_most": True}
    good = nmflow.solve(WEIGHTS, 4, 8, **options)
    bad = good.copy()
    bad[0, 5], bad[2, 2] = True, False
    certificate = nmflow.certify(WEIGHTS, bad, 4, 8, **options)
    assert not certificate.feasible
    assert np.isnan(certificate.gap)
    text = str(certificate)
    assert "row 0 of tile (0, 0) in matrix 0 keeps 1 forbidden entries" in text
    assert "row 2 of tile (0, 0) in matrix 0 keeps 1 of 2 forced entries" in text
    certificate = nmflow.certify(WEIGHTS, bad, 4, 8, pattern="rows", within=allowed, keep=keep)
    assert {violation.line for violation in certificate.violations} >= {"forbidden", "forced"}


def test_certificates_of_masks_that_are_no_optimum(rng):
    weights = rng.standard_normal((32, 64)).astype(np.float32)
    allowed = rng.random(weights.shape) < 0.7
    options = {"within": allowed, "at_most": True}
    best = nmflow.certify(weights, nmflow.solve(weights, 4, 8, **options), 4, 8, **options)
    other = nmflow.solve(rng.standard_normal(weights.shape), 4, 8, **options)
    worse = nmflow.certify(weights, other, 4, 8, **options)
    assert worse.feasible
    assert worse.bound == best.value
    assert 0 < worse.gap < 1
    assert worse.optimal_tiles < worse.tiles
    empty = nmflow.certify(weights, np.zeros_like(allowed), 4, 8, **options)
    assert empty.value == 0
    assert empty.bound == best.value
    assert not empty.full


def test_constraints_that_no_mask_obeys_have_no_certificate():
    allowed = allowed_but((5, slice(4, 7)))
    mask = nmflow.solve(WEIGHTS, 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"tile \(1, 1\) of matrix 0 has no mask"):
        nmflow.certify(WEIGHTS, mask, 2, 4, within=allowed)
    with pytest.raises(nmflow.NmflowError, match=r"group \(5, 1\) of matrix 0"):
        nmflow.certify(WEIGHTS, mask, 2, 4, within=allowed, pattern="rows")
    prices = nmflow.solve_with_prices(WEIGHTS, 2, 4).prices
    with pytest.raises(nmflow.NmflowError, match="leave them out"):
        nmflow.certify(WEIGHTS, mask, 2, 4, within=allowed, prices=prices)


@pytest.mark.parametrize("score", ["abs", "raw"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8, 0.95])
def test_what_is_not_finite_is_named_whatever_its_tile_may_keep(share, score, rng):
    """Few tiles of a kind are looked at apart from the others, and some are not solved at all."""
    weights = rng.standard_normal((16, 64)).astype(np.float32)
    allowed = rng.random(weights.shape) < share
    allowed[:4, :32] = True
    for options in ({}, {"keep": allowed & (rng.random(weights.shape) < 0.05)}):
        options |= {"within": allowed, "at_most": True, "score": score}
        for place in zip(rng.integers(0, 16, 24), rng.integers(0, 64, 24), strict=True):
            odd = weights.copy()
            odd[place] = rng.choice([np.nan, np.inf, -np.inf])
            row, column = place
            raises(rf"(nan|inf) at index \({row}, {column}\)", odd, 2, 4, **options)
