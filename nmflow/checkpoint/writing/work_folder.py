"""The folder beside a target in which it comes about: one job at a time, found again by the next.

Its name is made of the target's, so that a run can tell what another one left: to go on from it,
to replace it, or to name it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import IO, Any

from nmflow.checkpoint.writing.journal import Journal
from nmflow.errors import NmflowError

_JOURNAL, _LOCK, _OUT, _OLD = "journal.jsonl", "lock", "out", "old"


class WorkFolder:
    """A folder that is this process's as long as it is open.

    Parameters
    ----------
    target : Path
        What the job writes in the end, links followed.

    Attributes
    ----------
    path : Path
    out : Path
        A folder for what is written.
    old : Path
        Where a folder that is replaced goes meanwhile.
    journal : Journal
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.parent / f".{target.name}.nmflow-partial"
        self.out, self.old = self.path / _OUT, self.path / _OLD
        self.journal = Journal(self.path / _JOURNAL)
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> WorkFolder:
        """Make the folder, if there is none, and keep others out.

        Raises
        ------
        NmflowError
            If another process is at work in it.
        """
        self.path.mkdir(exist_ok=True)
        self._lock = (self.path / _LOCK).open("ab")
        try:
            _lock(self._lock)
        except OSError:
            self._lock.close()
            raise NmflowError(
                f"cannot write {self.target}: another run is writing it, in {self.path}"
            ) from None
        # Who had the lock until now may have removed what was locked.
        if not _is_open_at(self._lock, self.path / _LOCK):
            self._lock.close()
            return self.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.close()

    def begin(self, job: dict[str, Any], *, resume: bool, restart: bool) -> list[dict[str, Any]]:
        """Settle what becomes of an earlier run's work, and note the job.

        Parameters
        ----------
        job : dict
            All that the output depends on, in values that JSON has.
        resume, restart : bool
            Whether to go on from it, and whether it may be thrown away.

        Returns
        -------
        list of dict
            The journal's entries after the first, which is the job.

        Raises
        ------
        NmflowError
            If there is work of an earlier run, and neither is asked for; or if it was another job.
        """
        entries = self.journal.read()
        layers = sum(bool(entry.get("layer")) for entry in entries)
        if resume and entries:
            differing = _differences(entries[0].get("job"), job)
            if not differing:
                return entries[1:]
            if not restart:
                raise NmflowError(
                    f"cannot go on with {self.path}: it was begun with another"
                    f" {', '.join(differing)}; --force (overwrite=True) starts over"
                )
        elif layers and not restart:
            raise NmflowError(
                f"cannot write {self.target}: an earlier run left {layers} layers of it in"
                f" {self.path}; --resume goes on from there, --force starts over"
            )
        self.clear()
        self.out.mkdir()
        self.journal.cut([{"job": job}])
        return []

    @property
    def has_work(self) -> bool:
        """Whether there are finished layers to go on from."""
        return any(entry.get("layer") for entry in self.journal.read())

    def clear(self) -> None:
        """Remove what is in it, but for the lock."""
        for path in (self.out, self.old):
            if path.exists():
                shutil.rmtree(path)
        # Last: as long as it is there, what is done can be told.
        for path in self.path.glob("journal*"):
            path.unlink()

    def remove(self) -> None:
        """Remove all of it."""
        self.clear()
        # Another run may wait for the lock, or have made the folder its own already.
        with contextlib.suppress(OSError):
            (self.path / _LOCK).unlink()
            self.path.rmdir()


def _differences(old: Any, new: dict[str, Any]) -> list[str]:
    if not isinstance(old, dict):
        return ["job"]
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def _is_open_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> None:
    """Take the file for this process; an OSError if another has it."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
