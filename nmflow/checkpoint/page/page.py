"""The page as a whole."""

from __future__ import annotations

from pathlib import Path

from nmflow.checkpoint.page import sections
from nmflow.checkpoint.page.layer_table import layer_table
from nmflow.checkpoint.page.markup import duration, tag, text
from nmflow.checkpoint.page.view import View

_HERE = Path(__file__).parent
# A page that could load something would not be the whole report; nor would names of tensors be
# harmless, whatever they contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def report_page(view: View) -> str:
    """A report as HTML, in one piece.

    Parameters
    ----------
    view : View

    Returns
    -------
    str
        The same for the same report: there is no date in it.
    """
    name = Path(view.target or view.source).name or "report"
    head = "".join(
        (
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            tag("title", text(f"{name}: {view.what} by nmflow")),
            tag("style", _read("page.css")),
        )
    )
    parts = (
        sections.failures(view),
        sections.profile(view),
        sections.kinds(view),
        sections.worst(view),
        sections.gaps(view),
        sections.times(view),
        layer_table(view),
        sections.skipped(view),
        _made(view),
    )
    body = _header(view, name) + tag("main", "".join(parts)) + _footer(view)
    script = tag("script", _read("page.js"))
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}{script}</body></html>\n'
    )


def _header(view: View, name: str) -> str:
    eyebrow = tag("p", "Sparsity report", class_="eyebrow")
    verdict = tag("span", "Verified", class_="verdict")
    if not view.verified:
        verdict = tag("span", f"{len(view.failures)} checks failed", class_="verdict failed")
    said = tag("p", f"{verdict} {text(_what(view))}")
    return tag("header", eyebrow + tag("h1", text(name)) + said + sections.cards(view))


def _what(view: View) -> str:
    by = f", masks by method {view.method}" if view.method else ""
    return f"{view.what}{by}"


def _made(view: View) -> str:
    told = [
        ("dense model", view.source),
        ("sparse model", view.target),
        ("pattern", view.what),
        ("method", view.method),
        ("score", {"abs": "|w|", "square": "w²", "raw": "the values"}.get(view.score, view.score)),
        ("time", duration(view.seconds) if view.seconds is not None else ""),
        ("nmflow", view.version),
    ]
    rows = "".join(
        tag("dt", text(label)) + tag("dd", tag("code", text(value)))
        for label, value in told
        if value
    )
    lead = (
        "n:m keeps n of every m weights; transposable masks do so along rows and along columns, so"
        " that W and its transpose both run on sparse hardware. Score is what a mask is to keep"
        " most of. The gap is certified: the distance to the best mask there is, by exact sums."
    )
    return sections.section("How it was made", lead, tag("dl", rows, class_="made"))


def _footer(view: View) -> str:
    said = (
        f"Made by nmflow {text(view.version)}. This page is complete in itself: it loads nothing."
    )
    return tag("footer", tag("p", said))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8").strip()
