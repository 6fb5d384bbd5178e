"""A bar that shows how far a conversion is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nmflow.errors import MissingExtraError

# Told of each weight before it is converted: its name, how many are done, and of how many.
Progress = Callable[[str, int, int], None]


@contextmanager
def shown(progress: bool | Progress | None, total: int) -> Iterator[Progress]:
    """What is told of each weight: the user's function, a bar on standard error, or nothing.

    Raises
    ------
    MissingExtraError
        If a bar is asked for and rich is missing.
    """
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield _nothing
        return
    if callable(progress):
        yield progress
        return
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        if progress:
            raise MissingExtraError("progress=True", "cli") from None
        yield _nothing
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("converting", total=total)
        yield lambda name, done, _: bar.update(task, description=name, completed=done)


def _nothing(_: str, __: int, ___: int) -> None:
    return
