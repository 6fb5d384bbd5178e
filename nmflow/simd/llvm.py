"""Small help for writing LLVM's vector instructions: constants, intrinsics, processors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def constant(kind: ir.VectorType, value: Any) -> ir.Constant:
    """The value in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def call(builder: Any, name: str, result: Any, args: Any) -> Any:
    """Call one of LLVM's intrinsic functions."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def suffix(kind: ir.VectorType) -> str:
    """How LLVM's names of intrinsic functions end for vectors of that kind of integers."""
    return f"v{kind.count}i{kind.element.width}"


def has_feature(context: Any, name: str) -> bool:
    """Whether the processor that is compiled for has a feature of LLVM's list."""
    return f"+{name}" in context.codegen().magic_tuple()[2].split(",")


def _register_bits(context: Any) -> int:
    return 512 if has_feature(context, "avx512bw") else 256 if has_feature(context, "avx2") else 128


def vector_registers(context: Any) -> int:
    """How many vector registers a processor has: 16 on x86 before AVX-512, else 32."""
    triple, _, _ = context.codegen().magic_tuple()
    few = triple.startswith(("x86", "i686")) and not has_feature(context, "avx512f")
    return 16 if few else 32


def bits_are_cheaper(context: Any) -> bool:
    """Whether an exclusive or of three vectors costs less than a minimum of two.

    With AVX-512 it is one instruction. Of Intel's units two have it and one compares. AMD's Zen
    5 was measured at four minima a cycle and 2.4 of those.
    """
    _, processor, _ = context.codegen().magic_tuple()
    return has_feature(context, "avx512bw") and not processor.startswith("znver")


def by_registers(
    context: Any, builder: Any, kind: ir.VectorType, emit: Callable[[Any, Any], Sequence[Any]]
) -> list[Any]:
    """Compute vectors wider than the processor's registers one register at a time.

    Long straight-line code on vectors of several registers keeps twice or four times as many values
    alive as it needs to, and spills most of them.

    Parameters
    ----------
    kind : ir.VectorType
        The whole vector.
    emit : function
        Of (part, load): computes with vectors of the narrower type ``part``. ``load`` takes a
        pointer to a whole vector and loads the part at hand.

    Returns
    -------
    list of whole vectors, one for each that ``emit`` returned
    """
    count = max(1, kind.count * kind.element.width // _register_bits(context))
    part = ir.VectorType(kind.element, kind.count // count)

    def load(index: int, pointer: Any) -> Any:
        place = builder.gep(
            builder.bitcast(pointer, part.as_pointer()), [I64(index)], source_etype=part
        )
        return builder.load(place, align=64 // count)

    results = []
    for index in range(count):
        found = emit(part, functools.partial(load, index))
        last = index == count - 1
        results.append(found if last else [_fenced(builder, value) for value in found])
    return [_joined(builder, list(parts)) for parts in zip(*results, strict=True)]


def _fenced(builder: Any, value: Any) -> Any:
    """The value behind an empty instruction that no load may be moved across.

    Without it LLVM begins the next part while it still holds all of this one, and spills most of
    both.
    """
    vector_register = {"x86_64": "v", "i686": "v", "aarch64": "w", "arm64": "w"}
    name = vector_register.get(builder.module.triple.split("-")[0])
    if name is None:
        return value
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", f"={name},0,~{{memory}}", [value], side_effect=True)


def _joined(builder: Any, parts: list[Any]) -> Any:
    while len(parts) > 1:
        lanes = ir.Constant(
            ir.VectorType(I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count))
        )
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(*pair, lanes) for pair in pairs]
    return parts[0]
