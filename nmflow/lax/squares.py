"""Squares of float64, rounded as it rounds them; XLA would take subnormal ones for 0."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

_FRACTION, _BIAS, _WORD = 52, 1023, 64
_INFINITE = np.uint64(2 * _BIAS + 1) << np.uint64(_FRACTION)
_HIDDEN = np.uint64(1 << _FRACTION)
_LEAST = -(_BIAS - 1 + _FRACTION)
"""The exponent of a subnormal number's last bit."""


def square_bits(bits: Any) -> Any:
    """The bits of x * x, from those of x: uint64 arrays. Rounded to even; infinite for NaN."""
    field = (bits >> _FRACTION & (2 * _BIAS + 1)).astype(jnp.int32)
    mantissa = (bits & (_HIDDEN - np.uint64(1))) | jnp.where(field > 0, _HIDDEN, np.uint64(0))
    exponent = 2 * (jnp.maximum(field, 1) - (_BIAS + _FRACTION))
    upper, lower = _product(mantissa)
    length = 2 * _WORD - lax.clz(upper).astype(jnp.int32)
    last = jnp.maximum(exponent + length - (_FRACTION + 1), _LEAST)
    # One bit more than is kept decides how to round, if nothing below it does.
    dropped = jnp.clip(last - exponent, 1, 2 * _WORD - 1) - 1
    more, lost = _shifted(upper, lower, dropped.astype(jnp.uint64))
    kept, half = more >> 1, (more & 1) > 0
    kept = kept + (half & (lost | ((kept & 1) > 0))).astype(jnp.uint64)
    found = ((last - (_LEAST - 1)).astype(jnp.uint64) << _FRACTION) + kept - _HIDDEN
    too_large = last - (_LEAST - 1) > 2 * _BIAS
    return jnp.where(too_large, _INFINITE, jnp.minimum(found, _INFINITE))


def _product(x: Any) -> tuple[Any, Any]:
    """The two words of the square of an integer of up to 53 bits."""
    half = _WORD // 2
    high, low = x >> half, x & np.uint64((1 << half) - 1)
    middle = (high * low) << 1
    square = low * low
    lower = square + (middle << half)
    return high * high + (middle >> half) + (lower < square).astype(jnp.uint64), lower


def _shifted(upper: Any, lower: Any, by: Any) -> tuple[Any, Any]:
    """(upper * 2**64 + lower) >> by, which fits a word, and whether that drops bits; by < 127."""
    word = np.uint64(_WORD)
    far = by >= word
    left = jnp.where(far | (by == 0), np.uint64(0), word - by)
    near = jnp.where(
        by == 0, lower, (upper << left) | (lower >> jnp.minimum(by, word - np.uint64(1)))
    )
    shift = jnp.where(far, by - word, np.uint64(0))
    found = jnp.where(far, upper >> shift, near)
    below = jnp.where(far, (found << shift) != upper, False) | jnp.where(
        far, lower > 0, (lower >> jnp.minimum(by, word - np.uint64(1))) << by != lower
    )
    return found, below
