"""The n-th and the next largest of m vectors, lane by lane."""

from __future__ import annotations

import functools
from typing import Any

from numba import types
from numba.extending import intrinsic

from nmflow.networks import selection
from nmflow.simd.emit import by_registers, call, suffix
from nmflow.simd.vectors import Vector, address


def _ranked(builder: Any, kind: Any, load: Any, scores: Any, prices: Any, shape: Any) -> list[Any]:
    """Of the differences of what two lists of pointers point to."""

    @functools.cache
    def value(k: int) -> Any:
        if k < shape.m:
            pair = [load(scores[k]), load(prices[k])]
            return call(builder, f"llvm.ssub.sat.{suffix(kind)}", kind, pair)
        larger, first, second = network.steps[k - shape.m]
        name = "llvm.smax" if larger else "llvm.smin"
        return call(builder, f"{name}.{suffix(kind)}", kind, [value(first), value(second)])

    network = selection(shape.m, shape.n)
    for k in range(len(network.steps)):
        value(shape.m + k)
    return [value(k) for k in network.outputs]


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
        zero, one = (args[2].type(k) for k in (0, vector.lanes))
        scores = list(_places(context, builder, lanes, args, vector, shape.m))
        memory = [args[3], zero, one]
        costs = list(_places(context, builder, prices, memory, vector, shape.m))

        def emit(kind: Any, load: Any) -> list[Any]:
            return _ranked(builder, kind, load, scores, costs, shape)

        found = by_registers(context, builder, context.get_value_type(vector), emit)
        return context.make_tuple(builder, types.UniTuple(vector, 2), found)

    return types.UniTuple(vector, 2)(lanes, types.intp, types.intp, prices, shape), codegen
