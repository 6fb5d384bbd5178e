"""Scores as integers times powers of two, taken from the bits of numbers, in 32-bit integers.

JAX has no 64-bit integers unless asked for, and XLA may read subnormal floats as 0: so nothing here
calculates with floats, and what takes more than 24 bits is several limbs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax

LIMB_BITS = 24
LEAST_EXPONENT = -(1 << 20)
"""Below the exponent of any number: that of a tile without any score but 0."""
# Bits of a fraction, and bias of an exponent.
_FLOATS = {"float16": (10, 15), "bfloat16": (7, 127), "float32": (23, 127), "float64": (52, 1023)}
_WIDE_INTEGERS = ("int64", "uint64")
_SMALL_INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32")
# Half a limb, so that products fit 32 bits.
_HALF = LIMB_BITS // 2
_WORD = 32


@dataclass(frozen=True, slots=True)
class Numbers:
    """Scores, exactly: the sum of ``limb[k] * 2**(exponent + 24 k)``, with a sign.

    Attributes
    ----------
    limbs : tuple of int32 arrays
        Each 0 <= limb < 2**24.
    exponent : int32 array
        Of the same shape.
    negative : bool array, or None where no score is
    """

    limbs: tuple[Any, ...]
    exponent: Any
    negative: Any

    def scale(self) -> Any:
        """An exponent e for each tile (the last axis) with all of its |scores| < 2**e."""
        return self._top(self.limbs).max((0, 1))

    def floor(self, unit: Any) -> tuple[Any, Any]:
        """Scores in units of 2**unit, rounded down, and which of them are more than that.

        Floors must fit 31 bits.
        """
        floor, lost = self._magnitude(unit)
        return (floor if self.negative is None else self._signed(floor, lost)), lost

    def digits(self, unit: Any, count: int) -> tuple[Any, Any]:
        """The last ``count`` bits of floors in units of 2**unit; and which scores have more."""
        floor, lost = self._magnitude(unit)
        floor = floor if self.negative is None else self._signed(floor, lost)
        return floor & (1 << count) - 1, lost

    def below(self, unit: Any) -> Any:
        """For each tile an exponent e <= unit: what floors in units of 2**unit drop is < 2**e."""
        kept = []
        for k, limb in enumerate(self.limbs):
            width = jnp.clip(unit - self.exponent - LIMB_BITS * k, 0, LIMB_BITS)
            kept.append(limb & ((1 << width) - 1))
        top = self._top(tuple(kept))
        if self.negative is not None:
            # Two's complement of anything small is nearly one unit.
            top = jnp.where(self.negative & (top > LEAST_EXPONENT), unit, top)
        return top.max((0, 1))

    def without(self, barred: Any) -> Numbers:
        """The same with 0 for some."""
        limbs = tuple(jnp.where(barred, 0, limb) for limb in self.limbs)
        return Numbers(limbs, self.exponent, self.negative)

    def penalised(self, barred: Any) -> Numbers:
        """The same with so little for some that no optimal mask keeps them if any mask does not.

        As :func:`nmflow.problem.constraints.penalised`, which says how little that is.
        """
        none = [jnp.where(barred, 0, limb) for limb in self.limbs]
        largest = self.without(barred).scale() + (8 * barred.shape[0]).bit_length()
        negative = barred if self.negative is None else barred | self.negative
        limbs = none[0] | barred.astype(jnp.int32), *none[1:]
        return Numbers(limbs, jnp.where(barred, largest, self.exponent), negative)

    @property
    def below_zero(self) -> Any:
        """Which scores are negative."""
        some = functools.reduce(jnp.logical_or, [limb > 0 for limb in self.limbs])
        return some & self.negative if self.negative is not None else jnp.zeros_like(some)

    def _top(self, limbs: tuple[Any, ...]) -> Any:
        """The exponent of the power of two next above the limbs' number."""
        tops = []
        for k, limb in enumerate(limbs):
            top = self.exponent + (LIMB_BITS * k + _WORD) - lax.clz(limb)
            tops.append(jnp.where(limb > 0, top, LEAST_EXPONENT))
        return functools.reduce(jnp.maximum, tops)

    def _magnitude(self, unit: Any) -> tuple[Any, Any]:
        """The last 31 bits of magnitudes in units of 2**unit, and which have bits below."""
        shift = self.exponent - unit
        floors, lost = [], []
        for k, limb in enumerate(self.limbs):
            by = shift + LIMB_BITS * k
            right = jnp.clip(-by, 0, LIMB_BITS)
            whole = limb >> right
            lost.append(limb != whole << right)
            # What a shift to the left drops is above these bits.
            floors.append(jnp.where(by < _WORD, whole << jnp.clip(by, 0, _WORD - 1), 0))
        return functools.reduce(jnp.bitwise_or, floors), functools.reduce(jnp.logical_or, lost)

    def _signed(self, floor: Any, lost: Any) -> Any:
        return jnp.where(self.negative, -(floor + lost.astype(jnp.int32)), floor)


