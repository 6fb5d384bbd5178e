"""The zip archives that ``torch.save`` writes: a pickle, and records that lie as they are."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from nmflow.checkpoint.formats.model import Seal

# Header, general purpose flag, CRC-32, length of name and of extra field, as offsets.
_LOCAL = struct.Struct("<4s2xH6xL8xHH")
_CENTRAL = struct.Struct("<4s4xH6xL8xHHH")
_LOCAL_MARK, _CENTRAL_MARK, _DESCRIPTOR_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_LOCAL_CRC, _CENTRAL_CRC = 14, 16
_LOCAL_BYTES, _CENTRAL_BYTES = 30, 46
_HAS_DESCRIPTOR = 1 << 3
_MOST_PICKLE_BYTES = 1 << 28


class Archive(NamedTuple):
    """An archive of PyTorch.

    Attributes
    ----------
    pickle : binary file
        ``data.pkl``, in memory.
    records : mapping of str to Seal
        The storages' records by their keys: their bytes, and where their checksums are.
    """

    pickle: BinaryIO
    records: Mapping[str, Seal]


def read_archive(file: BinaryIO) -> Archive:
    """Find the records of an archive.

    Raises
    ------
    ValueError
        For what is no archive of ``torch.save``, or a broken one.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(file, archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"its archive is broken ({error})") from error
    except (struct.error, UnicodeDecodeError, OverflowError, IndexError) as error:
        raise ValueError("its archive is broken") from error


def _read(file: BinaryIO, archive: zipfile.ZipFile) -> Archive:
    entries = archive.infolist()
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    roots = {entry.filename.partition("/")[0] for entry in entries}
    if len(pickles) != 1 or len(roots) != 1:
        raise ValueError("it is a zip archive, but has no data.pkl as torch.save writes it")
    root = roots.pop()
    if pickles[0].filename != f"{root}/data.pkl" or any(
        entry.filename == f"{root}/constants.pkl" for entry in entries
    ):
        raise ValueError("it is a program of TorchScript; save the model's state dict instead")
    spans = list(_records(file, archive))
    by_name = {entry.filename: seal for entry, seal in spans}
    if len(by_name) < len(entries):
        raise ValueError("two records of its archive have the same name")
    _check_disjoint(sorted((seal for _, seal in spans), key=lambda seal: seal.start))
    pickle = by_name[f"{root}/data.pkl"]
    if pickle.stop - pickle.start > _MOST_PICKLE_BYTES:
        raise ValueError("its pickle is longer than that of any model")
    order = by_name.get(f"{root}/byteorder")
    if (
        order is not None
        and _bytes(file, order.start, min(order.stop, order.start + 10)) != b"little"
    ):
        raise ValueError("it was written on a big-endian machine")
    data = f"{root}/data/"
    records = {
        name.removeprefix(data): seal for name, seal in by_name.items() if name.startswith(data)
    }
    return Archive(io.BytesIO(_bytes(file, pickle.start, pickle.stop)), records)


def _records(file: BinaryIO, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, Seal]]:
    """Each record with its bytes and the places of its checksum."""
    size = file.seek(0, 2)
    central = archive.start_dir
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"the record {entry.filename[:100]} is compressed")
        mark, flags, _, *lengths = _CENTRAL.unpack(_bytes(file, central, central + 34))
        if mark != _CENTRAL_MARK:
            raise ValueError("its list of records is broken")
        places = [central + _CENTRAL_CRC]
        central += _CENTRAL_BYTES + sum(lengths)
        header = entry.header_offset
        mark, _, _, name, extra = _LOCAL.unpack(_bytes(file, header, header + _LOCAL_BYTES))
        start = header + _LOCAL_BYTES + name + extra
        stop = start + entry.file_size
        if mark != _LOCAL_MARK or stop > min(size, archive.start_dir):
            raise ValueError(f"the record {entry.filename[:100]} is not where it should be")
        if not flags & _HAS_DESCRIPTOR:
            places.append(header + _LOCAL_CRC)
        elif _bytes(file, stop, stop + 4) == _DESCRIPTOR_MARK:
            places.append(stop + 4)
        yield entry, Seal(start, stop, tuple(places))


def _check_disjoint(seals: list[Seal]) -> None:
    for before, after in pairwise(seals):
        if after.start < before.stop:
            raise ValueError("two records of its archive overlap")


def _bytes(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    data = file.read(stop - start)
    if len(data) != stop - start:
        raise ValueError("its archive ends too early")
    return data
