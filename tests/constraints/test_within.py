"""Masks within an allowance, with forced entries, and of two ratios, against other algorithms."""

import numpy as np
import oracle
import pytest
import tiles as kinds
from tiles import make, seeded

import nmflow

# What rows hold and what columns do, and rows and columns of a tile.
SMALL = [((2, 2), (4, 4)), ((1, 1), (2, 2)), ((1, 2), (4, 2)), ((2, 1), (2, 4)), ((2, 2), (3, 3))]
LARGE = [
    ((4, 4), (8, 8)),
    ((8, 8), (16, 16)),
    ((16, 16), (32, 32)),
    ((2, 4), (8, 4)),
    ((8, 4), (8, 16)),
    ((3, 6), (16, 8)),
    ((3, 3), (8, 8)),
]
# Penalties need room above the scores: see test_constraint_errors.
KINDS = [kind for kind in kinds.KINDS if kind != "whole range"]
TIED = ["binary", "small integers", "constant", "mostly zero", "equal rows", "2**60 apart"]
# Shares of the entries that are allowed, and that are forced.
SHARES = [(0.9, 0.0), (0.7, 0.1), (0.5, 0.0), (0.3, 0.05), (1.0, 0.1)]


def certified_masks(tiles, n, tile, **options):
    """Masks of tiles that lie side by side."""
    count = len(tiles)
    matrix = tiles.transpose(1, 0, 2).reshape(tile[0], count * tile[1])
    bounds = {
        name: part.transpose(1, 0, 2).reshape(matrix.shape)
        for name, part in options.items()
        if name in ("within", "keep")
    }
    options |= bounds | {"columns": (n[1], tile[0]), "score": "raw"}
    mask = nmflow.solve(matrix, n[0], tile[1], **options)
    certificate = nmflow.certify(matrix, mask, n[0], tile[1], **options)
    assert certificate.feasible
    assert certificate.gap == 0
    assert certificate.optimal_tiles == certificate.tiles == count
    return mask.reshape(tile[0], count, tile[1]).transpose(1, 0, 2)


def constraints(rng, shape, share, n):
    """An allowance, and forced entries in it, of which no line has more than it may hold."""
    allowed = rng.random(shape) < share[0]
    forced = allowed & (rng.random(shape) < share[1])
    for axis, most in ((2, n[0]), (1, n[1])):
        forced &= np.cumsum(forced, axis=axis) <= most
    return allowed, forced


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "tile"), SMALL)
def test_the_mask_of_the_contract(kind, n, tile):
    rng = seeded(kind, n, tile, "within")
    for share in SHARES:
        tiles = make(kind, rng, 2, *tile) * rng.choice([-1, 1], (2, *tile))
        allowed, forced = constraints(rng, tiles.shape, share, n)
        found = certified_masks(tiles, n, tile, within=allowed, keep=forced, at_most=True)
        for mask, *of_tile in zip(found, tiles, allowed, forced, strict=True):
            scores, may, must = of_tile
            best = oracle.by_enumeration(scores, n, True, may, must)
            if best is None:
                # What is negative and not forced is not kept by tiles that can't be filled.
                best = oracle.by_enumeration(scores, n, False, may & ((scores >= 0) | must), must)
            np.testing.assert_array_equal(mask, best)


@pytest.mark.parametrize("kind", TIED)
@pytest.mark.parametrize(("n", "tile"), [size for size in LARGE if max(size[1]) < 16])
def test_ties_follow_the_rule(kind, n, tile):
    rng = seeded(kind, n, tile, "ties within")
    for share in SHARES[:3]:
        tiles = make(kind, rng, 1, *tile)
        allowed, forced = constraints(rng, tiles.shape, share, n)
        found = certified_masks(tiles, n, tile, within=allowed, keep=forced, at_most=True)
        for mask, scores, may, must in zip(found, tiles, allowed, forced, strict=True):
            whole = oracle.with_tie_rule(scores)
            beyond = 1 + sum(abs(number) for row in whole for number in row)
            for i, j in np.argwhere(must).tolist():
                whole[i][j] = beyond
            for i, j in np.argwhere(~may).tolist():
                whole[i][j] = -beyond
            best = oracle.by_augmentation(whole, n, True)
            if (best & ~may).any() or (must & ~best).any():
                best = oracle.by_augmentation(whole, n, False)
            np.testing.assert_array_equal(mask, best)


