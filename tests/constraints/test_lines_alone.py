"""Allowances that leave lines of one direction alone to decide, against the rule line by line."""

import numpy as np
import oracle
import pytest
from tiles import make, seeded

import nmflow

# Rows and columns that fill no strip of 16 among them, nor the tiles of 8 and more.
SIZES = [(1, 2, 6, 36), (2, 4, 12, 36), (4, 8, 16, 56), (8, 16, 16, 48)]
LARGE = [(16, 32, 32, 64), (3, 4, 8, 20)]
KINDS = ["gaussian", "small integers", "mostly zero"]


def line_by_line(scores, allowed, forced, n, axis):
    """The mask of one tile: each line along an axis keeps its n largest by the rule of ties."""
    whole = oracle.with_tie_rule(scores)
    beyond = 1 + sum(abs(number) for row in whole for number in row)
    mask = forced.copy()
    for line in range(scores.shape[1 - axis]):
        places = [(line, k) if axis else (k, line) for k in range(scores.shape[axis])]
        places = [
            place for place in places if allowed[place] and (scores[place] >= 0 or forced[place])
        ]
        ranked = sorted(places, key=lambda p: whole[p[0]][p[1]] + beyond * bool(forced[p]))
        for place in ranked[-n:]:
            mask[place] = True
    return mask


def check(n, m, shape, kind, dtype, score):
    """Allowances of n:m along rows, and along columns, with forced entries and without."""
    rng = seeded(n, m, kind, score, "lines")
    weights = make(kind, rng, 1, *shape)[0] * rng.choice([-1, 1], shape)
    weights = weights.astype(dtype)
    scores = {"abs": np.abs, "raw": np.array}[score](weights).astype(np.float64)
    for axis, pattern in ((0, "rows"), (1, "columns")):
        allowed = nmflow.solve(rng.random(shape), n, m, pattern=pattern) & (rng.random(shape) < 0.9)
        for share in (0.0, 0.1):
            forced = allowed & (rng.random(shape) < share)
            for lines in (forced, forced.T):
                for first in range(0, len(lines), m):
                    group = lines[first : first + m]
                    group &= np.cumsum(group, axis=0) <= n
            options = {"within": allowed, "keep": forced, "at_most": True, "score": score}
            found = nmflow.solve(weights, n, m, **options)
            for top in range(0, shape[0] - m + 1, m):
                for left in range(0, shape[1] - m + 1, m):
                    tile = slice(top, top + m), slice(left, left + m)
                    filled = all((allowed[tile].sum(axis=k) == n).all() for k in (0, 1))
                    expected = (
                        allowed[tile]
                        if filled
                        else line_by_line(scores[tile], allowed[tile], forced[tile], n, axis)
                    )
                    np.testing.assert_array_equal(found[tile], expected)
            certificate = nmflow.certify(weights, found, n, m, **options)
            assert certificate.feasible
            assert certificate.gap == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m", "rows", "columns"), SIZES)
@pytest.mark.parametrize("score", ["abs", "raw"])
def test_each_line_keeps_its_largest(n, m, rows, columns, kind, score):
    check(n, m, (rows, columns), kind, np.float32, score)


@pytest.mark.parametrize(("n", "m", "rows", "columns"), LARGE)
def test_large_tiles_and_wide_numbers(n, m, rows, columns):
    check(n, m, (rows, columns), "gaussian", np.float64, "raw")


def test_what_is_not_finite_raises_wherever_it_is():
    weights = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32)
    allowed = nmflow.solve(weights, 2, 4, pattern="rows")
    weights[5, 30] = np.nan
    for within in (allowed, allowed & np.isfinite(weights)):
        with pytest.raises(nmflow.NmflowError, match="nan at index"):
            nmflow.solve(weights, 2, 4, within=within, at_most=True)
