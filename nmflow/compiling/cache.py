"""Compiled kernels on disk: never older than their sources, and no call fails for want of them."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from nmflow.compiling.shipped import Level, folder_of, levels_of
from nmflow.compiling.sources import sources_digest

_SEAL_BYTES = hashlib.sha256().digest_size


class KernelCache(FunctionCache):
    """numba's cache of a function, stamped with all its sources.

    numba itself calls cached code stale when the file of the function changes.

    Raises
    ------
    RuntimeError
        Where numba finds no directory to write to.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        source = Path(function.__code__.co_filename)
        stamp = numba.__version__, sources_digest(source)
        self._module, self._stamp = function.__module__, stamp
        self._cache_file = _SealedFiles(self.cache_path, self._impl.filename_base, stamp)

    def holds(self, sig: Any, context: Any) -> bool:
        """Whether there is code for a signature, or was a moment ago."""
        places = self._places(sig, context)
        return any(files.load(key) is not None for files, key in places)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for a signature: this machine's own, else what the package brought along."""
        target_context.refresh()
        for files, key in self._places(sig, target_context):
            data = files.load(key)
            if data is not None:
                return self._impl.rebuild(target_context, data)
        return None

    def ship(self, overloads: dict[Any, Any], level: Level) -> int:
        """Keep what was compiled in this process, for the level, for a wheel; how much it was."""
        files = self._shipped_files(level)
        Path(files._cache_path).mkdir(parents=True, exist_ok=True)
        for sig, compiled in overloads.items():
            key = self._index_key(sig, compiled.codegen)
            files.save(key, self._impl.reduce(compiled))
        return len(overloads)

    def _places(self, sig: Any, context: Any) -> Iterator[tuple[_SealedFiles, Any]]:
        """Where code for a signature may be, and what it is called there."""
        codegen = context.codegen()
        sig, machine, digests = self._index_key(sig, codegen)
        yield self._cache_file, (sig, machine, digests)
        for level in levels_of(codegen):
            yield self._shipped_files(level), (sig, (machine[0], *level), digests)

    def _shipped_files(self, level: Level) -> _SealedFiles:
        folder = folder_of(level, self._module)
        return _SealedFiles(str(folder), self._impl.filename_base, self._stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code; where the disk refuses it, the code is there all the same."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn_unsaved(self.cache_path, error.strerror or str(error))


class _SealedFiles(IndexDataCacheFile):
    """A file for each signature, with a checksum behind it: what is damaged counts as not there.

    numba keeps an index of numbered files. Two processes that save at once each overwrite what the
    other wrote there, and may leave one's signature beside the other's code.
    """

    def __init__(self, cache_path: str, filename_base: str, source_stamp: Any) -> None:
        super().__init__(cache_path, filename_base, source_stamp)
        self._filename_base = filename_base

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name_of(key), (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        found = _read_sealed(Path(self._data_path(self._name_of(key))))
        # The name is made of what the key looks like.
        return found[2] if found is not None and found[:2] == (self._source_stamp, key) else None

    def flush(self) -> None:
        for path in Path(self._cache_path).glob(f"{self._filename_base}.*.nbc"):
            path.unlink(missing_ok=True)

    def _name_of(self, key: Any) -> str:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        return f"{self._filename_base}.{digest}.nbc"

    def _dump(self, obj: Any) -> bytes:
        content: bytes = super()._dump(obj)
        return content + hashlib.sha256(content).digest()


def _read_sealed(path: Path) -> Any:
    """What was saved there; None if nothing was, or not that."""
    # An older version of nmflow or numba may have pickled what can't be unpickled any more, which
    # may raise anything.
    try:
        content = path.read_bytes()
        content, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
        return pickle.loads(content) if seal == hashlib.sha256(content).digest() else None  # noqa: S301
    except Exception:
        return None


_warned: set[str] = set()


def _warn_unsaved(folder: str, reason: str) -> None:
    """Once for each reason, however many folders it is."""
    if reason in _warned:
        return
    _warned.add(reason)
    warnings.warn(
        f"compiled kernels of nmflow can't be saved in {folder} ({reason}): they work, but each"
        " new process compiles them again, for seconds to a minute; make room or let it be written"
        " to, or set NUMBA_CACHE_DIR to a directory that can be",
        RuntimeWarning,
        stacklevel=2,
    )
