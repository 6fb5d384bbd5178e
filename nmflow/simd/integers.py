"""Integer vectors: saturating differences, comparisons, reductions."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.llvm import I32, call, constant, suffix
from nmflow.simd.vectors import Vector


@intrinsic
def subtract_saturating(typingctx, x, y):
    """The difference, or the int nearest to it."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        return call(builder, f"llvm.ssub.sat.{suffix(kind)}", kind, args)

    return x(x, x), codegen


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
    """Lanes of x where the condition is not 0, else of y."""

    def codegen(context, builder, signature, args):
        bits = builder.icmp_signed("!=", args[0], constant(args[0].type, 0))
        return builder.select(bits, args[1], args[2])

    return x(condition, x, x), codegen


@intrinsic
def like(typingctx, vector, value):
    """A number in every lane of a vector of the same type."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        number = context.cast(builder, args[1], value, vector.element)
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        spread = constant(ir.VectorType(I32, kind.count), 0)
        return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), spread)

    return vector(vector, value), codegen


@intrinsic
def ones_count(typingctx, vector):
    """How many bits of each lane are set."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        return call(builder, f"llvm.ctpop.{suffix(kind)}", kind, args)

    return vector(vector), codegen


@intrinsic
def bit_count(typingctx, word):
    """How many bits of a number are set."""

    def codegen(context, builder, signature, args):
        count = call(builder, f"llvm.ctpop.i{word.bitwidth}", args[0].type, args)
        return context.cast(builder, count, word, types.intp)

    return types.intp(word), codegen


def _reduction(name: str) -> Any:
    @intrinsic
    def emit(typingctx, vector):
        def codegen(context, builder, signature, args):
            kind = args[0].type
            return call(builder, f"llvm.vector.reduce.{name}.{suffix(kind)}", kind.element, args)

        return vector.element(vector), codegen

    return emit


largest_lane = _reduction("smax")
smallest_lane = _reduction("smin")
any_bits = _reduction("or")
