"""A reader of the pickles in PyTorch's files that runs nothing of them.

What ``torch.load(weights_only=True)`` would build is noted down instead: dicts as pairs, tensors as
views of storages, all else as what it is made from. A name that could run code ends it, as do
operations that ``torch.save`` does not write. Nothing is hashed, compared or called, so that no
pickle can make that expensive either.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nmflow.checkpoint.formats.symbols import (
    DTYPES,
    STORAGES,
    PickleError,
    Symbol,
    plain_symbol,
)

# More than any model has; each holds some tens of bytes.
_OPERATIONS = 10_000_000
# An offset, and a size and a step for each of 32 axes, which is what numpy has.
_MOST_NUMBERS = 65


@dataclass(eq=False, slots=True)
class Pairs:
    """A dict, with its keys as they come."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Built:
    """Whatever else is built from plain data."""

    maker: Symbol
    arguments: Any


@dataclass(eq=False, slots=True)
class Storage:
    """Numbers in a row."""

    key: str
    dtype: str
    count: int


@dataclass(eq=False, slots=True)
class View:
    """A tensor: some of a storage's numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class Unpickled(NamedTuple):
    """What a pickle holds, and all views in it, wherever they are."""

    value: Any
    views: list[View]


def read_pickle(file: Any) -> Unpickled:
    """Read one pickle; afterwards the file stands behind it.

    Raises
    ------
    PickleError
        For whatever can't be read.
    """
    machine = _Machine()
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count > _OPERATIONS:
                raise PickleError("its pickle is longer than that of any model")
            machine.step(operation.name, argument)
        return Unpickled(machine.stack.pop(), machine.views)
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PickleError(f"its pickle is broken ({type(error).__name__}: {error})") from error
    except (struct.error, RecursionError) as error:
        raise PickleError("its pickle is broken") from error


_PUSHES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "STRING"),
    *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
    **{"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": Pairs, "EMPTY_TUPLE": tuple},
}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_MARK = object()


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.views: list[View] = []

    def step(self, name: str, argument: Any) -> None:
        """Do one operation."""
        stack = self.stack
        if name in _PUSHES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name not in _IGNORED:
            operation = getattr(self, f"do_{name.lower()}", None)
            if operation is None:
                raise PickleError(f"its pickle has an operation {name}, which weights don't need")
            operation(argument)

    def marked(self) -> list[Any]:
        """What is above the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise PickleError("its pickle is broken (no mark)")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def do_global(self, argument: str) -> None:
        """A name in one text."""
        module, _, name = argument.partition(" ")
        self.stack.append(plain_symbol(module, name))

    def do_stack_global(self, _: None) -> None:
        """A name in two."""
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(plain_symbol(module, name))

    def do_tuple(self, _: None) -> None:
        """All above the mark."""
        self.stack.append(tuple(self.marked()))

    def do_tuple1(self, _: None) -> None:
        """The last one."""
        self.stack[-1:] = [(self.stack[-1],)]

    def do_tuple2(self, _: None) -> None:
        """The last two."""
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def do_tuple3(self, _: None) -> None:
        """The last three."""
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def do_list(self, _: None) -> None:
        """All above the mark."""
        self.stack.append(self.marked())

    def do_dict(self, _: None) -> None:
        """All above the mark, in pairs."""
        self.stack.append(Pairs(_in_pairs(self.marked())))

    def do_append(self, _: None) -> None:
        """One more in a list."""
        value = self.stack.pop()
        _list(self.stack[-1]).append(value)

    def do_appends(self, _: None) -> None:
        """Some more in a list."""
        values = self.marked()
        _list(self.stack[-1]).extend(values)

    do_additems = do_appends

    def do_setitem(self, _: None) -> None:
        """One more in a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        _pairs(self.stack[-1]).items.append((key, value))

    def do_setitems(self, _: None) -> None:
        """Some more in a dict."""
        values = self.marked()
        _pairs(self.stack[-1]).items.extend(_in_pairs(values))

    def do_reduce(self, _: None) -> None:
        """What a name makes of arguments."""
        arguments, maker = self.stack.pop(), self.stack.pop()
        if not (isinstance(maker, Symbol) and isinstance(arguments, tuple)):
            raise PickleError("its pickle calls something that has no name")
        self.stack.append(self.built(maker, arguments))

    do_newobj = do_reduce

    def do_build(self, _: None) -> None:
        """Attributes, such as ``_metadata`` of a state dict: they stay as they are."""
        self.stack.pop()
        if not isinstance(self.stack[-1], Pairs | Built | View):
            raise PickleError("its pickle gives attributes to what has none")

    def do_binpersid(self, _: None) -> None:
        """A storage."""
        kind, maker, key, _place, count, *rest = self.stack.pop()
        if kind != "storage" or not isinstance(maker, Symbol) or any(x is not None for x in rest):
            raise PickleError("its pickle refers to something else than a storage")
        dtype = STORAGES.get(maker.name.removesuffix("Storage"), "")
        if not (isinstance(key, str) and isinstance(count, int) and count >= 0):
            raise PickleError("its pickle has a storage without a size")
        self.stack.append(Storage(key, dtype or f"torch.{maker.name}", count))

    def built(self, maker: Symbol, arguments: tuple[Any, ...]) -> Any:
        """The tensor or dict, where it is one."""
        name = maker.name
        if name == "_rebuild_from_type_v2":
            function, _, inner, _ = arguments
            if not (isinstance(function, Symbol) and isinstance(inner, tuple)):
                raise PickleError("its pickle calls something that has no name")
            return self.built(function, inner) if function != maker else Built(maker, arguments)
        if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return arguments[0]
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            storage, offset, shape, strides = arguments[:4]
            dtype = arguments[6] if name.endswith("v3") else None
            view = _view(storage, offset, shape, strides, dtype)
            self.views.append(view)
            return view
        if str(maker) in ("collections.OrderedDict", "collections.Counter"):
            return Pairs(_pairs(arguments[0]).items if arguments else [])
        return Built(maker, arguments)


def _view(storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any) -> View:
    shape, strides = tuple(_whole(shape)), tuple(_whole(strides))
    numbers = (*shape, *strides, *_whole((offset,)))
    fits = isinstance(storage, Storage) and len(numbers) == 1 + 2 * len(shape) <= _MOST_NUMBERS
    if not fits or not 0 <= min(numbers) <= max(numbers) < 1 << 63:
        raise PickleError("its pickle has a tensor without a shape or a storage")
    code = storage.dtype if dtype is None else DTYPES.get(dtype.name, str(dtype))
    return View(storage, offset, shape, strides, code)


def _whole(numbers: Any) -> Iterator[int]:
    for number in numbers.arguments[0] if isinstance(numbers, Built) else numbers:
        if type(number) is not int:
            raise PickleError(f"its pickle has a tensor of a size {type(number).__name__}")
        yield number


def _in_pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PickleError("its pickle appends to what is no list")
    return value


def _pairs(value: Any) -> Pairs:
    if not isinstance(value, Pairs):
        raise PickleError("its pickle puts keys into what is no dict")
    return value
