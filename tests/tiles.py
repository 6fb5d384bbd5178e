"""Kinds of tiles that a solver may meet, the friendly and the hostile."""

import zlib

import numpy as np
from strategies import problems, st  # noqa: F401  (asked for here by tests of flow)

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


def seeded(*key):
    """A generator of its own for whatever a test is of."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def make(kind, rng, count, rows, columns):
    return np.ascontiguousarray(KINDS[kind](rng, (count, rows, columns)))


def cut_and_join(kind, rng, m, rows=6, across=8):
    """A matrix of tiles of a kind."""
    tiles = make(kind, rng, rows * across, m, m)
    return tiles.reshape(rows, across, m, m).transpose(0, 2, 1, 3).reshape(rows * m, across * m)


def changed(rng, weights, by):
    """Each weight moved at random by a share of itself."""
    return weights * (1 + by * rng.standard_normal(weights.shape)).astype(weights.dtype)


def narrowed(values, dtype):
    """As the dtype, with what it can't hold at its largest number."""
    most = np.finfo(dtype).max
    return np.clip(values, -float(most), float(most)).astype(dtype)
