"""Addresses in kernels: other kernels, compiled only when they are met, and foreign memory."""

from __future__ import annotations

from typing import Any

from numba import typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

from nmflow.compiling.cache import KernelCache


def address_of(kernel: Any, args: tuple[Any, ...]) -> int:
    """The address of a kernel's machine code for arguments of these types; compiles it if needed.

    A type of numba's stands for an argument of that type. The address stays valid as long as the
    process.
    """
    kinds = _kinds_of(args)
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


def is_at_hand(kernel: Any, args: tuple[Any, ...]) -> bool:
    """Whether nothing needs to be compiled for arguments of these types."""
    kinds = _kinds_of(args)
    if kinds in kernel.overloads:
        return True
    cache = kernel._cache
    return isinstance(cache, KernelCache) and cache.holds(kinds, kernel.targetctx)


def _kinds_of(args: tuple[Any, ...]) -> tuple[types.Type, ...]:
    return tuple(arg if isinstance(arg, types.Type) else typeof(arg) for arg in args)


@intrinsic
def pointer_to(typingctx, address, like):
    """The address as a pointer to scalars of another's type."""
    pointer = types.CPointer(like)

    def codegen(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(pointer))

    return pointer(types.intp, like), codegen


@intrinsic
def call_at(typingctx, address, args):
    """Call the kernel at an address, which returns nothing, with a tuple of arguments."""

    def codegen(context, builder, signature, values):
        kinds = signature.args[1].types
        convention = context.call_conv
        function = convention.get_function_type(types.none, kinds)
        pointer = builder.inttoptr(values[0], function.as_pointer())
        unpacked = cgutils.unpack_tuple(builder, values[1])
        convention.call_function(builder, pointer, types.none, kinds, unpacked)
        return context.get_dummy_value()

    return types.none(types.intp, args), codegen
