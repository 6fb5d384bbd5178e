"""Records on disk, one file each, so that what is done stays done."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Store:
    """A folder of records.

    A record counts for its key alone: where task, setting or run change, it is made anew.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Record, ending: str = ".json") -> Path:
        """Where the record of a key lies."""
        text = json.dumps(key, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        words = re.sub(r"[^a-z0-9]+", "-", f"{key['task']} {key['run']} {key['seed']}".lower())
        return self.folder / f"{words}-{digest}{ending}"

    def load(self, key: Record) -> Record | None:
        """The record of a key, if there is one."""
        path = self.path(key)
        if not path.exists():
            return None
        found: Record = json.loads(path.read_text())
        return found

    def keep(self, key: Record, record: Record) -> None:
        """Write a record; never half of one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.path(key), json.dumps(record))

    def made(self, key: Record, make: Callable[[], Record]) -> Record:
        """The record of a key, made where there is none."""
        found = self.load(key)
        if found is None:
            found = make()
            self.keep(key, found)
        return found


def write(path: Path, text: str) -> None:
    """Write beside, then rename."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)
