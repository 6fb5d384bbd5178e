"""Which weights a user means: globs over names, classes of modules, functions."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.torch.selecting.sites import Site

Wish = str | type | Callable[[str, Any], bool]
# Globs over the names of modules or parameters, classes of modules, functions of (name, module).
Wanted = Wish | Iterable[Wish] | None


def chooser(
    option: str,
    wanted: Wanted,
    sites: Sequence[Site],
    fault: Callable[[Site], str | None] = lambda _: None,
) -> Callable[[Site], bool]:
    """Whether a site is meant.

    Parameters
    ----------
    option : str
        What the wishes were given as, for the error's text.
    wanted : Wanted
    sites : sequence of Site
    fault : callable
        Why a site can't be chosen. Each glob and class must match a site that can.

    Raises
    ------
    NmflowError
        If a glob or class matches nothing, or a wish is neither.
    """
    one = isinstance(wanted, str) or callable(wanted)
    wishes: list[Any] = [wanted] if one else list(wanted or ())  # type: ignore[arg-type]
    for wish in wishes:
        if not isinstance(wish, str) and not callable(wish):
            raise NmflowError(
                f"{option} takes globs, classes of modules and functions of (name, module), got"
                f" {wish!r}"
            )
        if isinstance(wish, str | type):
            _check(option, wish, sites, fault)
    return lambda site: any(_matches(wish, site) for wish in wishes)


def _matches(wish: Any, site: Site) -> bool:
    if isinstance(wish, str):
        return any(name == wish or fnmatchcase(name, wish) for name in site.names)
    if isinstance(wish, type):
        return isinstance(site.module, wish)
    return bool(wish(site.module_name, site.module))


def _check(
    option: str,
    wish: str | type,
    sites: Sequence[Site],
    fault: Callable[[Site], str | None],
) -> None:
    faults = {site.name: fault(site) for site in sites if _matches(wish, site)}
    if None in faults.values():
        return
    shown = f"pattern {wish!r}" if isinstance(wish, str) else f"class {wish.__name__}"
    if faults:
        name, reason = next(iter(faults.items()))
        raise NmflowError(f"{option} {shown} matches no weight that can be masked: {name} {reason}")
    candidates = [site for site in sites if fault(site) is None]
    if isinstance(wish, type):
        near = list(dict.fromkeys(site.kind for site in candidates))
        raise NmflowError(
            f"{option} {shown} matches no module with a weight to mask; there are"
            f" {', '.join(near) or 'none'}"
        )
    tensors = {site.tensor for site in candidates}
    whole = wish.rpartition(".")[2] in tensors
    names = [site.name if whole else site.module_name for site in candidates]
    near = difflib.get_close_matches(wish, list(dict.fromkeys(names)), 3, 0) or ["none"]
    raise NmflowError(
        f"{option} {shown} matches no module with a weight to mask;"
        f" the nearest are {', '.join(map(repr, near))}"
    )


def pattern_chooser(
    patterns: Pattern | Mapping[str, Pattern], sites: Sequence[Site]
) -> Callable[[Sequence[Site]], Pattern | None]:
    """The pattern of a weight, given its sites; None if none is given for it.

    Raises
    ------
    NmflowError
        If a glob matches nothing.
    """
    if isinstance(patterns, Pattern):
        return lambda _: patterns
    choosers = [(chooser("the", glob, sites), pattern) for glob, pattern in patterns.items()]
    return lambda group: next(
        (pattern for meant, pattern in choosers if any(map(meant, group))), None
    )