def supports(dtype: str, score: str) -> bool:
    """Whether values of a dtype of that name can be read; not squares of 64-bit integers."""
    if dtype in _WIDE_INTEGERS:
        return score != "square"
    return dtype in _FLOATS or dtype in _SMALL_INTEGERS


def is_float(dtype: str) -> bool:
    """Whether a dtype of that name is a float that can be read."""
    return dtype in _FLOATS


def bits_of(values: Any) -> Any:
    """The bits of floats as unsigned integers of the same size; integers as they are."""
    if values.dtype.name not in _FLOATS:
        return values
    return lax.bitcast_convert_type(values, jnp.dtype(f"uint{8 * values.dtype.itemsize}"))


def is_finite(bits: Any, dtype: str) -> Any:
    """Where values, given by :func:`bits_of`, are neither NaN nor infinite."""
    if dtype not in _FLOATS:
        return jnp.ones(bits.shape, jnp.bool_)
    fraction, bias = _FLOATS[dtype]
    field = (bits >> fraction) & (2 * bias + 1)
    return field != 2 * bias + 1


def scores_of(bits: Any, dtype: str, score: str) -> Numbers:
    """The scores of values, given by :func:`bits_of`, as :mod:`nmflow.problem.scores` defines."""
    limbs, exponent, negative = (_float if dtype in _FLOATS else _integer)(bits, dtype)
    if score == "square":
        limbs, exponent = _square(limbs), 2 * exponent
    return Numbers(limbs, exponent, negative if score == "raw" else None)


def _float(bits: Any, dtype: str) -> tuple[tuple[Any, ...], Any, Any]:
    fraction, bias = _FLOATS[dtype]
    if bits.dtype.itemsize * 8 > _WORD:
        # The upper word has the sign, the exponent and the fraction's first bits.
        lower, upper = _words(bits)
        fraction -= _WORD
    else:
        lower, upper = None, bits.astype(jnp.uint32)
    field = ((upper >> fraction) & (2 * bias + 1)).astype(jnp.int32)
    mantissa = (upper & (1 << fraction) - 1).astype(jnp.int32)
    mantissa |= (field > 0).astype(jnp.int32) << fraction
    negative = (upper >> fraction) > 2 * bias + 1
    exponent = jnp.maximum(field, 1) - (bias + _FLOATS[dtype][0])
    limbs = (mantissa,) if lower is None else _three_limbs(lower, mantissa)
    return limbs, exponent, negative


def _integer(values: Any, dtype: str) -> tuple[tuple[Any, ...], Any, Any]:
    wide = dtype in _WIDE_INTEGERS
    unsigned = jnp.uint64 if wide else jnp.uint32
    negative = values < 0 if dtype.startswith("int") else jnp.zeros(values.shape, jnp.bool_)
    word = values.astype(unsigned)
    # In two's complement, which holds the magnitude of the smallest integer too.
    word = jnp.where(negative, ~word + 1, word)
    if wide:
        lower, upper = _words(word)
        limbs = _three_limbs(lower, upper)
    else:
        limbs = _limb(word), (word >> LIMB_BITS).astype(jnp.int32)
    return limbs, jnp.zeros(values.shape, jnp.int32), negative


def _words(bits: Any) -> tuple[Any, Any]:
    return bits.astype(jnp.uint32), (bits >> _WORD).astype(jnp.uint32)


def _limb(word: Any) -> Any:
    return (word & (1 << LIMB_BITS) - 1).astype(jnp.int32)


def _three_limbs(lower: Any, upper: Any) -> tuple[Any, ...]:
    """The limbs of upper * 2**32 + lower."""
    upper, over = upper.astype(jnp.uint32), _WORD - LIMB_BITS
    middle = (lower >> LIMB_BITS) | (upper << over)
    return _limb(lower), _limb(middle), (upper >> LIMB_BITS - over).astype(jnp.int32)


def _square(limbs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Limbs of the square, by halves of limbs."""
    low = (1 << _HALF) - 1
    halves = [half for limb in limbs for half in (limb & low, limb >> _HALF)]
    sums: list[Any] = [0] * (2 * len(halves))
    for i, one in enumerate(halves):
        for j, other in enumerate(halves):
            sums[i + j] = sums[i + j] + one * other
    carry: Any = 0
    for k, part in enumerate(sums):
        sums[k], carry = (part + carry) & low, (part + carry) >> _HALF
    return tuple(one | other << _HALF for one, other in zip(sums[::2], sums[1::2], strict=True))
