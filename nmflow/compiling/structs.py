"""Named arrays that a kernel takes as one pointer.

numba takes a named tuple apart at each call, into seven numbers for each array, and puts it
together again in the function: scratch memory of forty arrays made more than half of all the code
that it had to read and optimise. A :class:`Struct` is one pointer, to a table of addresses and
lengths, from which a kernel loads what it uses.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import operator
from typing import Any, dataclass_transform

import numpy as np
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.pythonapi import NativeValue
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)
from numba.np.arrayobj import populate_array


class Pointer(types.CPointer):
    """The type of an array of which kernels know where it begins and nothing else."""


register_model(Pointer)(models.PointerModel)


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _lower_getitem(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    pointer, index = args
    return context.unpack_value(builder, signature.return_type, builder.gep(pointer, [index]))


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Any)
def _lower_setitem(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    pointer, index, value = args
    kind = signature.args[0].dtype
    context.pack_value(builder, kind, value, builder.gep(pointer, [index]))
    return context.get_dummy_value()


class StructType(types.Type):
    """The type of a :class:`Struct`: its class's name, and the types of its fields."""

    def __init__(self, name: str, fields: dict[str, types.Type]) -> None:
        self.fields = fields
        # The name becomes part of each function's.
        digest = hashlib.sha256(repr(fields).encode()).hexdigest()[:12]
        super().__init__(name=f"{name}({digest})")
        ends = itertools.accumulate(1 + _dimensions(kind) for kind in fields.values())
        self.places = dict(zip(fields, itertools.chain((0,), ends), strict=False))
        """Where in the table a field begins: of an array its address, and then its shape."""


def _dimensions(kind: types.Type) -> int:
    return 1 if isinstance(kind, Pointer) else getattr(kind, "ndim", 0)


@dataclass_transform(frozen_default=True)
class Struct:
    """Base of classes whose annotated fields kernels may read.

    A field is a C-contiguous array that kernels may write to, an int, or a Struct. To the
    interpreter it is an ordinary frozen dataclass. With ``pointers`` kernels see arrays of one
    dimension as pointers: they know no size and no index from the end, and compile in half the
    time.
    """

    _pointers = False

    def __init_subclass__(cls, pointers: bool = False) -> None:
        cls._pointers = pointers
        dataclasses.dataclass(frozen=True, eq=False)(cls)

    def __post_init__(self) -> None:
        table: list[int] = []
        kinds: list[Any] = []
        for name in self._names():
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                assert value.flags.writeable
                kinds.append((value.dtype, value.ndim))
                table += value.ctypes.data, *value.shape
            elif isinstance(value, Struct):
                kinds.append(value._numba_type_)
                table.append(value._address)
            else:
                kinds.append(None)
                table.append(value)
        memory = np.array(table, np.int64)
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "_address", memory.ctypes.data)
        kind = _type_of(type(self), tuple(kinds))  # type: ignore[arg-type]
        object.__setattr__(self, "_numba_type_", kind)

    @classmethod
    @functools.cache
    def _names(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        values = (getattr(self, name) for name in self._names())
        return sum(value.nbytes for value in values if isinstance(value, np.ndarray | Struct))

    def __reduce__(self) -> Any:
        # The table of a copy must hold the copy's addresses.
        return type(self), tuple(getattr(self, name) for name in self._names())

    def type_of(self, name: str) -> types.Type:
        """What a field is to kernels."""
        return self._numba_type_.fields[name]

    def update(self, **numbers: int) -> None:
        """Set fields that are ints, while no kernel runs with the struct."""
        for name, value in numbers.items():
            object.__setattr__(self, name, value)
            self._memory[self._numba_type_.places[name]] = value

    _memory: np.ndarray
    _address: int
    _numba_type_: StructType


@functools.cache
def _type_of(cls: type[Struct], kinds: tuple[Any, ...]) -> StructType:
    """The type of a struct whose fields are arrays (dtype, ndim), structs, or None for an int."""
    fields = {}
    for name, kind in zip(cls._names(), kinds, strict=True):
        if kind is None:
            fields[name] = types.int64
        elif isinstance(kind, StructType):
            fields[name] = kind
        elif cls._pointers and kind[1] == 1:
            fields[name] = Pointer(from_dtype(kind[0]))
        else:
            fields[name] = types.Array(from_dtype(kind[0]), kind[1], "C")
    return StructType(cls.__name__, fields)


@register_model(StructType)
class _StructModel(models.OpaqueModel):
    """A pointer to the table."""


@unbox(StructType)
def _unbox(kind: Any, value: Any, context: Any) -> NativeValue:
    address = context.pyapi.object_getattr_string(value, "_address")
    pointer = context.pyapi.long_as_voidptr(address)
    context.pyapi.decref(address)
    return NativeValue(
        pointer, is_error=cgutils.is_not_null(context.builder, context.pyapi.err_occurred())
    )


@infer_getattr
class _StructAttributes(AttributeTemplate):
    key = StructType

    def generic_resolve(self, value: StructType, attr: str) -> Any:
        return value.fields.get(attr)


def _load(context: Any, builder: Any, struct: Any, place: int, kind: Any) -> Any:
    """What stands in the table, as that LLVM type."""
    word = context.get_value_type(types.int64)
    table = builder.bitcast(struct, word.as_pointer())
    address = builder.gep(table, [word(place)], source_etype=word)
    # As a pointer where it is one: LLVM trusts a number that becomes a pointer less.
    loaded = builder.load(builder.bitcast(address, kind.as_pointer()), typ=kind)
    # The table never changes while a kernel runs, whatever it writes.
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


@lower_getattr_generic(StructType)
def _lower_attribute(context: Any, builder: Any, kind: StructType, value: Any, attr: str) -> Any:
    field, place = kind.fields[attr], kind.places[attr]
    if not isinstance(field, types.Array):
        # Numbers, structs and pointers.
        return _load(context, builder, value, place, context.get_value_type(field))
    word = context.get_value_type(types.int64)
    array = context.make_array(field)(context, builder)
    data = _load(context, builder, value, place, array.data.type)
    size = context.get_abi_sizeof(context.get_data_type(field.dtype))
    shape = [_load(context, builder, value, place + 1 + axis, word) for axis in range(field.ndim)]
    strides = [word(size)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(array, data, shape, strides, size, None)
    return array._getvalue()
