"""Vectors of integers for the lane engine: compare, saturate, transpose, rank, and bits to bytes.

Comparisons yield integer vectors of -1 (true) and 0. Nothing here has a counterpart without the
compiler: with ``NUMBA_DISABLE_JIT=1`` the scalar road solves everything.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nmflow.networks import selection
from nmflow.simd.static import ROW, tile_shape
from nmflow.simd.vectors import Vector, address

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def _constant(kind: ir.VectorType, value: Any) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _call(builder: Any, name: str, result: Any, args: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _suffix(kind: ir.VectorType) -> str:
    return f"v{kind.count}i{kind.element.width}"


def _saturating(name: str) -> Any:
    @intrinsic
    def emit(typingctx, x, y):
        def codegen(context, builder, signature, args):
            kind = args[0].type
            return _call(builder, f"llvm.{name}.sat.{_suffix(kind)}", kind, args)

        return x(x, x), codegen

    return emit


subtract_saturating = _saturating("ssub")
add_saturating = _saturating("sadd")


def _comparison(sign: str) -> Any:
    @intrinsic
    def emit(typingctx, x, y):
        width = {32: types.int32, 64: types.int64, 16: types.int16}[x.element.bitwidth]
        answer = Vector(width, x.lanes)

        def codegen(context, builder, signature, args):
            if isinstance(x.element, types.Float):
                bits = builder.fcmp_unordered(sign, *args)
            else:
                bits = builder.icmp_signed(sign, *args)
            return builder.sext(bits, context.get_value_type(answer))

        return answer(x, x), codegen

    return emit


greater = _comparison(">")
equal = _comparison("==")
differs = _comparison("!=")


@intrinsic
def choose(typingctx, condition, x, y):
    """Lanes of x where the condition is true, else of y."""

    def codegen(context, builder, signature, args):
        bits = builder.icmp_signed("!=", args[0], _constant(args[0].type, 0))
        return builder.select(bits, args[1], args[2])

    return x(condition, x, x), codegen


@intrinsic
def like(typingctx, vector, value):
    """The number in every lane of a vector of that kind."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        number = context.cast(builder, args[1], value, vector.element)
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _I32(0))
        spread = _constant(ir.VectorType(_I32, kind.count), 0)
        return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), spread)

    return vector(vector, value), codegen


@intrinsic
def ones_count(typingctx, vector):
    """How many bits of each lane are set."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        return _call(builder, f"llvm.ctpop.{_suffix(kind)}", kind, args)

    return vector(vector), codegen


def _reduction(name: str) -> Any:
    @intrinsic
    def emit(typingctx, vector):
        def codegen(context, builder, signature, args):
            kind = args[0].type
            return _call(builder, f"llvm.vector.reduce.{name}.{_suffix(kind)}", kind.element, args)

        return vector.element(vector), codegen

    return emit


largest_lane = _reduction("smax")
any_bits = _reduction("or")


@intrinsic
def magnitude(typingctx, vector):
    """Floats without their signs."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.fabs.v{kind.count}f{vector.element.bitwidth}"
        return _call(builder, name, kind, args)

    return vector(vector), codegen


NOT_FINITE = 9999
"""Instead of the exponent of an infinity or NaN."""


@intrinsic
def exponent_of(typingctx, bits):
    """The least e with |x| < 2**e, or that of the smallest normal number."""
    fraction, bias, top = (23, 126, 255) if bits.bitwidth == 32 else (52, 1022, 2047)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(types.intp)
        field = builder.lshr(args[0], args[0].type(fraction))
        field = field if bits.bitwidth == 64 else builder.zext(field, kind)
        finite = builder.icmp_signed("<", field, kind(top))
        return builder.select(finite, builder.sub(field, kind(bias)), kind(NOT_FINITE))

    return types.intp(bits), codegen


@intrinsic
def power_of_two(typingctx, exponent):
    """2.0**exponent for an exponent of normal numbers."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        bits = builder.shl(builder.add(args[0], kind(1023)), kind(52))
        return builder.bitcast(bits, ir.DoubleType())

    return types.float64(types.intp), codegen


@intrinsic
def has_few_digits(typingctx, bits):
    """Whether no float has more than 13 significant bits, given their bits or-ed together."""
    spare = 11 if bits.element.bitwidth == 32 else 40

    def codegen(context, builder, signature, args):
        kind = args[0].type
        low = builder.and_(args[0], _constant(kind, (1 << spare) - 1))
        more = builder.icmp_signed("!=", low, _constant(kind, 0))
        lanes = builder.bitcast(more, ir.IntType(kind.count))
        return builder.icmp_signed("==", lanes, lanes.type(0))

    return types.boolean(bits), codegen


@intrinsic
def zero_lanes(typingctx, vector):
    """How many lanes are zero."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        zeros = builder.icmp_signed("==", args[0], _constant(kind, 0))
        lanes = builder.bitcast(zeros, ir.IntType(kind.count))
        return _call(builder, f"llvm.ctpop.i{kind.count}", lanes.type, [lanes])

    return {16: types.int16, 32: types.int32}[vector.lanes](vector), codegen


