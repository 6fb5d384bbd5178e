"""What ``torch.save`` wrote: where the tensors are in the file.

Two formats. Since PyTorch 1.6 a zip archive, stored without compression: ``data.pkl`` is the pickle
of the object, and ``data/KEY`` the bytes of each storage. Before: four pickles (a magic number, the
protocol, the machine, the object), a fifth with the storages' keys, then each of them, as its
length and its bytes. In both a tensor is a span of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nmflow.checkpoint.formats.archive import Archive, read_archive
from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.checkpoint.formats.model import Seal, Shard
from nmflow.checkpoint.formats.pickled import (
    Pairs,
    Storage,
    Unpickled,
    View,
    read_pickle,
)
from nmflow.checkpoint.formats.symbols import ITEM_BYTES
from nmflow.checkpoint.formats.tensor import Tensor
from nmflow.errors import NmflowError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ZIP = b"PK\x03\x04"

# Where the bytes of each storage begin, by its key.
_Starts = Mapping[str, int]


def read_torch_file(path: Path, index: int = 0) -> Shard:
    """Find the tensors of a file without loading any of them, and without PyTorch.

    Parameters
    ----------
    path : Path
    index : int
        Which of the model's files it is.

    Raises
    ------
    NmflowError
        If it cannot be read, is no file of ``torch.save``, or holds what
        ``torch.load(weights_only=True)`` would refuse.
    """
    with reading(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            if file.read(4) == _ZIP:
                found, starts, seals = _in_archive(read_archive(file))
            else:
                file.seek(0)
                found, starts, seals = *_in_pickles(_Bounded(file, size), size), ()
            tensors = _tensors(found, starts, index)
        except ValueError as error:
            raise NmflowError(
                f"cannot read {path}: no file of PyTorch's weights: {error}"
            ) from error
    return Shard(path, size, tensors, seals)


class _Bounded:
    """A file that is never asked for more than there is: room is made before anything is read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def read(self, count: int) -> bytes:
        return self.file.read(max(0, min(count, self.size - self.file.tell())))

    def readline(self) -> bytes:
        return self.file.readline(1 << 20)


def _in_archive(archive: Archive) -> tuple[Unpickled, _Starts, tuple[Seal, ...]]:
    """Of the zip format."""
    found = read_pickle(archive.pickle)
    starts: dict[str, int] = {}
    seals = []
    for storage in _storages(found):
        record = archive.records.get(storage.key)
        if record is None:
            raise ValueError(f"it lacks the record data/{storage.key[:50]}")
        if record.stop - record.start < _bytes_of(storage):
            raise ValueError(f"the record data/{storage.key[:50]} is shorter than its storage")
        if storage.key not in starts:
            starts[storage.key] = record.start
            seals.append(record)
    return found, starts, tuple(sorted(seals, key=lambda seal: seal.start))


def _in_pickles(file: _Bounded, size: int) -> tuple[Unpickled, _Starts]:
    """Of the old format."""
    if read_pickle(file).value != _MAGIC:
        raise ValueError("it begins neither as a zip archive nor with PyTorch's number")
    if read_pickle(file).value != _PROTOCOL:
        raise ValueError("it is of an unknown version")
    machine = read_pickle(file).value
    if not isinstance(machine, Pairs) or ("little_endian", True) not in _plain(machine):
        raise ValueError("it was written on a big-endian machine")
    found, keys = read_pickle(file), read_pickle(file).value
    wanted = {storage.key: storage for storage in _storages(found)}
    texts = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not texts or set(keys) != set(wanted) or len(keys) != len(wanted):
        raise ValueError("its list of storages is not that of its tensors")
    starts: dict[str, int] = {}
    position = file.file.tell()
    for key in keys:
        file.file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        starts[key] = position + 8
        position = starts[key] + _bytes_of(wanted[key])
        if count != wanted[key].count or position > size:
            raise ValueError(f"the storage {key[:50]} is not as long as it should be")
    if position != size:
        raise ValueError(f"{size - position} bytes follow its last storage")
    return found, starts


def _plain(pairs: Pairs) -> list[tuple[Any, Any]]:
    return [pair for pair in pairs.items if type(pair[0]) is str and type(pair[1]) is bool]


