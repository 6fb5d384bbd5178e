"""A line of one tile, a row or a column of it, as a vector of 8, 16 or 32 int32."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.llvm import I1, I32, I64, call, constant
from nmflow.simd.tile_shape import ROW, tile_shape
from nmflow.simd.transpose import transposed
from nmflow.simd.vectors import Vector, address


@intrinsic
def load_line(typingctx, array, start, shape):
    """The line that begins at ``array[start]``, with its padding."""
    vector = Vector(array.dtype, tile_shape(shape.n, shape.m).line)

    def codegen(context, builder, signature, args):
        return builder.load(address(context, builder, array, args, vector), align=4)

    return vector(array, types.intp, shape), codegen


@intrinsic
def padded(typingctx, line, value, shape):
    """The line with a number in the lanes that a tile of m does not have."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        number = context.cast(builder, args[1], value, line.element)
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        lanes = [k if k < shape.m else kind.count for k in range(kind.count)]
        return builder.shuffle_vector(args[0], single, ir.Constant(_lanes(kind.count), lanes))

    return line(line, value, shape), codegen


def _lanes(count: int) -> ir.VectorType:
    return ir.VectorType(I32, count)


@intrinsic
def transpose_square(typingctx, source, target, row, column, shape):
    """Copy a square at (row, column) of one tile to (column, row) of another.

    It has 8 x 8 entries, or 16 x 16 where a line has 16 or more.
    """
    pitch = tile_shape(shape.n, shape.m).line
    side = min(pitch, ROW)
    vector = Vector(source.dtype, side)

    def codegen(context, builder, signature, args):
        def place(array: int, kind: Any, first: Any, second: Any) -> Any:
            index = builder.add(builder.mul(first, first.type(pitch)), second)
            return address(context, builder, kind, [args[array], index], vector)

        def line(number: Any, k: int) -> Any:
            return builder.add(number, number.type(k))

        values = [
            builder.load(place(0, source, line(args[2], k), args[3]), align=4) for k in range(side)
        ]
        for k, value in enumerate(transposed(builder, values)):
            builder.store(value, place(1, target, line(args[3], k), args[2]), align=4)
        return context.get_dummy_value()

    return types.void(source, target, types.intp, types.intp, shape), codegen


@intrinsic
def negative_lanes(typingctx, vector):
    """A bit for each lane that is negative."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        bits = builder.icmp_signed("<", args[0], constant(kind, 0))
        return builder.zext(builder.bitcast(bits, ir.IntType(kind.count)), I64)

    return types.int64(vector), codegen


@intrinsic
def first_one(typingctx, bits):
    """The number of the lowest bit that is set; 64 if none is."""

    def codegen(context, builder, signature, args):
        return call(builder, "llvm.cttz.i64", I64, [args[0], I1(0)])

    return types.int64(types.int64), codegen
