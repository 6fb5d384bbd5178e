"""What a kernel is made of: its own file, and all files of nmflow that it imports."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def sources_digest(source: Path) -> str:
    """A digest of all that a kernel in this file may be compiled from."""
    digest = hashlib.sha256()
    for path in sorted(sources_of(source)):
        digest.update(str(path).removeprefix(str(_ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def sources_of(source: Path) -> frozenset[Path]:
    """The file, and whatever of nmflow it imports, directly or through others."""
    reached: set[Path] = set()
    todo = {source}
    while todo:
        path = todo.pop()
        reached.add(path)
        todo |= _imported_by(path) - reached
    return frozenset(reached)


# Parsing the files would take longer than loading a kernel.
_IMPORT = re.compile(
    r"^[ \t]*(?:from (nmflow[\w.]*) import (?:\(([^)]*)\)|([\w ,]+))|import (nmflow[\w.]*))", re.M
)


@functools.cache
def _imported_by(source: Path) -> frozenset[Path]:
    """The files of nmflow that one file imports, anywhere in it."""
    names: set[str] = set()
    for package, several, some, module in _IMPORT.findall(source.read_text(encoding="utf-8")):
        parts = [part.split()[0] for part in (several or some).split(",") if part.strip()]
        names.update(f"{package}.{part}" for part in parts)
        names.update([module] if module else [])
    found = {_file_of(name) for name in names}
    return frozenset(path for path in found if path is not None)


def _file_of(name: str) -> Path | None:
    """Of a module, or of the module in which an imported name lives."""
    while name:
        path = _ROOT.joinpath(*name.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
        name = name.rpartition(".")[0]
    return None
