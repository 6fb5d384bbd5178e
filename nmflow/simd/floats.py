"""Matrix rows as vectors of 16 floats, and what their bits say."""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.llvm import I1, I16, I32, call, constant, has_feature
from nmflow.simd.tile_shape import ROW
from nmflow.simd.vectors import Vector, address


@intrinsic
def magnitude(typingctx, vector):
    """Floats without their signs."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.fabs.v{kind.count}f{vector.element.bitwidth}"
        return call(builder, name, kind, args)

    return vector(vector), codegen


NOT_FINITE = 9999
"""Instead of the exponent of an infinity or NaN."""


@intrinsic
def exponent_of(typingctx, bits):
    """The least e with |x| < 2**e, or that of the least normal number, given the bits of |x|.

    NOT_FINITE for infinities and NaN.
    """
    fraction, bias, top = (23, 126, 255) if bits.bitwidth == 32 else (52, 1022, 2047)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(types.intp)
        field = builder.lshr(args[0], args[0].type(fraction))
        field = field if bits.bitwidth == 64 else builder.zext(field, kind)
        finite = builder.icmp_signed("<", field, kind(top))
        return builder.select(finite, builder.sub(field, kind(bias)), kind(NOT_FINITE))

    return types.intp(bits), codegen


@intrinsic
def power_of_two(typingctx, exponent, array):
    """2.0**exponent as an entry of an array, for an exponent of normal numbers."""
    width, fraction, bias = (32, 23, 127) if array.dtype.bitwidth == 32 else (64, 52, 1023)

    def codegen(context, builder, signature, args):
        kind = ir.IntType(width)
        biased = builder.add(builder.trunc(args[0], kind) if width < 64 else args[0], kind(bias))
        bits = builder.shl(biased, kind(fraction))
        return builder.bitcast(bits, context.get_value_type(array.dtype))

    return array.dtype(types.intp, array), codegen


@intrinsic
def has_few_digits(typingctx, bits):
    """Whether no float has more than 13 significant bits, given their bits or-ed together."""
    spare = 11 if bits.element.bitwidth == 32 else 40

    def codegen(context, builder, signature, args):
        kind = args[0].type
        low = builder.and_(args[0], constant(kind, (1 << spare) - 1))
        more = builder.icmp_signed("!=", low, constant(kind, 0))
        lanes = builder.bitcast(more, ir.IntType(kind.count))
        return builder.icmp_signed("==", lanes, lanes.type(0))

    return types.boolean(bits), codegen


@intrinsic
def zeros_last(typingctx, bits):
    """Bits of magnitudes as integers in the same order, except that zero is the greatest."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        return builder.add(args[0], constant(kind, (1 << (bits.element.bitwidth - 1)) - 1))

    return bits(bits), codegen


@intrinsic
def last_digit(typingctx, least, every):
    """An e such that all scores of a strip are multiples of 2**e.

    Parameters
    ----------
    least : int
        The least :func:`zeros_last` of their bits.
    every : int
        All their bits or-ed together.
    """
    fraction, bias = (23, 150) if least.bitwidth == 32 else (52, 1075)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(types.intp)
        bits = builder.sub(args[0], args[0].type((1 << (least.bitwidth - 1)) - 1))
        field = builder.lshr(bits, bits.type(fraction))
        field = field if least.bitwidth == 64 else builder.zext(field, kind)
        normal = builder.icmp_signed(">", field, kind(0))
        field = builder.select(normal, field, kind(1))
        # The leading bit of normal numbers, which is not stored, ends the search.
        digits = builder.or_(args[1], args[1].type(1 << fraction))
        zeros = call(builder, f"llvm.cttz.i{least.bitwidth}", digits.type, [digits, I1(0)])
        zeros = zeros if least.bitwidth == 64 else builder.zext(zeros, kind)
        return builder.sub(builder.add(field, zeros), kind(bias))

    return types.intp(least, every), codegen