@intrinsic
def load_row(typingctx, array, start):
    """16 entries of a matrix, float16 (in int16) and bfloat16 (in uint16) as float32."""
    narrow = array.dtype.bitwidth <= 32
    vector = Vector(types.float32 if narrow else types.float64, ROW)

    def codegen(context, builder, signature, args):
        if array.dtype in (types.float32, types.float64):
            return builder.load(address(context, builder, array, args, vector), align=4)
        half = Vector(types.uint16, ROW)
        bits = builder.load(address(context, builder, array, args, half), align=2)
        wide = builder.zext(bits, ir.VectorType(_I32, ROW))
        kind = context.get_value_type(vector)
        if array.dtype == types.uint16:
            return builder.bitcast(builder.shl(wide, _constant(wide.type, 16)), kind)
        # float16: exponent and fraction moved to their float32 places, the bias made good by a
        # power of two, which also makes subnormals normal. All ones (infinity, NaN) stay all ones.
        magnitude = builder.and_(wide, _constant(wide.type, 0x7FFF))
        moved = builder.bitcast(builder.shl(magnitude, _constant(wide.type, 13)), kind)
        scaled = builder.bitcast(builder.fmul(moved, _constant(kind, 2.0**112)), wide.type)
        special = builder.icmp_signed(">=", magnitude, _constant(wide.type, 0x7C00))
        number = builder.select(special, _constant(wide.type, 0x7F800000), scaled)
        sign = builder.shl(builder.and_(wide, _constant(wide.type, 0x8000)), _constant(wide.type, 16))
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
def floats_of(typingctx, vector):
    """The floats that integers are the bits of."""
    answer = Vector(types.float32 if vector.element.bitwidth == 32 else types.float64, vector.lanes)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(answer))

    return answer(vector), codegen


@intrinsic
def to_int32(typingctx, vector):
    """Floats towards zero, or the low half of integers."""
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


@intrinsic
def pack_pairs(typingctx, first, second):
    """Low halves of two int32 vectors in turn: first[0], second[0], first[1], second[1], ..."""
    answer = Vector(types.int16, 2 * first.lanes)

    def codegen(context, builder, signature, args):
        kind = args[0].type
        low = builder.and_(args[0], _constant(kind, 0xFFFF))
        high = builder.shl(args[1], _constant(kind, 16))
        return builder.bitcast(builder.or_(low, high), context.get_value_type(answer))

    return answer(first, second), codegen


