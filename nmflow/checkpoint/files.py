"""Output files that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nmflow.errors import NmflowError


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise now what would otherwise go wrong after the work is done.

    Raises
    ------
    NmflowError
        If the target exists and ``overwrite`` is False, is not a regular file, or its directory
        does not exist.
    """
    if target.is_dir():
        raise NmflowError(f"cannot write {target}: it is a directory")
    if not target.parent.is_dir():
        raise NmflowError(f"cannot write {target}: {target.parent} is no directory")
    target = resolved(target)
    if not target.exists():
        return
    if not target.is_file():
        raise NmflowError(f"cannot write {target}: it is no regular file")
    if not overwrite:
        raise NmflowError(
            f"cannot write {target}: it exists (--force, overwrite=True, replaces it)"
        )


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Write a file beside the target, and put it in the target's place once it is complete.

    If the block raises anything, Ctrl-C included, the new file is removed and the target is what
    it was. The file can be read again within the block, by ``file.name`` after :func:`settle`.

    Raises
    ------
    NmflowError
        In place of any OSError: no space, no permission.
    """
    # Through a symbolic link: the link stays, and the file beside is on the same file system.
    target = resolved(target)
    partial = target.parent / f".nmflow-{secrets.token_hex(8)}.partial"
    try:
        with partial.open("x+b") as file:
            yield file
            settle(file)
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:
        raise NmflowError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def check_folder(target: Path, mark: str, *, overwrite: bool) -> None:
    """Raise now what would otherwise go wrong after the work is done.

    Parameters
    ----------
    target : Path
    mark : str
        A file that tells folders that may be replaced, whole, from all others.
    overwrite : bool
        Whether it may be replaced at all.

    Raises
    ------
    NmflowError
        If the target exists and may not be replaced, or its directory does not exist.
    """
    target = resolved(target)
    if not target.parent.is_dir():
        raise NmflowError(f"cannot write {target}: {target.parent} is no directory")
    if not target.exists():
        return
    if not overwrite:
        raise NmflowError(f"cannot write {target}: it exists (--force replaces it)")
    if not target.is_dir() or (any(target.iterdir()) and not (target / mark).is_file()):
        raise NmflowError(
            f"cannot write {target}: it has no {mark}, so it may hold anything; remove it first"
        )


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Fill a folder beside the target, and put it in the target's place once it is complete.

    If the block raises anything, Ctrl-C included, the new folder is removed and the target is what
    it was.

    Raises
    ------
    NmflowError
        In place of any OSError: no space, no permission.
    """
    target = resolved(target)
    beside = target.parent / f".nmflow-{secrets.token_hex(8)}"
    partial, old = beside.with_suffix(".partial"), beside.with_suffix(".old")
    try:
        partial.mkdir()
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                with path.open("r+b") as file:
                    settle(file)
        # No folder can be renamed to one that is not empty.
        if target.exists():
            target.replace(old)
        partial.replace(target)
    except OSError as error:
        raise NmflowError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def resolved(target: Path) -> Path:
    """Where a path leads, links followed.

    Raises
    ------
    NmflowError
        For links that lead in a circle.
    """
    try:
        # Python 3.13 finds no fault with links that lead in a circle; looking at them does.
        real = target.resolve()
        real.stat()
    except FileNotFoundError:
        return real
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "symbolic links that lead in a circle"
        raise NmflowError(f"cannot write {target}: {reason}") from error
    return real


def write(file: BinaryIO, data: Any) -> None:
    """Write all of a bytes-like object."""
    file.write(data)


def settle(file: BinaryIO) -> None:
    """Have everything written so far on the disk: a full disk shows here at the latest."""
    file.flush()
    os.fsync(file.fileno())
