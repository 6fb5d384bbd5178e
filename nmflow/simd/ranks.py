"""The n-th and the next largest of m vectors, lane by lane."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from nmflow.networks import selection
from nmflow.simd.emit import call, suffix
from nmflow.simd.vectors import Vector, address


def _ranked(context: Any, builder: Any, vector: Any, scores: Any, prices: Any, shape: Any) -> Any:
    """Pointers to scores, and prices -> the two vectors."""
    kind = context.get_value_type(vector)
    values = [
        call(builder, f"llvm.ssub.sat.{suffix(kind)}", kind, [builder.load(s, align=64), price])
        for s, price in zip(scores, prices, strict=True)
    ]
    network = selection(shape.m, shape.n)
    for larger, first, second in network.steps:
        name = "llvm.smax" if larger else "llvm.smin"
        pair = [values[first], values[second]]
        values.append(call(builder, f"{name}.{suffix(kind)}", kind, pair))
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
