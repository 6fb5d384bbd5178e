"""``nmflow.jax.solve`` finds the engine's mask, bit for bit."""

import numpy as np
import pytest
from samples import side_by_side, tiles_of_every_kind
from tiles import KINDS, seeded

jax = pytest.importorskip("jax")

from compiled import AS_USERS  # noqa: E402

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402

jnp = jax.numpy
PATTERNS = ["transposable", "rows", "columns", "unstructured"]


def held(weights, n, m, *, as_users=False, **options):
    """The mask, after it was compared with the engine's."""

    def solve(values):
        return nmflow.jax.solve(values, n, m, **options)

    mask = (jax.jit(solve, compiler_options=AS_USERS) if as_users else solve)(weights)
    assert isinstance(mask, jax.Array)
    assert mask.dtype == jnp.bool_
    expected = nmflow.solve(np.asarray(weights), n, m, **options)
    assert np.array_equal(np.asarray(mask), expected), (n, m, options)
    return np.asarray(mask)


def every_kind(n, m, dtype, each):
    """Tiles of every kind, so many of each, and partial ones at two edges."""
    weights = side_by_side(tiles_of_every_kind(n, m, dtype, each), 2 * each)
    assert weights.size == len(KINDS) * each * m * m
    return weights[: -(m // 2), 1:]


@pytest.mark.parametrize(("n", "m"), [(5, 8), (8, 16)])
def test_masks_are_the_engines(n, m):
    weights = every_kind(n, m, np.float32, each=40 if m < 16 else 10)
    mask = held(jnp.asarray(weights), n, m, as_users=True)
    certificate = nmflow.certify(weights, mask, n, m)
    assert certificate.gap == 0
    assert certificate.optimal_tiles == certificate.tiles


@pytest.mark.slow
@pytest.mark.parametrize("score", ["abs", "raw"])
@pytest.mark.parametrize(
    ("n", "m"), [(1, 2), (1, 4), (2, 4), (3, 4), (5, 7), (4, 8), (8, 16), (3, 16), (16, 32)]
)
def test_masks_of_ten_thousand_tiles(n, m, score):
    weights = every_kind(n, m, np.float32, each=600)
    negative = seeded(n, m).random(weights.shape) < 0.3
    weights = np.where(negative & (score == "raw"), -weights, weights)
    mask = held(jnp.asarray(weights), n, m, as_users=True, score=score)
    certificate = nmflow.certify(weights, mask, n, m, score=score)
    assert certificate.tiles > 10_000
    assert certificate.optimal_tiles == certificate.tiles
    assert certificate.gap == 0


SLOW = [
    pytest.param(*each, marks=pytest.mark.slow)
    for each in [
        ("float16", "abs"),
        ("float32", "square"),
        ("bfloat16", "raw"),
        ("int8", "raw"),
        ("bool", "abs"),
        ("int32", "square"),
    ]
]


@pytest.mark.parametrize(("dtype", "score"), [("bfloat16", "square"), *SLOW])
def test_dtypes_and_scores(dtype, score):
    """What each is read as: ``test_lax_numbers.py``."""
    weights = every_kind(2, 4, np.float32, each=6)
    if "float" not in dtype:
        weights = np.round(np.clip(weights, -50, 50))
    weights = jnp.asarray(weights).astype(dtype)
    if "float" in dtype:
        # What the narrow ones round up to infinity.
        weights = jnp.where(jnp.isfinite(weights), weights, 1)
    if dtype != "bool":
        odd = jnp.arange(weights.size).reshape(weights.shape) % 3 == 0
        weights = jnp.where(odd, -weights, weights)
    if dtype == "int32":
        weights = weights.at[:, 3].set(np.iinfo(np.int32).min).at[:, 5].set(np.iinfo(np.int32).max)
    held(weights, 2, 4, score=score)
    for pattern in PATTERNS[1:]:
        held(weights, 3, 8, score=score, pattern=pattern)


@pytest.mark.parametrize("score", ["abs", "square", "raw"])
@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_selection(pattern, score, rng):
    weights = rng.standard_normal((2, 30, 45)).astype(np.float32)
    weights[1] = rng.integers(-2, 3, (30, 45)) * np.float32(1e-41)
    weights[1, ::2, ::3] = -0.0
    for n, m in [(2, 4), (5, 7), (40, 64)]:
        held(jnp.asarray(weights), n, m, pattern=pattern, score=score)


def test_every_layout_and_batch(rng):
    weights = jnp.asarray(rng.standard_normal((3, 12, 2, 8)).astype(np.float32))
    for array, axes in [
        (weights, (-1, 1)),
        (weights[:0], (1, 3)),
        (weights[:, :0], (1, 3)),
    ]:
        assert held(array, 2, 4, axes=axes).shape == array.shape
    held(weights[0], 4, 4, score="raw")
    # Two groups of which one constrains nothing, and partial tiles where neither does.
    held(weights[0, :, 0, :7], 3, 4, score="raw")


def test_float64_with_x64(rng):
    with jax.enable_x64(True):
        held(jnp.asarray(every_kind(2, 4, np.float64, each=6)), 2, 4, as_users=True)
        wide = (rng.standard_normal((16, 24)) * 2.0**59).astype(np.int64)
        wide[0, 0] = np.iinfo(np.int64).min
        held(jnp.asarray(wide), 2, 4, pattern="rows", score="raw")
        small = rng.standard_normal((16, 24)) * 2.0 ** rng.integers(-550, -500, (16, 24))
        held(jnp.asarray(small), 2, 4, pattern="unstructured", score="square")
        with pytest.raises(nmflow.NmflowError, match="overflows float64"):
            nmflow.jax.solve(jnp.full((4, 4), 1e300), 2, 4, pattern="rows", score="square")
        with pytest.raises(nmflow.NmflowError, match=r"int64 for 2:4 .* without squares"):
            nmflow.jax.solve(jnp.asarray(wide), 2, 4, score="square")


@pytest.mark.slow
@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_every_kind_with_x64(score, rng):
    with jax.enable_x64(True):
        held(jnp.asarray(every_kind(2, 4, np.float32, each=6)), 2, 4, score=score)
        # Of which squares are finite.
        weights = np.clip(every_kind(3, 8, np.float64, each=40), -1e150, 1e150)
        held(jnp.asarray(weights), 3, 8, score=score)