def compare_with_linear_programme(n, tile, count, rng):
    """Values against HiGHS, which takes the constraints as bounds; how many tiles."""
    compared = 0
    for share in SHARES:
        tiles = rng.integers(-(2**20), 2**30, (count, *tile)).astype(float)
        allowed, forced = constraints(rng, tiles.shape, share, n)
        found = certified_masks(tiles, n, tile, within=allowed, keep=forced, at_most=True)
        filled = (found.sum(axis=2) == n[0]).all(axis=1) & (found.sum(axis=1) == n[1]).all(axis=1)
        for full, part in ((True, filled), (False, ~filled)):
            if part.any():
                bounds = allowed[part], forced[part]
                best = oracle.by_linear_programme(tiles[part], n, full, *bounds)
                values = [(tiles[part] * mask).sum(axis=(1, 2)) for mask in (found[part], best)]
                np.testing.assert_array_equal(*values)
                compared += int(part.sum())
        for scores, *bounds in zip(
            *(p[~filled][:3] for p in (tiles, allowed, forced)), strict=True
        ):
            never = oracle.by_linear_programme(scores[None], n, True, *(b[None] for b in bounds))
            assert never is None
    return compared


@pytest.mark.parametrize(("n", "tile"), [*SMALL, *LARGE])
@pytest.mark.parametrize("huge", [1e304, 1e-300])
def test_numbers_at_the_ends_of_their_range(n, tile, huge):
    rng = seeded(n, tile, huge)
    for share in SHARES[1:4]:
        tiles = np.where(rng.random((3, *tile)) < 0.3, huge * rng.random((3, *tile)), rng.random())
        allowed, forced = constraints(rng, tiles.shape, share, n)
        certified_masks(tiles, n, tile, within=allowed, keep=forced, at_most=True)


@pytest.mark.parametrize(("n", "tile"), [*SMALL, *LARGE])
def test_values_of_a_linear_programme(n, tile):
    assert compare_with_linear_programme(n, tile, 20, seeded(n, tile, "lp")) == 100


@pytest.mark.slow
@pytest.mark.parametrize(("n", "tile"), [*SMALL, *LARGE])
def test_values_of_a_linear_programme_on_many_tiles(n, tile):
    assert compare_with_linear_programme(n, tile, 200, seeded(n, tile, "many")) == 1000


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("shape", [(37, 43), (2, 16, 24), (3, 5)])
def test_shapes_and_dtypes(dtype, shape):
    rng = seeded(dtype.__name__, shape)
    weights = (100 * rng.standard_normal(shape)).astype(dtype)
    allowed = rng.random(shape) < 0.6
    for n, m, columns in [(2, 4, None), (4, 8, None), (2, 4, (4, 8)), (1, 2, (3, 6))]:
        options = {"columns": columns, "within": allowed, "at_most": True}
        mask = nmflow.solve(weights, n, m, **options)
        assert mask.shape == shape
        assert not (mask & ~allowed).any()
        assert nmflow.certify(weights, mask, n, m, **options).optimal
        for index in np.ndindex(shape[:-2]):
            alone = options | {"within": allowed[index]}
            np.testing.assert_array_equal(nmflow.solve(weights[index], n, m, **alone), mask[index])
        serial = nmflow.solve(weights, n, m, workers=1, **options)
        np.testing.assert_array_equal(serial, mask)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32)])
@pytest.mark.parametrize("share", [1.0, 0.97, 0.5, 0.1])
def test_matrices_of_many_tiles(n, m, share):
    """The engine's road: whole windows, some of their tiles, and tiles that fit as they are."""
    rng = seeded(n, m, share, "windows")
    # The kernels of float64 are those of large tiles above.
    dtype = np.float32 if m <= 8 else np.float64
    weights = rng.standard_normal((4 * m, 40 * m)).astype(dtype)
    allowed = rng.random(weights.shape) < share
    options = {"within": allowed, "at_most": True}
    mask = nmflow.solve(weights, n, m, **options)
    assert nmflow.certify(weights, mask, n, m, **options).optimal
    if share == 1:
        np.testing.assert_array_equal(mask, nmflow.solve(weights, n, m))
    fitting = nmflow.solve(weights, n, m)
    np.testing.assert_array_equal(nmflow.solve(weights, n, m, within=fitting), fitting)
    mixed = np.where(np.arange(40 * m) < 2 * m, allowed, fitting)
    mask = nmflow.solve(weights, n, m, within=mixed, at_most=True)
    assert nmflow.certify(weights, mask, n, m, within=mixed, at_most=True).optimal


