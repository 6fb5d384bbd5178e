"""Masks as bytes beside lanes of integers, and square blocks of lanes transposed in memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.llvm import I8, constant
from nmflow.simd.tile_shape import ROW, tile_shape
from nmflow.simd.transpose import transposed
from nmflow.simd.vectors import Vector, address


def _bytes_at(context: Any, builder: Any, kind: Any, args: Any) -> Any:
    return address(context, builder, kind, args, Vector(types.uint8, ROW))


@intrinsic
def load_marks(typingctx, array, start, lanes):
    """A vector as ``lanes``: -1 where one of 16 bytes from ``array[start]`` on is not 0."""

    def codegen(context, builder, signature, args):
        octets = builder.load(_bytes_at(context, builder, array, args[:2]), align=1)
        marked = builder.icmp_signed("!=", octets, constant(octets.type, 0))
        return builder.sext(marked, context.get_value_type(lanes))

    return lanes(array, types.intp, lanes), codegen


@intrinsic
def store_marks(typingctx, array, start, lanes, chosen):
    """Write 1 where a lane is not 0 and 0 elsewhere, to the bytes of chosen lanes alone."""

    def codegen(context, builder, signature, args):
        place = _bytes_at(context, builder, array, args[:2])
        marked, written = (
            builder.icmp_signed("!=", vector, constant(vector.type, 0)) for vector in args[2:]
        )
        octets = builder.zext(marked, ir.VectorType(I8, ROW))
        before = builder.load(place, align=1)
        builder.store(builder.select(written, octets, before), place, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, chosen), codegen


@intrinsic
def non_negative(typingctx, vector, lanes):
    """A vector as ``lanes``: -1 where a float is at least 0."""

    def codegen(context, builder, signature, args):
        kept = builder.fcmp_ordered(">=", args[0], constant(args[0].type, 0.0))
        return builder.sext(kept, context.get_value_type(lanes))

    return lanes(vector, lanes), codegen


@intrinsic
def load_strip_row(typingctx, array, start):
    """16 integers from ``array[start]`` on."""
    vector = Vector(array.dtype, ROW)

    def codegen(context, builder, signature, args):
        return builder.load(address(context, builder, array, args, vector), align=4)

    return vector(array, types.intp), codegen


@intrinsic
def transpose_tiles(typingctx, array, shape):
    """Transpose the tiles of a strip, rows of 16 at 16 * (halves * i + half); m a power of two."""
    geometry = tile_shape(shape.n, shape.m)
    vector = Vector(array.dtype, ROW)
    side, halves = min(geometry.m, ROW), geometry.halves

    def codegen(context, builder, signature, args):
        def place(row: int, half: int) -> Any:
            index = context.get_value_type(types.intp)((row * halves + half) * ROW)
            return address(context, builder, array, [args[0], index], vector)

        blocks = {}
        for down in range(halves):
            for across in range(halves):
                rows = [builder.load(place(down * ROW + i, across), align=64) for i in range(side)]
                blocks[across, down] = transposed(builder, rows)
        for (down, across), rows in blocks.items():
            for i, row in enumerate(rows):
                builder.store(row, place(down * ROW + i, across), align=64)
        return context.get_dummy_value()

    return types.void(array, shape), codegen
