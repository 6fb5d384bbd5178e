"""Spans of a file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nmflow.errors import NmflowError

CHUNK_BYTES = 1 << 22


def read_bytes(file: BinaryIO, start: int, stop: int) -> bytearray:
    """The bytes of a span of the file.

    Raises
    ------
    NmflowError
        If the file cannot be read, or ends before the span does.
    """
    data = bytearray(stop - start)
    read_into(file, start, data)
    return data


def read_into(file: BinaryIO, start: int, data: Any) -> None:
    """Fill a buffer with what begins there; raises as :func:`read_bytes`."""
    try:
        file.seek(start)
        count = file.readinto(data)  # type: ignore[attr-defined]
    except OSError as error:
        raise NmflowError(f"cannot read {file.name}: {error.strerror or error}") from error
    if count != memoryview(data).nbytes:
        raise NmflowError(f"cannot read {file.name}: it became shorter while it was read")


def spans(start: int, stop: int, step: int = CHUNK_BYTES) -> list[tuple[int, int]]:
    """Cut a span into pieces of at most ``step`` bytes."""
    return [(i, min(i + step, stop)) for i in range(start, stop, step)]


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A regular file opened for reading; any OSError of the block becomes an NmflowError."""
    try:
        # Before it is opened: to open a pipe is to wait for who writes into it.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise NmflowError(f"cannot read {path}: it is {what}")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise NmflowError(f"cannot read {path}: {error.strerror or error}") from error
