"""The parts of the page, from a view of the report to HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nmflow.checkpoint.page.figures import mark, share_range, shares_figure, ticks, times_figure
from nmflow.checkpoint.page.markup import count, duration, gap_of, name_text, percent, tag, text
from nmflow.checkpoint.page.view import ShownLayer, View

_WORST = 8
_FEWEST_KINDS = 2
_MARKER = 5.0
_SAID = {
    "unstructured": "best mask of the same density",
    "rows": "best n:m along rows alone",
    "columns": "best n:m along columns alone",
    "transposable": "best n:m both ways",
}


def section(title: str, lead: str, content: str, **attributes: object) -> str:
    """A part with its heading and a sentence about it."""
    said = tag("p", lead, class_="soft") if lead else ""
    return tag("section", tag("h2", text(title)) + said + content, **attributes)


def cards(view: View) -> str:
    """The numbers that matter most."""
    size = sum(row.size for row in view.rows)
    tiles, optimal = view.tiles
    told = [("Layers", f"{len(view.rows):,}", f"{count(size)} weights")]
    own = {row.pattern for row in view.rows}
    if len(own) == 1 and (name := next(iter(own))) in view.overall:
        told.append(("Score kept", f"{percent(view.overall[name])}\u00a0%", _beside(view, name)))
    if view.certified:
        proved = f"{count(optimal)} of {count(tiles)} tiles proved optimal"
        if optimal == tiles:
            proved = f"all {count(tiles)} tiles proved optimal"
        told.append(("Certified gap", gap_of(view.gap), proved))
    if view.solve_seconds is not None:
        told.append(
            ("Finding the masks", duration(view.solve_seconds), f"{duration(view.seconds)} in all")
        )
    elif view.seconds is not None:
        told.append(("Time", duration(view.seconds), "in all"))
    told.append(("Left dense", f"{len(view.skipped):,}", "tensors, each for a reason"))
    return tag(
        "dl",
        "".join(
            tag("div", tag("dt", text(a)) + tag("dd", text(b) + tag("small", text(c))))
            for a, b, c in told
        ),
        class_="cards",
    )


def _beside(view: View, name: str) -> str:
    """What the loosest pattern keeps, for comparison."""
    loosest = next((one for one in view.patterns if one in view.overall), name)
    return "" if loosest == name else f"{loosest}: {percent(view.overall[loosest])}\u00a0%"


def failures(view: View) -> str:
    """What did not hold."""
    if not view.failures:
        return ""
    items = "".join(
        tag("li", tag("code", name_text(name)) + text(f": {problem}"))
        for name, problem in view.failures
    )
    return section("What does not hold", "", tag("ul", items), class_="failures")


def profile(view: View) -> str:
    """What each layer keeps."""
    if not view.patterns:
        return ""
    legend = tag("ul", "".join(_legend_item(view, name) for name in view.patterns), class_="legend")
    figure = tag("figure", legend + _scrolled(shares_figure(view), "Kept score by layer"))
    lead = (
        "The share of a layer’s total score that its mask keeps, in the model’s order. What stands"
        " above the mask’s own line is what its pattern costs."
    )
    return section("Kept score by layer and pattern", lead, figure)


def _legend_item(view: View, name: str) -> str:
    overall = view.overall.get(name)
    value = "" if overall is None else tag("b", f" {percent(overall)}\u00a0%")
    label = tag("span", text(f"{name}: {_SAID.get(name, '')}") + value)
    return tag("li", _marker(name) + label, class_=f"c-{name}")


def _marker(name: str) -> str:
    path = tag("path", d=mark(name, 7, 7, _MARKER))
    return tag("svg", path, viewBox="0 0 14 14", aria_hidden="true")


def _scrolled(content: str, label: str) -> str:
    """Something wide, that can be scrolled by keys as well."""
    return tag("div", content, class_="wide", tabindex=0, role="region", aria_label=label)


def kinds(view: View) -> str:
    """What layers of each kind keep: their mean, and from the least to the most."""
    groups: dict[str, list[ShownLayer]] = {}
    for row in view.rows:
        groups.setdefault(row.kind, []).append(row)
    if len(groups) < _FEWEST_KINDS or not view.patterns:
        return ""
    low, high, step = share_range([share for row in view.rows for share in row.shares.values()])
    spread = high - low
    labels = "".join(
        tag("span", f"{percent(value, 0)} %", style=f"left:{100 * (value - low) / spread:.2f}%")
        for value in ticks(low, high, step)
    )
    head = tag("span", "", class_="empty") + tag("div", labels, class_="scale")
    items = [tag("li", head, aria_hidden="true")]
    for kind, rows in groups.items():
        tracks = "".join(_track(rows, name, low, spread) for name in view.patterns)
        said = "; ".join(f"{name} {percent(_mean(rows, name))} per cent" for name in view.patterns)
        label = tag("span", tag("code", name_text(kind)) + _times(len(rows)))
        track = tag("div", tracks, class_="track", role="img", aria_label=said)
        items.append(tag("li", label + track))
    lead = "Layers of the same name in different blocks together: mean, and least to most."
    return section("By kind of layer", lead, tag("ul", "".join(items), class_="kinds"))


def _times(number: int) -> str:
    return tag("span", f" × {number}", class_="soft") if number > 1 else ""


def _mean(rows: Sequence[ShownLayer], pattern: str) -> float:
    shares = [row.shares[pattern] for row in rows if pattern in row.shares]
    return math.fsum(shares) / len(shares) if shares else math.nan


def _track(rows: Sequence[ShownLayer], pattern: str, low: float, spread: float) -> str:
    shares = [row.shares[pattern] for row in rows if pattern in row.shares]
    if not shares:
        return ""
    least, most, mean = (
        100 * (value - low) / spread for value in (min(shares), max(shares), _mean(rows, pattern))
    )
    span = tag("i", style=f"left:{least:.2f}%;width:{max(most - least, 0.2):.2f}%")
    dot = _marker(pattern).replace("<svg ", f'<svg style="left:{mean:.2f}%" ', 1)
    return tag("span", span + dot, class_=f"c-{pattern}")


def worst(view: View) -> str:
    """The layers that lose most."""
    known = sorted(
        (row for row in view.rows if row.share is not None), key=lambda row: row.share or 0.0
    )[:_WORST]
    if not known:
        return ""
    items = []
    for row in known:
        name = tag("code", name_text(row.name))
        value = tag("span", f"{percent(row.share)} %")
        bar = tag("i", style=f"width:{100 * (row.share or 0):.2f}%")
        if (free := row.shares.get("unstructured")) is not None:
            bar += tag("b", style=f"left:{100 * free:.2f}%")
        items.append(tag("li", name + value + tag("div", bar, class_="meter")))
    lead = "Where the least of the score is kept: the first to exclude, or to give a looser n:m."
    if "unstructured" in view.patterns:
        lead += " The mark is what the best unstructured mask would keep."
    return section("The worst layers", lead, tag("ol", "".join(items), class_="worst"))


def gaps(view: View) -> str:
    """How far masks are from the best ones."""
    if not view.certified:
        return ""
    tiles, optimal = view.tiles
    behind = sorted((row for row in view.rows if row.gap), key=_badness, reverse=True)
    if not behind:
        said = (
            f"Every gap is 0: each of the {tiles:,} tiles keeps as much as any mask of its pattern"
            " could, which dual prices prove without a rounding error."
        )
        return section("Certified gaps", text(said), "")
    items = "".join(
        tag("li", tag("code", name_text(row.name)) + tag("span", gap_of(row.gap)))
        for row in behind[:_WORST]
    )
    said = (
        f"{optimal:,} of {tiles:,} tiles are proved optimal. The gap is (bound − kept) / bound, and"
        f" {len(behind):,} layers have one; the largest:"
    )
    return section("Certified gaps", text(said), tag("ol", items, class_="worst"))


def _badness(row: ShownLayer) -> float:
    return math.inf if row.gap is None or math.isnan(row.gap) else row.gap


def times(view: View) -> str:
    """What finding the masks took."""
    if not view.timed:
        return ""
    figure = tag("figure", _scrolled(times_figure(view), "Time to find each mask"))
    lead = (
        "Solving alone, as measured in the run; reading, certifying and writing are not in it."
        " Layers are worked at side by side, so that they add up to more than the clock."
    )
    return section("Time", lead, figure)


def skipped(view: View) -> str:
    """What was left dense, by reason."""
    reasons: dict[str, dict[str, int]] = {}
    for name, reason in view.skipped:
        stem = ".".join("*" if part.isdigit() else part for part in name.split("."))
        names = reasons.setdefault(reason, {})
        names[stem] = names.get(stem, 0) + 1
    if not reasons:
        return ""
    items = []
    for reason, names in sorted(reasons.items(), key=lambda item: -sum(item[1].values())):
        head = tag("summary", tag("b", text(reason)) + f" · {sum(names.values()):,}")
        listed = ", ".join(
            tag("code", name_text(stem)) + _times(number) for stem, number in names.items()
        )
        items.append(tag("details", head + tag("p", listed)))
    lead = "Tensors that stay as they were, by reason."
    return section("Left dense", lead, "".join(items))
