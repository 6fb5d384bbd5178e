"""Scores of every dtype as integers, against Python's, which have any size."""

from fractions import Fraction

import numpy as np
import pytest
from tiles import seeded

jax = pytest.importorskip("jax")

from nmflow.lax import numbers, squares  # noqa: E402

jnp = jax.numpy
DTYPES = [
    *("float16", "bfloat16", "float32", "float64"),
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
]


def some_of(dtype, rng):
    """Finite values from any bits, and the odd ones: (3, 5, 4)."""
    kind = jnp.dtype(dtype)
    if dtype == "bool":
        return rng.random((3, 5, 4)) < 0.5
    words = rng.integers(0, 2 ** (8 * kind.itemsize), (3, 5, 4), np.uint64)
    values = words.astype(f"uint{8 * kind.itemsize}").view(kind)
    if kind.kind in "iu":
        values[0, 0, :2] = np.iinfo(kind).min, np.iinfo(kind).max
        return values
    values[0, 0] = 0, -0.0, jnp.finfo(kind).max, jnp.finfo(kind).smallest_subnormal
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), values, kind.type(1))


def exactly(value, score):
    """The score as a fraction."""
    whole = isinstance(value, int | np.integer | np.bool_)
    number = Fraction(int(value) if whole else float(value))
    return {"abs": abs(number), "square": number * number, "raw": number}[score]


@pytest.mark.parametrize("score", ["abs", "square", "raw"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_floors_and_digits(dtype, score):
    if not numbers.supports(dtype, score) or (dtype, score) == ("float64", "square"):
        return
    values = some_of(dtype, seeded(dtype))
    with jax.enable_x64(True):
        found = numbers.scores_of(numbers.bits_of(jnp.asarray(values)), dtype, score)
        top = np.asarray(found.scale())
        unit = top - 20
        floor, lost = (np.asarray(part) for part in found.floor(unit))
        below = np.asarray(found.below(unit))
        further = np.asarray(found.digits(below - 13, 13)[0])
        negative = np.asarray(found.below_zero)
    scores = np.vectorize(lambda value: exactly(value, score), otypes=[object])(values)
    for tile in range(4):
        some, scale = scores[:, :, tile], Fraction(2) ** int(top[tile])
        assert scale / 2 <= max(abs(s) for s in some.ravel()) < scale
        dropped = Fraction(0)
        for place in np.ndindex(some.shape):
            units = some[place] / Fraction(2) ** int(unit[tile])
            assert floor[place][tile] == units // 1
            assert lost[place][tile] == (units % 1 != 0)
            assert negative[place][tile] == (some[place] < 0)
            digits = some[place] / Fraction(2) ** (int(below[tile]) - 13)
            assert further[place][tile] == digits // 1 % (1 << 13)
            dropped = max(dropped, units % 1 * Fraction(2) ** int(unit[tile]))
        if dropped:
            assert dropped < Fraction(2) ** int(below[tile])
            assert below[tile] <= unit[tile]


def test_squares_of_float64_are_those_of_the_processor(rng):
    """Of any bits, near where squares become subnormal, and where they overflow."""
    any_bits = rng.integers(0, 2**64, 50_000, np.uint64).view(np.float64)
    edges = [2.0 ** rng.uniform(low, high, 50_000) for low, high in [(-540, -505), (511, 513)]]
    odd = [0, -0.0, 1.5, 5e-324, 2.0**-537, 2.0**-538, 3 * 2.0**-538, np.inf, np.nan]
    values = np.concatenate([any_bits, *edges, odd])
    with np.errstate(all="ignore"):
        expected = values * values
    with jax.enable_x64(True):
        bits = np.asarray(squares.square_bits(jnp.asarray(values.view(np.uint64))))
    found = bits.view(np.float64)
    finite = np.isfinite(expected)
    assert np.array_equal(found[finite], expected[finite])
    assert not np.isfinite(found[~finite]).any()
