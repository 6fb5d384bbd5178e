"""The n-th and the (n+1)-th largest of m vectors, lane by lane, by a selection network."""

from __future__ import annotations

import functools
from typing import Any

from numba import types
from numba.extending import intrinsic

from nmflow.simd.llvm import bits_are_cheaper, by_registers, call, suffix, vector_registers
from nmflow.simd.selection_networks import selection
from nmflow.simd.vectors import Vector, address


def _ranked(
    context: Any, builder: Any, kind: Any, load: Any, scores: Any, potentials: Any, shape: Any
) -> list[Any]:
    """The network's two outputs, for the differences of what two lists of pointers point to."""
    # The second of a pair's extremes is what the first leaves of the two.
    by_rest = bits_are_cheaper(context)

    @functools.cache
    def value(k: int) -> Any:
        if k < shape.m:
            return builder.sub(load(scores[k]), load(potentials[k]))
        step = network.steps[k - shape.m]
        pair = [value(step.first), value(step.second)]
        opposite = number_of.get(step._replace(larger=not step.larger), k)
        if by_rest and opposite < k:
            return builder.xor(builder.xor(*pair), value(opposite))
        name = "llvm.smax" if step.larger else "llvm.smin"
        return call(builder, f"{name}.{suffix(kind)}", kind, pair)

    network = selection(shape.m, shape.n, vector_registers(context))
    number_of = {step: shape.m + k for k, step in enumerate(network.steps)}
    for k in number_of.values():
        value(k)
    return [value(k) for k in network.outputs]


def _pointers(context: Any, builder: Any, lanes: Any, args: Any, vector: Any, count: int) -> Any:
    """Pointers to vectors at args[1], args[1] + args[2], ... of the array args[0]."""
    for k in range(count):
        index = builder.add(args[1], builder.mul(args[2], args[2].type(k)))
        yield address(context, builder, lanes, [args[0], index], vector)


@intrinsic
def nth_and_next_largest(typingctx, lanes, start, step, potentials, shape):
    """The n-th and the (n+1)-th largest of m differences, lane by lane.

    Parameters
    ----------
    lanes : array
    start, step : int
        The k-th of m vectors begins at ``lanes[start + k * step]``.
    potentials : array
        Its k-th vector is subtracted from that one. A difference that is out of range wraps around.
    shape : TileShape
    """
    vector = Vector(lanes.dtype)

    def codegen(context, builder, signature, args):
        zero, one = (args[2].type(k) for k in (0, vector.lanes))
        scores = list(_pointers(context, builder, lanes, args, vector, shape.m))
        whole = [args[3], zero, one]
        pointers = list(_pointers(context, builder, potentials, whole, vector, shape.m))

        def emit(kind: Any, load: Any) -> list[Any]:
            return _ranked(context, builder, kind, load, scores, pointers, shape)

        found = by_registers(context, builder, context.get_value_type(vector), emit)
        return context.make_tuple(builder, types.UniTuple(vector, 2), found)

    return types.UniTuple(vector, 2)(lanes, types.intp, types.intp, potentials, shape), codegen
