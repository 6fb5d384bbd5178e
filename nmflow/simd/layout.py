"""Between matrix rows and lanes: transposing strips, and mask bits to bytes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nmflow.simd.llvm import I1, I8, I16, I32, I64, constant
from nmflow.simd.tile_shape import LANES, ROW, tile_shape
from nmflow.simd.transpose import transposed
from nmflow.simd.vectors import Vector, address


@intrinsic
def pack_pairs(typingctx, first, second):
    """Low halves of two int32 vectors in turn: first[0], second[0], first[1], second[1], ..."""
    answer = Vector(types.int16, 2 * first.lanes)

    def codegen(context, builder, signature, args):
        kind = args[0].type
        low = builder.and_(args[0], constant(kind, 0xFFFF))
        high = builder.shl(args[1], constant(kind, 16))
        return builder.bitcast(builder.or_(low, high), context.get_value_type(answer))

    return answer(first, second), codegen


@intrinsic
def broadcast_to_columns(typingctx, array, start, shape):
    """16 lanes: the tiles' numbers at ``array[start]``, each for all columns of its tile."""
    geometry = tile_shape(shape.n, shape.m)
    answer = Vector(array.dtype, ROW)

    def codegen(context, builder, signature, args):
        few = Vector(array.dtype, geometry.tiles)
        numbers = builder.load(address(context, builder, array, args, few), align=4)
        columns = [lane // (ROW // geometry.tiles) for lane in range(ROW)]
        mask = ir.Constant(ir.VectorType(I32, ROW), columns)
        return builder.shuffle_vector(numbers, numbers, mask)

    return answer(array, types.intp, shape), codegen


def _order(geometry: Any, by_rows: bool, half: int) -> list[tuple[int, int]]:
    """For 16 potentials of a strip, which (line, tile) each belongs to.

    Those of each row the tiles' in turn, or of each tile the columns'; fewer than 16 where m has
    fewer.
    """
    places = [divmod(k, geometry.tiles) for k in range(geometry.m * geometry.tiles)]
    if not by_rows:
        places = [divmod(k, geometry.m)[::-1] for k in range(geometry.m * geometry.tiles)]
    return places[half * ROW : (half + 1) * ROW]


@intrinsic(prefer_literal=True)
def gather_potentials(typingctx, array, slot, by_rows, half, shape):
    """16 potentials of a strip, from vectors of all lanes for each line of a tile, as int32.

    Parameters
    ----------
    array : (m * 32,) int16
        Line i of the tile in a lane at 32 * i + lane.
    slot : int
        The strip's number in its batch.
    by_rows : literal bool
        Of each row the tiles' in turn; or of each tile the columns'.
    half : literal int
        Which 16, where m > 16. Zeros where m has no more.
    """
    geometry = tile_shape(shape.n, shape.m)
    answer = Vector(types.int32, ROW)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(answer)
        single = Vector(array.dtype, 1)
        numbers = ir.Constant(ir.VectorType(I16, ROW), [0] * ROW)
        places = _order(geometry, by_rows.literal_value, half.literal_value)
        for k, (line, tile) in enumerate(places):
            index = builder.add(args[1], args[1].type(line * LANES + tile * geometry.strips))
            pointer = address(context, builder, array, [args[0], index], single)
            number = builder.load(builder.bitcast(pointer, I16.as_pointer()), align=2)
            numbers = builder.insert_element(numbers, number, I32(k))
        return builder.sext(numbers, kind)

    return answer(array, types.intp, by_rows, half, shape), codegen


@intrinsic
def tile_totals(typingctx, numbers, shape):
    """16 numbers, one a column: each tile's sum in all of its lanes."""
    width = min(shape.m, ROW) if ROW % shape.m == 0 else ROW

    def codegen(context, builder, signature, args):
        total, step = args[0], 1
        while step < width:
            other = ir.Constant(ir.VectorType(I32, ROW), [lane ^ step for lane in range(ROW)])
            total = builder.add(total, builder.shuffle_vector(total, total, other))
            step *= 2
        return total

    return numbers(numbers, shape), codegen


@intrinsic
def as_rows(typingctx, numbers, shape):
    """Numbers that are alike in all columns of a tile, in the order of the potentials of rows."""
    geometry = tile_shape(shape.n, shape.m)
    source = [lane % geometry.tiles * (ROW // geometry.tiles) for lane in range(ROW)]

    def codegen(context, builder, signature, args):
        lanes = ir.Constant(ir.VectorType(I32, ROW), source)
        return builder.shuffle_vector(args[0], args[0], lanes)

    return numbers(numbers, shape), codegen


@intrinsic(prefer_literal=True)
def transpose_store(typingctx, packed, lanes, start, shape, half):
    """Transpose rows of packed pairs into lanes: one vector a column, one lane a tile.

    ``packed`` holds strips / 2 vectors of 32; vector k has the entries of the strips 2 k and
    2 k + 1 in turn. Written are the columns 16 * half up to 16 * half + 15, those below m, one
    vector after the other from ``lanes[start]``; the tiles of the strips lie in lanes as
    :class:`nmflow.simd.tile_shape.TileShape` says.
    """
    pairs = Vector(types.int32)
    geometry = tile_shape(shape.n, shape.m)
    columns = min(shape.m - ROW * half.literal_value, ROW)

    def codegen(context, builder, signature, args):
        first = ir.Constant(context.get_value_type(types.intp), 0)
        source = address(context, builder, packed, [args[0], first], pairs)
        values = [
            builder.load(_step(builder, source, k, pairs), align=64)
            for k in range(geometry.strips // 2)
        ]
        target = address(context, builder, lanes, [args[1], args[2]], pairs)
        for j, value in enumerate(transposed(builder, values)[:columns]):
            builder.store(value, _step(builder, target, j, pairs), align=64)
        return context.get_dummy_value()

    return types.void(packed, lanes, types.intp, shape, half), codegen


def _step(builder: Any, pointer: Any, k: int, vector: Vector) -> Any:
    kind = ir.VectorType(ir.IntType(vector.element.bitwidth), vector.lanes)
    return builder.gep(pointer, [I64(k)], source_etype=kind)


def _zip_mask(part: int) -> ir.Constant:
    lanes = range(16 * part, 16 * part + 16)
    return ir.Constant(ir.VectorType(I32, 32), [k for i in lanes for k in (i, 32 + i)])


def _part(builder: Any, value: Any, half: int) -> Any:
    count = value.type.count // 2
    lanes = list(range(half * count, half * count + count))
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, count), lanes))


@intrinsic
def store_words(typingctx, words, start, first, second, shape):
    """Write a mask word of 16 bits for each strip, or two where m > 16.

    Parameters
    ----------
    words : int16 array, written from ``start`` on
    first, second : vectors of int16
        For each tile the bits of its first 16 columns, in their place in the strip, and of the
        others.
    """
    geometry = tile_shape(shape.n, shape.m)

    def codegen(context, builder, signature, args):
        pointer = address(context, builder, words, args, first)
        if geometry.halves == 2:
            for part in (0, 1):
                both = builder.shuffle_vector(args[2], args[3], _zip_mask(part))
                builder.store(both, _step(builder, pointer, part, first), align=64)
            return context.get_dummy_value()
        value = args[2]
        while value.type.count > geometry.strips:
            value = builder.or_(*(_part(builder, value, half) for half in (0, 1)))
        builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(words, types.intp, first, second, shape), codegen


@intrinsic
def store_mask(typingctx, mask, start, words, word):
    """Write the 64 bits at ``words[word]`` as 64 bytes of 0 or 1."""

    def codegen(context, builder, signature, args):
        source = address(context, builder, words, args[2:], Vector(types.int16, 4))
        source = builder.bitcast(source, I64.as_pointer())
        pattern = builder.bitcast(builder.load(source, align=2), ir.VectorType(I1, 64))
        octets = builder.zext(pattern, ir.VectorType(I8, 64))
        builder.store(octets, address(context, builder, mask, args, Vector(types.uint8)), align=1)
        return context.get_dummy_value()

    return types.void(mask, types.intp, words, types.intp), codegen


@intrinsic(prefer_literal=True)
def store_bits(typingctx, mask, start, bits, shape, half):
    """Write the bits of a word as bytes, as many as the strip, or its half, has columns."""
    columns = min(ROW, shape.m - ROW * half.literal_value)
    if ROW % shape.m == 0:
        columns = ROW

    def codegen(context, builder, signature, args):
        pattern = builder.bitcast(args[2], ir.VectorType(I1, ROW))
        octets = builder.zext(pattern, ir.VectorType(I8, ROW))
        pointer = address(context, builder, mask, args, Vector(types.uint8, ROW))
        if columns == ROW:
            builder.store(octets, pointer, align=1)
            return context.get_dummy_value()
        first = 0
        for width in (8, 4, 2, 1):
            if columns & width:
                some = ir.Constant(ir.VectorType(I32, width), list(range(first, first + width)))
                part = builder.shuffle_vector(octets, octets, some)
                place = builder.gep(pointer, [I64(first)], source_etype=I8)
                builder.store(part, builder.bitcast(place, part.type.as_pointer()), align=1)
                first += width
        return context.get_dummy_value()

    return types.void(mask, types.intp, types.int16, shape, half), codegen


@intrinsic(prefer_literal=True)
def prefetch(typingctx, array, start, writing, shape):
    """Prefetch the cache line of ``array[start]``; ``writing`` is 1 to write it, 0 to read it.

    A batch of small tiles fits the first cache level beside the one at work, others the second.
    """
    level = 3 if shape.m <= 8 else 2

    def codegen(context, builder, signature, args):
        byte = Vector(types.uint8, 1)
        pointer = builder.bitcast(
            address(context, builder, array, args, byte), ir.IntType(8).as_pointer()
        )
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, I32(writing.literal_value), I32(level), I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, writing, shape), codegen