@pytest.mark.parametrize("pattern", ["rows", "columns", "unstructured"])
@pytest.mark.parametrize("kind", ["gaussian", "small integers", "zero"])
def test_patterns_without_overlap(pattern, kind):
    rng = seeded(pattern, kind)
    for share in SHARES:
        weights = make(kind, rng, 1, 10, 14)[0] * rng.choice([-1, 1], (10, 14))
        allowed = rng.random(weights.shape) < share[0]
        forced = allowed & (rng.random(weights.shape) < share[1] / 4)
        forced &= np.cumsum(forced, axis=1) < 2
        forced &= np.cumsum(forced, axis=0) < 2
        options = {"pattern": pattern, "score": "raw", "within": allowed, "keep": forced}
        options["at_most"] = True
        mask = nmflow.solve(weights, 2, 4, **options)
        assert nmflow.certify(weights, mask, 2, 4, **options).optimal
        parts = weights, allowed, forced, mask
        if pattern == "columns":
            parts = tuple(part.T for part in parts)
        if pattern == "unstructured":
            groups = [(*(part.ravel() for part in parts), 70, True)]
        else:
            groups = [
                (*(part[i, j : j + 4] for part in parts), 2, parts[0][i, j : j + 4].size == 4)
                for i in range(parts[0].shape[0])
                for j in range(0, parts[0].shape[1], 4)
            ]
        for scores, may, must, kept, most, full in groups:
            assert not (kept & ~may).any()
            assert not (must & ~kept).any()
            filled = full and may.sum() >= most
            free = scores[may & ~must]
            if not filled:
                free = free[free >= 0]
            best = sorted(free.tolist(), reverse=True)[: most - int(must.sum())]
            assert sorted(scores[kept & ~must].tolist(), reverse=True) == best


def test_units_are_kept_whole_within():
    rng = seeded("units within")
    weights = rng.standard_normal((48, 64)).astype(np.float32)
    allowed = np.repeat(np.repeat(rng.random((24, 32)) < 0.6, 2, axis=0), 2, axis=1)
    # An entry of a unit that may not be kept is one of a unit that may not be.
    allowed[::6, ::6] = False
    keep = np.zeros(weights.shape, bool)
    keep[2, 3] = allowed[2:4, 2:4].all()
    options = {"within": allowed, "keep": keep, "at_most": True, "unit": (2, 2)}
    mask = nmflow.solve(weights, 2, 4, **options)
    assert not (mask & ~allowed).any()
    assert (mask | ~keep).all()
    units = mask.reshape(24, 2, 32, 2)
    assert (units.any(axis=(1, 3)) == units.all(axis=(1, 3))).all()
    sums = np.abs(weights.astype(float)).reshape(24, 2, 32, 2).sum(axis=(1, 3))
    of_units = {"within": allowed.reshape(24, 2, 32, 2).all(axis=(1, 3)), "at_most": True}
    of_units["keep"] = keep.reshape(24, 2, 32, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(nmflow.solve(sums, 2, 4, **of_units), units.all(axis=(1, 3)))
    assert nmflow.certify(weights, mask, 2, 4, **options).optimal
    keep[0, 1] = True
    with pytest.raises(nmflow.NmflowError, match="of which within forbids others"):
        nmflow.solve(weights, 2, 4, **options)


def test_float32_near_its_end(rng):
    """A penalty of a few times the largest would be infinite."""
    weights = (rng.standard_normal((32, 48)) * 1e37).astype(np.float32)
    weights *= np.float32(3.4e38) / np.abs(weights).max()
    allowed = rng.random(weights.shape) < 0.7
    for options in ({}, {"keep": allowed & (rng.random(weights.shape) < 0.1)}):
        options |= {"within": allowed, "at_most": True}
        mask = nmflow.solve(weights, 4, 8, **options)
        wide = nmflow.solve(weights.astype(np.float64), 4, 8, **options)
        np.testing.assert_array_equal(mask, wide)
