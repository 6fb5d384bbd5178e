"""A line of a tile, one row or column of it, as a vector of 32-bit integers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.emit import I1, I64, call, constant
from nmflow.simd.static import tile_shape
from nmflow.simd.vectors import Vector, address


@intrinsic
def load_line(typingctx, array, start, shape):
    """The line that begins at ``array[start]``."""
    vector = Vector(array.dtype, tile_shape(shape.n, shape.m).line)

    def codegen(context, builder, signature, args):
        return builder.load(address(context, builder, array, args, vector), align=4)

    return vector(array, types.intp, shape), codegen


@intrinsic
def negative_lanes(typingctx, vector):
    """A bit for each lane that is below zero."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        bits = builder.icmp_signed("<", args[0], constant(kind, 0))
        return builder.zext(builder.bitcast(bits, ir.IntType(kind.count)), I64)

    return types.int64(vector), codegen


@intrinsic
def first_one(typingctx, bits):
    """The place of the lowest bit that is set; 64 if none is."""

    def codegen(context, builder, signature, args):
        return call(builder, "llvm.cttz.i64", I64, [args[0], I1(0)])

    return types.int64(types.int64), codegen
