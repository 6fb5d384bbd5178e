"""Kinds of tiles that a solver may meet, the friendly and the hostile."""

import numpy as np
from hypothesis import strategies as st

PATTERNS = [(2, 4), (1, 4), (3, 4), (4, 8), (3, 8), (8, 16), (16, 32), (5, 7)]

KINDS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "float32": lambda rng, shape: rng.standard_normal(shape).astype(np.float32).astype(float),
    "student": lambda rng, shape: rng.standard_t(3, shape),
    "binary": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "small integers": lambda rng, shape: rng.integers(0, 4, shape).astype(float),
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "zero": lambda rng, shape: np.zeros(shape),
    "mostly zero": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.2),
    "rank one": lambda rng, shape: (
        rng.standard_normal((*shape[:-1], 1)) * rng.standard_normal((*shape[:-2], 1, shape[-1]))
    ),
    "equal rows": lambda rng, shape: np.broadcast_to(
        rng.standard_normal((*shape[:-2], 1, shape[-1])), shape
    ).copy(),
    "nearly equal rows": lambda rng, shape: (
        rng.standard_normal((*shape[:-2], 1, shape[-1])) + 1e-5 * rng.standard_normal(shape)
    ),
    "12 decades": lambda rng, shape: 10.0 ** rng.uniform(-6, 6, shape),
    "40 decades": lambda rng, shape: 10.0 ** rng.uniform(-20, 20, shape),
    "one huge": lambda rng, shape: np.where(
        np.arange(np.prod(shape[-2:])).reshape(shape[-2:]) == 1, 1e30, rng.standard_normal(shape)
    ),
    "denormal": lambda rng, shape: rng.integers(0, 1000, shape) * 5e-324,
    "2**60 apart": lambda rng, shape: rng.choice([2.0**-60, 1.0, 2.0**60], shape),
    "sums of powers": lambda rng, shape: 2.0 ** rng.integers(-30, 30, shape),
    "whole range": lambda rng, shape: rng.choice([5e-324, 1e-300, 1.0, 1e300, 1.5e308], shape),
}


def make(kind, rng, count, rows, columns):
    return np.ascontiguousarray(KINDS[kind](rng, (count, rows, columns)))


finite = st.floats(allow_nan=False, allow_infinity=False)
few_values = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0, 0.1, 2.0**-60, 2.0**60, 5e-324, -1.0])


@st.composite
def problems(draw, largest=6, elements=None):
    """A matrix with n and m, partial tiles included."""
    m = draw(st.integers(1, largest))
    n = draw(st.integers(1, m))
    rows, columns = draw(st.integers(1, 2 * m)), draw(st.integers(1, 2 * m))
    if elements is None:
        elements = st.one_of(few_values, st.integers(-3, 3).map(float), finite)
    values = draw(st.lists(elements, min_size=rows * columns, max_size=rows * columns))
    return np.array(values).reshape(rows, columns), n, m