def _storages(found: Unpickled) -> Iterator[Storage]:
    """Those of all tensors; two that are one agree."""
    seen: dict[str, Storage] = {}
    for view in found.views:
        storage = view.storage
        known = seen.setdefault(storage.key, storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise ValueError(f"the storage {storage.key[:50]} is of two kinds")
        if known is storage:
            yield storage


def _bytes_of(storage: Storage) -> int:
    return storage.count * ITEM_BYTES.get(storage.dtype, 1)


def _tensors(found: Unpickled, starts: _Starts, index: int) -> tuple[Tensor, ...]:
    """All tensors with a name, in the order of their bytes."""
    named = [_tensor(view, name, scope, starts, index) for name, scope, view in _walk(found.value)]
    doubles: set[str] = set()
    for tensor in named:
        if tensor.name in doubles:
            raise ValueError(f"two of its tensors are called {tensor.name[:100]!r}")
        doubles.add(tensor.name)
    seen = {id(view) for _, _, view in _walk(found.value)}
    unnamed = [_tensor(view, "", "", starts, index) for view in found.views if id(view) not in seen]
    # Stable: tensors that are one stay in the order of the dict.
    every = sorted([*named, *unnamed], key=lambda tensor: (tensor.start, tensor.stop))
    return tuple(tensor for tensor in _with_overlaps(every) if tensor.name)


def _walk(value: Any) -> Iterator[tuple[str, str, View]]:
    """Name, scope and view of all tensors in dicts, lists and tuples, in their order."""
    todo: list[tuple[Any, str, str]] = [(value, "", "")]
    # A container that is there twice is one, and may hold itself.
    seen: set[int] = set()
    while todo:
        each, name, scope = todo.pop()
        if isinstance(each, View):
            yield name or "(tensor)", scope, each
            continue
        items = each.items if isinstance(each, Pairs) else each
        if not isinstance(each, Pairs | list | tuple) or id(each) in seen:
            continue
        seen.add(id(each))
        if not isinstance(each, Pairs):
            items = list(enumerate(items))
        inner = f"{name}." if name else ""
        if len(inner) > 1000:
            raise ValueError("its dicts are nested too deeply")
        for place, (key, part) in reversed(list(enumerate(items))):
            label = str(key) if isinstance(key, str | int) else str(place)
            todo.append((part, inner + label, inner))


class _Lie(NamedTuple):
    """How a view lies in its storage: dense, with axes in some order, or not."""

    entries: int
    order: tuple[int, ...]
    dense: bool


def _lie(view: View) -> _Lie:
    if 0 in view.shape:
        return _Lie(0, (), True)
    axes = range(len(view.shape))
    extent = 1 + sum((view.shape[a] - 1) * view.strides[a] for a in axes)
    # Of an axis of length 1 the step means nothing.
    long = sorted((a for a in axes if view.shape[a] != 1), key=lambda a: -view.strides[a])
    step = 1
    for axis in reversed(long):
        if view.strides[axis] != step:
            return _Lie(extent, (), False)
        step *= view.shape[axis]
    if long == sorted(long):
        return _Lie(extent, (), True)
    return _Lie(extent, (*long, *(a for a in axes if a not in long)), True)


def _tensor(view: View, name: str, scope: str, starts: _Starts, index: int) -> Tensor:
    lie, storage = _lie(view), view.storage
    item, step = ITEM_BYTES.get(view.dtype, 1), ITEM_BYTES.get(storage.dtype, 1)
    first = view.offset * item
    last = first + lie.entries * item
    if last > storage.count * step:
        raise ValueError(f"the tensor {name[:100]!r} reaches beyond its storage")
    flaw = "" if lie.dense else "a part of a larger tensor, not in one piece"
    if math.prod(view.shape) == 0:
        last = first
    start = starts[storage.key]
    return Tensor(
        *(name, view.dtype, view.shape, start + first, start + last, index),
        order=lie.order,
        scope=scope,
        flaw=flaw,
    )


def _with_overlaps(tensors: list[Tensor]) -> Iterator[Tensor]:
    """The tensors, sorted by their bytes; those that share some, not all, have a flaw."""
    group: list[Tensor] = []
    end = -1
    for tensor in [*tensors, None]:
        if tensor is None or tensor.start >= end:
            kinds = {(one.place, one.dtype, one.shape, one.order) for one in group}
            for one in group:
                other = next((each.name for each in group if each is not one), "")
                shared = f"shares bytes with {other or 'another tensor'!r}"
                odd = len(kinds) > 1 and not one.flaw
                yield replace(one, flaw=shared) if odd else one
            group = []
        if tensor is not None:
            group.append(tensor)
            end = max(end, tensor.stop)
