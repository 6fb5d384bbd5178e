"""Which pattern each layer gets: one for all, and others by the names of tensors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

_SKIP = "skip"
_KEYS = {"n", "m", "pattern"}


@dataclass(frozen=True, slots=True)
class Patterns:
    """A pattern for each layer.

    Attributes
    ----------
    default : Pattern
    by_glob : tuple of (str, Pattern or None)
        Globs over the names of tensors; the first that matches decides. None leaves the tensor as
        it is.
    """

    default: Pattern
    by_glob: tuple[tuple[str, Pattern | None], ...] = ()

    def of(self, name: str) -> Pattern | None:
        """The pattern of a tensor; None if it is to be left."""
        for glob, pattern in self.by_glob:
            if matches(name, (glob,)):
                return pattern
        return self.default

    def check(self, pruned: Iterable[str], names: Sequence[str]) -> None:
        """Raise for a glob that does nothing.

        Parameters
        ----------
        pruned : iterable of str
            Names of the layers.
        names : sequence of str
            Of all tensors.

        Raises
        ------
        NmflowError
            For one that matches no tensor, or, if it gives a pattern, no layer.
        """
        layers = list(pruned)
        for glob, pattern in self.by_glob:
            among = names if pattern is None else layers
            if any(matches(name, (glob,)) for name in among):
                continue
            what = "tensor"
            if any(matches(name, (glob,)) for name in names):
                what = "layer that is pruned (prune it with include)"
            raise NmflowError(f"{glob!r} of the patterns by layer matches no {what}")


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether the name equals one of the globs or matches it, case-sensitively."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def patterns_from(default: Pattern, by_glob: Mapping[str, Any], where: str) -> Patterns:
    """Patterns as a TOML file or a caller has them.

    Parameters
    ----------
    default : Pattern
    by_glob : mapping of str to mapping or "skip"
        ``{"n": ..., "m": ..., "pattern": ...}``, each of them optional.
    where : str
        For messages.

    Raises
    ------
    NmflowError
        For anything else, and for n and m that make no pattern.
    """
    found: list[tuple[str, Pattern | None]] = []
    for glob, value in by_glob.items():
        if value == _SKIP:
            found.append((glob, None))
            continue
        if not isinstance(value, Mapping) or not value or set(value) - _KEYS:
            raise NmflowError(
                f"{where}: {glob!r} is {value!r}; give it {{n = ..., m = ..., pattern = ...}},"
                f" of which some may be left out, or {_SKIP!r}"
            )
        try:
            one = Pattern(
                value.get("n", default.n),
                value.get("m", default.m),
                value.get("pattern", default.name),
            )
        except NmflowError as error:
            raise NmflowError(f"{where}: {glob!r}: {error}") from error
        found.append((glob, one))
    return Patterns(default, tuple(found))


def read_patterns(path: Path, default: Pattern) -> Patterns:
    """Patterns by layer, from a TOML file.

    Raises
    ------
    NmflowError
        If it can't be read, or is not what it should be.

    Notes
    -----
    Each key is a glob over names of tensors, in quotes; the first that matches a layer decides::

        "*.down_proj.weight" = {n = 4, m = 8}
        "*.layers.0.*" = {pattern = "rows"}
        "*.layers.31.*" = "skip"

    What is left out is as on the command line.
    """
    try:
        with path.open("rb") as file:
            entries = tomllib.load(file)
    except OSError as error:
        raise NmflowError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NmflowError(f"cannot read {path}: no valid TOML ({error})") from error
    return patterns_from(default, entries, str(path))