@intrinsic
def zero_lanes(typingctx, vector):
    """How many lanes are zero."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        zeros = builder.icmp_signed("==", args[0], constant(kind, 0))
        lanes = builder.bitcast(zeros, ir.IntType(kind.count))
        return call(builder, f"llvm.ctpop.i{kind.count}", lanes.type, [lanes])

    return {16: types.int16, 32: types.int32}[vector.lanes](vector), codegen


class AllowedScores(NamedTuple):
    """What takes an array's place where some entries may not be kept.

    Attributes
    ----------
    values : (N,) array of float32 or float64
    allowed : (N,) array of uint8
        Not 0 where an entry may be kept.
    read_as : int
        The bits that a score has of its value: all, or all but the sign.
    """

    values: Any
    allowed: Any
    read_as: Any


def _load_allowed(
    context: Any, builder: Any, kind: Any, args: Any, vector: Vector, infinite_too: bool
) -> Any:
    """As :func:`load_row`, of :class:`AllowedScores`; perhaps of what is not finite as well."""
    values, allowed, read_as = (builder.extract_value(args[0], k) for k in range(3))
    width, fraction, bias = (32, 23, 127) if vector.element.bitwidth == 32 else (64, 52, 1023)
    lanes = ir.VectorType(ir.IntType(width), ROW)
    place = address(context, builder, kind[0], [values, args[1]], vector)
    bits = builder.load(builder.bitcast(place, lanes.as_pointer()), align=4)
    marks = address(context, builder, kind[1], [allowed, args[1]], Vector(types.uint8, ROW))
    octets = builder.load(marks, align=1)
    free = builder.icmp_signed("!=", octets, constant(octets.type, 0))
    if infinite_too:
        magnitude = builder.and_(bits, constant(lanes, (1 << (width - 1)) - 1))
        infinite = constant(lanes, (2 * bias + 1) << fraction)
        free = builder.or_(free, builder.icmp_signed(">=", magnitude, infinite))
    mask = builder.trunc(read_as, lanes.element) if width < 64 else read_as
    single = builder.insert_element(ir.Constant(lanes, ir.Undefined), mask, I32(0))
    spread = builder.shuffle_vector(single, single, constant(ir.VectorType(I32, ROW), 0))
    worthless = constant(lanes, -(1 << (width - 1)) | 1 << fraction)
    chosen = builder.select(free, builder.and_(bits, spread), worthless)
    return builder.bitcast(chosen, context.get_value_type(vector))


@intrinsic
def load_row(typingctx, array, start):
    """16 entries of a matrix from ``array[start]`` on, unaligned.

    float64 as they are; float32, float16 (given as int16) and bfloat16 (given as uint16) as
    float32. Of :class:`AllowedScores` the scores, and the least negative normal number where an
    entry may not be kept.
    """
    if isinstance(array, types.BaseTuple):
        return _loader(array, False)
    return _plain_loader(array)


@intrinsic
def load_row_unhidden(typingctx, array, start):
    """As :func:`load_row`, but what is not finite is seen where it may not be kept as well."""
    if isinstance(array, types.BaseTuple):
        return _loader(array, True)
    return _plain_loader(array)


def _loader(kind: Any, infinite_too: bool) -> Any:
    vector = Vector(kind[0].dtype, ROW)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load_allowed(context, builder, kind, args, vector, infinite_too)

    return vector(kind, types.intp), codegen


def _plain_loader(array: Any) -> Any:
    narrow = array.dtype.bitwidth <= 32
    vector = Vector(types.float32 if narrow else types.float64, ROW)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if array.dtype in (types.float32, types.float64):
            return builder.load(address(context, builder, array, args, vector), align=4)
        half = Vector(types.uint16, ROW)
        place = address(context, builder, array, args, half)
        if array.dtype == types.int16 and has_feature(context, "f16c"):
            halves = ir.VectorType(ir.HalfType(), ROW)
            number = builder.load(builder.bitcast(place, halves.as_pointer()), align=2)
            return builder.fpext(number, context.get_value_type(vector))
        bits = builder.load(place, align=2)
        wide = builder.zext(bits, ir.VectorType(I32, ROW))
        kind = context.get_value_type(vector)
        if array.dtype == types.uint16:
            return builder.bitcast(builder.shl(wide, constant(wide.type, 16)), kind)
        # float16: exponent and fraction moved to their float32 places, the bias made good by a
        # power of two, which also makes subnormals normal. All ones (infinity, NaN) stay all ones.
        magnitude = builder.and_(wide, constant(wide.type, 0x7FFF))
        moved = builder.bitcast(builder.shl(magnitude, constant(wide.type, 13)), kind)
        scaled = builder.bitcast(builder.fmul(moved, constant(kind, 2.0**112)), wide.type)
        special = builder.icmp_signed(">=", magnitude, constant(wide.type, 0x7C00))
        number = builder.select(special, constant(wide.type, 0x7F800000), scaled)
        sign = builder.shl(builder.and_(wide, constant(wide.type, 0x8000)), constant(wide.type, 16))
        return builder.bitcast(builder.or_(number, sign), kind)

    return vector(array, types.intp), codegen


@intrinsic
def bits_of(typingctx, vector):
    """The bits of floats as integers."""
    answer = Vector(types.int32 if vector.element.bitwidth == 32 else types.int64, vector.lanes)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(answer))

    return answer(vector), codegen


@intrinsic
def exceeding(typingctx, score, bound):
    """A bit for each of 16 lanes, set where the score is larger than the bound."""

    def codegen(context, builder, signature, args):
        wide = args[1] if score == bound else builder.fpext(args[1], args[0].type)
        return builder.bitcast(builder.fcmp_ordered(">", args[0], wide), I16)

    return types.int16(score, bound), codegen


@intrinsic
def to_int32(typingctx, vector):
    """Floats rounded towards zero, or the low half of integers."""
    answer = Vector(types.int32, vector.lanes)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(answer)
        if isinstance(vector.element, types.Float):
            return builder.fptosi(args[0], kind)
        return args[0] if vector.element.bitwidth == 32 else builder.trunc(args[0], kind)

    return answer(vector), codegen


@intrinsic
def to_floats(typingctx, vector, kind):
    """Integers as floats of the kind of the second vector."""

    def codegen(context, builder, signature, args):
        return builder.sitofp(args[0], args[1].type)

    return kind(vector, kind), codegen