@intrinsic(prefer_literal=True)
def transpose_store(typingctx, packed, lanes, start, shape, half):
    """Turn rows of packed pairs into lanes: one vector a column, one lane a tile.

    ``packed`` holds V = pieces / 2 vectors of 32; vector k has the entries of the pieces k and
    k + V in turn. Written are the columns 16 * half up to 16 * half + 15, those below m, one
    vector after the other from ``lanes[start]``; lane t is tile t.
    """
    vector = Vector(packed.dtype)
    geometry = tile_shape(shape.n, shape.m)
    columns = min(shape.m - ROW * half.literal_value, ROW)

    def codegen(context, builder, signature, args):
        first = ir.Constant(context.get_value_type(types.intp), 0)
        source = address(context, builder, packed, [args[0], first], vector)
        values = [
            builder.load(_step(builder, source, k, vector), align=64)
            for k in range(geometry.pieces // 2)
        ]
        # With the numbers of vector and lane written in binary, one after the other, each pass
        # moves the first digit to the end.
        for _ in range(4):
            middle = len(values) // 2
            values = [
                builder.shuffle_vector(values[k], values[k + middle], _zip_mask(part))
                for k in range(middle)
                for part in (0, 1)
            ]
        target = address(context, builder, lanes, [args[1], args[2]], vector)
        for j in range(columns):
            builder.store(values[j], _step(builder, target, j, vector), align=64)
        return context.get_dummy_value()

    return types.void(packed, lanes, types.intp, shape, half), codegen


def _step(builder: Any, pointer: Any, k: int, vector: Vector) -> Any:
    kind = ir.VectorType(ir.IntType(vector.element.bitwidth), vector.lanes)
    return builder.gep(pointer, [_I64(k)], source_etype=kind)


def _zip_mask(part: int) -> ir.Constant:
    lanes = range(16 * part, 16 * part + 16)
    return ir.Constant(ir.VectorType(_I32, 32), [k for i in lanes for k in (i, 32 + i)])


def _ranked(context: Any, builder: Any, vector: Any, scores: Any, prices: Any, shape: Any) -> Any:
    """Pointers to scores, and prices -> the two vectors."""
    kind = context.get_value_type(vector)
    values = [
        _call(builder, f"llvm.ssub.sat.{_suffix(kind)}", kind, [builder.load(s, align=64), price])
        for s, price in zip(scores, prices, strict=True)
    ]
    network = selection(shape.m, shape.n)
    for larger, first, second in network.steps:
        name = "llvm.smax" if larger else "llvm.smin"
        pair = [values[first], values[second]]
        values.append(_call(builder, f"{name}.{_suffix(kind)}", kind, pair))
    answer = types.UniTuple(vector, 2)
    return context.make_tuple(builder, answer, [values[k] for k in network.outputs])


def _places(context: Any, builder: Any, lanes: Any, args: Any, vector: Any, count: int) -> Any:
    """Pointers to vectors at args[1], args[1] + args[2], ... of the array args[0]."""
    for k in range(count):
        place = builder.add(args[1], builder.mul(args[2], args[2].type(k)))
        yield address(context, builder, lanes, [args[0], place], vector)


@intrinsic
def ranked(typingctx, lanes, start, step, prices, shape):
    """The n-th and the (n+1)-th largest of m differences, lane by lane.

    The differences are ``lanes[start + k * step] - prices[k]`` for k < m, saturated, with k-th
    prices in an array.
    """
    vector = Vector(lanes.dtype)

    def codegen(context, builder, signature, args):
        scores = _places(context, builder, lanes, args, vector, shape.m)
        zero, one = (args[2].type(k) for k in (0, vector.lanes))
        memory = _places(context, builder, prices, [args[3], zero, one], vector, shape.m)
        loaded = [builder.load(p, align=64) for p in memory]
        return _ranked(context, builder, vector, list(scores), loaded, shape)

    return types.UniTuple(vector, 2)(lanes, types.intp, types.intp, prices, shape), codegen


@intrinsic
def ranked_four(typingctx, lanes, start, step, prices, shape):
    """:func:`ranked` for m = 4, with the prices in a tuple."""
    vector = Vector(lanes.dtype)

    def codegen(context, builder, signature, args):
        scores = _places(context, builder, lanes, args, vector, shape.m)
        given = [builder.extract_value(args[3], k) for k in range(shape.m)]
        return _ranked(context, builder, vector, list(scores), given, shape)

    return types.UniTuple(vector, 2)(lanes, types.intp, types.intp, prices, shape), codegen


@intrinsic
def store_words(typingctx, words, start, first, second, shape):
    """Write 16 bits a piece: those of its tiles together, or of its two halves in turn."""
    geometry = tile_shape(shape.n, shape.m)

    def codegen(context, builder, signature, args):
        pointer = address(context, builder, words, args, first)
        if geometry.halves == 2:
            for part in (0, 1):
                both = builder.shuffle_vector(args[2], args[3], _zip_mask(part))
                builder.store(both, _step(builder, pointer, part, first), align=64)
            return context.get_dummy_value()
        width = 16 * geometry.tiles
        value = builder.bitcast(args[2], ir.VectorType(ir.IntType(width), geometry.pieces))
        while width > 16:
            width //= 2
            value = builder.or_(value, builder.lshr(value, _constant(value.type, width)))
        if geometry.tiles > 1:
            value = builder.trunc(value, ir.VectorType(_I16, geometry.pieces))
        builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(words, types.intp, first, second, shape), codegen


@intrinsic
def store_mask(typingctx, mask, start, words, word):
    """Write the 64 bits at ``words[word]`` as 64 bytes."""

    def codegen(context, builder, signature, args):
        source = address(context, builder, words, args[2:], Vector(types.int16, 4))
        source = builder.bitcast(source, _I64.as_pointer())
        pattern = builder.bitcast(builder.load(source, align=2), ir.VectorType(_I1, 64))
        octets = builder.zext(pattern, ir.VectorType(_I8, 64))
        builder.store(octets, address(context, builder, mask, args, Vector(types.uint8)), align=1)
        return context.get_dummy_value()

    return types.void(mask, types.intp, words, types.intp), codegen


@intrinsic(prefer_literal=True)
def store_bits(typingctx, mask, start, bits, shape, half):
    """Write the bits of a word as bytes, as many as the tile, or half of it, has columns."""
    columns = min(ROW, shape.m - ROW * half.literal_value)
    if ROW % shape.m == 0:
        columns = ROW

    def codegen(context, builder, signature, args):
        pattern = builder.bitcast(args[2], ir.VectorType(_I1, ROW))
        octets = builder.zext(pattern, ir.VectorType(_I8, ROW))
        pointer = address(context, builder, mask, args, Vector(types.uint8, ROW))
        if columns == ROW:
            builder.store(octets, pointer, align=1)
            return context.get_dummy_value()
        wanted = ir.Constant(pattern.type, [j < columns for j in range(ROW)])
        name = f"llvm.masked.store.v{ROW}i8.p0"
        kind = ir.FunctionType(ir.VoidType(), [octets.type, pointer.type, _I32, wanted.type])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [octets, pointer, _I32(1), wanted])
        return context.get_dummy_value()

    return types.void(mask, types.intp, types.int16, shape, half), codegen


@intrinsic(prefer_literal=True)
def prefetch(typingctx, array, start, writing, shape):
    """Ask for the cache line of ``array[start]``; 1 to write it, 0 if not.

    A panel of small tiles fits the first cache level beside the one at work, others the second.
    """
    level = 3 if shape.m <= 8 else 2

    def codegen(context, builder, signature, args):
        byte = Vector(types.uint8, 1)
        pointer = builder.bitcast(
            address(context, builder, array, args, byte), ir.IntType(8).as_pointer()
        )
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, _I32(writing.literal_value), _I32(level), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, writing, shape), codegen
