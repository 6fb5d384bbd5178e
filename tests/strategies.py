"""What hypothesis draws: numbers, tiles, matrices with their n:m."""

import numpy as np
from hypothesis import strategies as st

finite = st.floats(allow_nan=False, allow_infinity=False)
few_values = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0, 0.1, 2.0**-60, 2.0**60, 5e-324, -1.0])


def filled(shape, elements):
    """Arrays of a shape."""
    size = int(np.prod(shape))
    values = st.lists(elements, min_size=size, max_size=size)
    return values.map(lambda entries: np.array(entries).reshape(shape))


def kept_of(largest):
    """n and m up to a largest, n = 0 and n = m included."""
    return st.integers(1, largest).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m)))


# Every n:m is compiled by itself, which takes as long as a thousand examples: so there are few, of
# every kind: a power of two or not, a single entry kept or pruned, most, and all. Tests that need a
# kind of n:m take one of these, or of PATTERNS in tiles.py.
KEPT = [(1, 1), (1, 2), (3, 3), (2, 3), (2, 4), (3, 4), (4, 8)]


@st.composite
def problems(draw, largest=6, elements=None):
    """A matrix with n and m, partial tiles included."""
    n, m = draw(st.sampled_from([(n, m) for n, m in KEPT if m <= largest]))
    shape = draw(st.integers(1, 2 * m)), draw(st.integers(1, 2 * m))
    if elements is None:
        elements = st.one_of(few_values, st.integers(-3, 3).map(float), finite)
    return draw(filled(shape, elements)), n, m


small_tiles = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: filled(
        shape, st.one_of(few_values, st.floats(-8, 8, width=32), st.floats(1e-300, 1e300))
    )
)
