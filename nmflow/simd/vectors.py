"""512-bit vectors for numba kernels: one tile a lane.

numba has no vector type, and LLVM's loop vectoriser guards every short loop over lanes with
overlap checks that cost more than the work.  Here a ``Vector`` is an LLVM vector value: kernels
load it from a flat contiguous array, compute with ``+ - * / & | ^ << >>``, ``minimum`` and
``maximum``, and store it; LLVM lowers it to whatever registers the processor has.  Lanes never
meet, so what a lane computes does not depend on its neighbours, and without fast-math flags
every operation rounds alike on every machine.

With ``NUMBA_DISABLE_JIT=1`` the same names are numpy functions on short arrays.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

VECTOR_BYTES = 64

if config.DISABLE_JIT:

    def load(array: np.ndarray, start: int) -> np.ndarray:
        """Return the vector that begins at ``array[start]``."""
        return array[start : start + VECTOR_BYTES // array.itemsize].copy()

    def store(array: np.ndarray, start: int, value: np.ndarray) -> None:
        """Write a vector to ``array[start:]``."""
        array[start : start + value.size] = value

    def splat(array: np.ndarray, value: Any) -> np.ndarray:
        """Return a vector of ``array``'s kind with ``value`` in every lane."""
        return np.full(VECTOR_BYTES // array.itemsize, value, array.dtype)

    minimum = np.minimum
    maximum = np.maximum

    def highest(vector: np.ndarray) -> Any:
        """Return the largest lane."""
        return vector.max()

else:

    class Vector(types.Type):
        """Lanes of one numba scalar type, by default as many as fill ``VECTOR_BYTES``."""

        def __init__(self, element: types.Number, lanes: int = 0) -> None:
            self.element = element
            self.lanes = lanes or VECTOR_BYTES * 8 // element.bitwidth
            super().__init__(name=f"Vector({element}, {self.lanes})")

    @register_model(Vector)
    class _VectorModel(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Vector) -> None:
            element = manager.lookup(kind.element).get_value_type()
            super().__init__(manager, kind, ir.VectorType(element, kind.lanes))

    def address(context: Any, builder: Any, kind: Any, args: Any, vector: Vector) -> Any:
        """A pointer to a vector at ``args[0][args[1]]``, for an array or pointer of that kind."""
        first = args[0]
        if isinstance(kind, types.Array):
            first = context.make_array(kind)(context, builder, first).data
        element = builder.gep(first, [args[1]])
        return builder.bitcast(element, context.get_value_type(vector).as_pointer())

    @intrinsic
    def load(typingctx, array, start):
        """Return the vector that begins at ``array[start]``."""
        vector = Vector(array.dtype)

        def codegen(context, builder, signature, args):
            pointer = address(context, builder, array, args, vector)
            return builder.load(pointer, align=array.dtype.bitwidth // 8)

        return vector(array, types.intp), codegen

    @intrinsic
    def store(typingctx, array, start, value):
        """Write a vector to ``array[start:]``."""

        def codegen(context, builder, signature, args):
            pointer = address(context, builder, array, args, value)
            builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, value), codegen

    @intrinsic
    def splat(typingctx, array, value):
        """Return a vector of ``array``'s kind with ``value`` in every lane."""
        vector = Vector(array.dtype)

        def codegen(context, builder, signature, args):
            kind = context.get_value_type(vector)
            first = ir.Constant(ir.IntType(32), 0)
            single = builder.insert_element(ir.Constant(kind, ir.Undefined), args[1], first)
            spread = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
            return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), spread)

        return vector(array, array.dtype), codegen

    def _extreme(comparison: str) -> Any:
        @intrinsic
        def choose(typingctx, x, y):
            def codegen(context, builder, signature, args):
                if isinstance(x.element, types.Float):
                    first = builder.fcmp_ordered(comparison, *args)
                else:
                    first = builder.icmp_signed(comparison, *args)
                return builder.select(first, *args)

            return x(x, x), codegen

        return choose

    minimum = _extreme("<")
    maximum = _extreme(">")

    @intrinsic
    def highest(typingctx, vector):
        """Return the largest lane."""

        def codegen(context, builder, signature, args):
            kind = args[0].type
            name = f"llvm.vector.reduce.fmax.v{kind.count}f{vector.element.bitwidth}"
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind.element, [kind]), name
            )
            # Scores are finite or infinite, never NaN: the flag spares LLVM a guarded reduction.
            return builder.call(function, args, fastmath=("nnan",))

        return vector.element(vector), codegen

    def _operator(function: Any, floating: str | None, integer: str | None) -> None:
        # Typed and lowered by hand: an overload would be a function to compile for each kind.
        @infer_global(function)
        class _Operator(AbstractTemplate):  # type: ignore[misc]
            def generic(self, args: Any, _: Any) -> Any:
                x, y = args
                return signature(x, x, x) if isinstance(x, Vector) and x == y else None

        @lower_builtin(function, Vector, Vector)
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.return_type.element
            return getattr(builder, floating if isinstance(kind, types.Float) else integer)(*args)

    _operator(operator.add, "fadd", "add")
    _operator(operator.sub, "fsub", "sub")
    _operator(operator.mul, "fmul", "mul")
    _operator(operator.truediv, "fdiv", None)
    _operator(operator.floordiv, None, "sdiv")
    _operator(operator.and_, None, "and_")
    _operator(operator.or_, None, "or_")
    _operator(operator.xor, None, "xor")
    _operator(operator.lshift, None, "shl")
    _operator(operator.rshift, None, "ashr")
