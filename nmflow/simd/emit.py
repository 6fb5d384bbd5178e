"""Small help for writing LLVM's vector instructions."""

from __future__ import annotations

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
