"""Text as HTML: everything that comes from outside is escaped here."""

from __future__ import annotations

import math
from html import escape

_KILO = 1000


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element around markup; attributes are escaped, ``_`` in their names stands for ``-``."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{told}>{content}</{name}>"


def text(value: object) -> str:
    """Anything as escaped text."""
    return escape(str(value))


def name_text(name: str) -> str:
    """A tensor's name, which may be broken after its dots."""
    return text(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a number of per cent."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def gap_of(gap: float | None) -> str:
    """A gap: 0 only where it is 0."""
    if gap is None:
        return "–"
    if math.isnan(gap):
        return "infeasible"
    return "0" if gap == 0 else f"{gap:.1e}"


def duration(seconds: float | None) -> str:
    """A time with its unit."""
    if seconds is None:
        return "–"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 or not seconds else f"{_KILO * seconds:.3g} ms"


def count(number: int) -> str:
    """A number with a letter for thousands and more."""
    for letter, size in (("G", _KILO**3), ("M", _KILO**2), ("k", _KILO)):
        if number >= 10 * size or (number >= size and letter != "k"):
            return f"{number / size:.3g} {letter}"
    return f"{number:,}"
