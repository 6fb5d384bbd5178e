"""What of a job is done, on the disk: a line of JSON for each thing, the last maybe cut short."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Lines that are there for good once :meth:`settle` returns.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[str] = []

    def add(self, entry: dict[str, Any]) -> None:
        """Note something, for the next :meth:`settle`."""
        self._waiting.append(json.dumps(entry))

    def settle(self) -> None:
        """Write what waits, and have it on the disk."""
        if not self._waiting:
            return
        text = "".join(f"{line}\n" for line in self._waiting).encode()
        with self.path.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()

    def cut(self, entries: list[dict[str, Any]]) -> None:
        """Begin anew with these entries."""
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write("".join(f"{json.dumps(entry)}\n" for entry in entries).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def read(self) -> list[dict[str, Any]]:
        """All entries that are whole; none if there is no journal."""
        return list(self._entries())

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        # Behind the last line break is nothing, or a line that was cut short.
        for line in lines[:-1]:
            try:
                entry = json.loads(line)
            except ValueError:
                return
            if not isinstance(entry, dict):
                return
            yield entry
