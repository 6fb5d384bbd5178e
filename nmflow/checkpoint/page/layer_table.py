"""The table of all layers, which the page's script sorts and filters."""

from __future__ import annotations

import math
from collections.abc import Callable

from nmflow.checkpoint.page.markup import duration, gap_of, name_text, percent, tag, text
from nmflow.checkpoint.page.sections import section
from nmflow.checkpoint.page.view import ShownLayer, View

# What a cell says, and what it is sorted by; None for its text.
Cell = tuple[str, float | None]
Column = tuple[str, Callable[[ShownLayer], Cell]]


def layer_table(view: View) -> str:
    """Every layer with all that is known of it."""
    columns = _columns(view)
    wrong = {name for name, _ in view.failures}
    heads = "".join(
        tag("th", tag("button", text(title), type="button"), scope="col")
        for title in ("layer", *(title for title, _ in columns))
    )
    rows = "".join(
        tag(
            "tr",
            tag("th", tag("code", name_text(row.name)), scope="row")
            + "".join(_cell(*cell(row)) for _, cell in columns),
            class_="failed" if row.name in wrong else None,
        )
        for row in view.rows
    )
    caption = tag("caption", text(_caption(view)))
    table = tag("table", caption + tag("thead", tag("tr", heads)) + tag("tbody", rows))
    shown = tag("span", f"{len(view.rows)} layers", id="shown", role="status", class_="soft")
    label = tag("label", "Show layers whose name has", for_="filter", class_="gone")
    field = '<input id="filter" type="search" placeholder="Part of a name" autocomplete="off">'
    tools = f'<div id="tools" class="tools" hidden>{label}{field}{shown}</div>'
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="All layers")
    return section("All layers", "Click a heading to sort by it.", tools + scroll)


def _caption(view: View) -> str:
    dtypes, ratios = ({f(row) for row in view.rows} for f in (lambda row: row.dtype, _ratio))
    same = [next(iter(each)) for each in (ratios, dtypes) if len(each) == 1]
    head = f"All {', '.join(filter(None, same))}. " if any(same) else ""
    return (
        f"{head}Under each pattern: the kept share of the layer’s total score, in per cent."
        " Optimal: tiles that are proved so."
    )


def _cell(said: str, value: float | None) -> str:
    number = None if value is None else f"{value:.17g}"
    return tag("td", text(said), data_v=number)


def _columns(view: View) -> list[Column]:
    columns: list[Column] = [
        ("shape", lambda row: (" × ".join(map(str, row.shape)), float(row.size))),
    ]
    # What is the same for all is told above the table.
    if len({row.dtype for row in view.rows}) > 1:
        columns.append(("dtype", lambda row: (row.dtype, None)))
    if len({_ratio(row) for row in view.rows}) > 1:
        columns.append(("n:m", lambda row: (_ratio(row), None)))
    columns += [(name, _share_of(name)) for name in view.patterns]
    if view.certified:
        columns.append(("gap", lambda row: (gap_of(row.gap), _or_last(row.gap))))
        columns.append(("optimal", lambda row: (_optimal(row), row.optimal / max(row.tiles, 1))))
    if view.timed:
        columns.append(("time", lambda row: (duration(row.seconds), _or_last(row.seconds))))
    return columns


def _optimal(row: ShownLayer) -> str:
    return "all" if row.optimal == row.tiles else f"{row.optimal:,} of {row.tiles:,}"


def _ratio(row: ShownLayer) -> str:
    return row.ratio if row.pattern == "transposable" else f"{row.ratio} {row.pattern}"


def _share_of(name: str) -> Callable[[ShownLayer], Cell]:
    def cell(row: ShownLayer) -> Cell:
        share = row.shares.get(name)
        return percent(share), -1.0 if share is None else share

    return cell


def _or_last(value: float | None) -> float:
    """The number, or one beyond all others: JavaScript has no order for what is none."""
    return 1e300 if value is None or math.isnan(value) else value
