"""Pictures of a report, in SVG: what each layer keeps, and what it took, in the model's order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from nmflow.checkpoint.page.markup import duration, percent, tag, text
from nmflow.checkpoint.page.view import ShownLayer, View

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 64, 16, 14, 46
_HEIGHTS = {"shares": 340, "times": 190}
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_MOST_TICKS = 6
# Labels closer than this would touch.
_LABEL_PIXELS = 34
_MARKS = {
    "transposable": "M{x:.1f} {y:.1f}m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
    "unstructured": "M{x:.1f} {y:.1f}m-{r} -{r}h{d}v{d}h-{d}z",
    "rows": "M{x:.1f} {y:.1f}m0 -{h}l{h} {h}l-{h} {h}l-{h} -{h}z",
    "columns": "M{x:.1f} {y:.1f}m-{r} -{r}h{d}l-{r} {d}z",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from one number to another, in pixels."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        """Where a number is."""
        part = (value - self.low) / (self.high - self.low)
        return self.first + part * (self.last - self.first)


def share_range(shares: Sequence[float]) -> tuple[float, float, float]:
    """Round limits of an axis around shares, and the step of its labels."""
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    step = next((s for s in _STEPS if (high - low) / s <= _MOST_TICKS - 1), _STEPS[-1])
    first, last = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return first, max(last, first + step), step


def ticks(low: float, high: float, step: float) -> list[float]:
    """Where labels stand."""
    return [low + i * step for i in range(round((high - low) / step) + 1)]


def mark(pattern: str, x: float, y: float, radius: float) -> str:
    """The path of a pattern's marker: told apart by shape as well as by colour."""
    numbers = {"r": radius, "d": 2 * radius, "h": 1.3 * radius}
    rounded = {key: f"{number:g}" for key, number in numbers.items()}
    return _MARKS.get(pattern, _MARKS["columns"]).format(x=x, y=y, **rounded)


def shares_figure(view: View) -> str:
    """What every layer keeps under each pattern, layer by layer."""
    every = [share for row in view.rows for share in row.shares.values()]
    low, high, step = share_range(every)
    bottom = _HEIGHTS["shares"] - _BOTTOM
    x, y = _layer_scale(len(view.rows)), Scale(low, high, bottom, _TOP)
    parts = [_blocks(view.rows, x, bottom)]
    parts += [_grid_line(y(v), f"{percent(v, 0)} %") for v in ticks(low, high, step)]
    radius = max(1.6, min(4.0, 300 / max(len(view.rows), 1)))
    parts += [_series(view.rows, pattern, x, y, radius) for pattern in view.patterns]
    title = "Kept score by layer"
    lowest = min(view.rows, key=lambda row: row.share if row.share is not None else 2.0)
    told = (
        f"A marker for each layer and pattern, in the model's order, between {percent(low, 0)} and"
        f" {percent(high, 0)} per cent. The least is kept by {lowest.name}:"
        f" {percent(lowest.share)} per cent."
    )
    return _svg("shares", title, told, "".join(parts))


def times_figure(view: View) -> str:
    """What finding every layer's mask took."""
    seconds = [row.seconds or 0.0 for row in view.rows]
    step = _round_up(max(seconds, default=0.0) / 2)
    most = 2 * step
    bottom = _HEIGHTS["times"] - _BOTTOM
    x, y = _layer_scale(len(view.rows)), Scale(0.0, most, bottom, _TOP)
    parts = [_blocks(view.rows, x, bottom)]
    parts += [_grid_line(y(time), duration(time)) for time in (0, step, most)]
    width = max(1.0, 0.7 * (x(1) - x(0)))
    for index, (row, taken) in enumerate(zip(view.rows, seconds, strict=True)):
        left, top = x(index + 0.5) - width / 2, y(taken)
        said = tag("title", text(f"{row.name}: {duration(row.seconds)}"))
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
            f' height="{bottom - top:.1f}">{said}</rect>'
        )
    told = f"A bar for each layer, in the model's order; the highest is {duration(max(seconds))}."
    return _svg("times", "Time to find each mask", told, "".join(parts))


def _round_up(seconds: float) -> float:
    """The next of 1, 2, 3, 4, 5 and 10 times a power of ten."""
    if seconds <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(seconds))
    return unit * next(digit for digit in (1, 2, 3, 4, 5, 10) if digit * unit >= seconds * 0.999)


def _svg(key: str, title: str, told: str, content: str) -> str:
    head = tag("title", text(title), id=f"{key}-title") + tag("desc", text(told), id=f"{key}-desc")
    return tag(
        "svg",
        head + content,
        viewBox=f"0 0 {_WIDTH} {_HEIGHTS[key]}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def _layer_scale(layers: int) -> Scale:
    return Scale(0, max(layers, 1), _LEFT, _WIDTH - _RIGHT)


def _grid_line(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    place = f'x="{_LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end"'
    return f'{line}<text class="axis" {place}>{label}</text>'


def _series(rows: Sequence[ShownLayer], pattern: str, x: Scale, y: Scale, radius: float) -> str:
    """A line through a pattern's markers, and those."""
    points = [
        (x(index + 0.5), y(row.shares[pattern]), row)
        for index, row in enumerate(rows)
        if pattern in row.shares
    ]
    line = " ".join(f"{left:.1f},{top:.1f}" for left, top, _ in points)
    marks = "".join(
        tag(
            "path",
            tag("title", text(f"{row.name}: {percent(row.shares[pattern])} % {pattern}")),
            d=mark(pattern, left, top, radius),
        )
        for left, top, row in points
    )
    return f'<g class="series c-{pattern}"><polyline points="{line}"/>{marks}</g>'


def _blocks(rows: Sequence[ShownLayer], x: Scale, bottom: float) -> str:
    """Bands behind every second block of the model, and their numbers below."""
    parts, last_label = [], -math.inf
    for number, (block, first, last) in enumerate(_spans(rows)):
        left, right = x(first), x(last)
        if number % 2 == 0:
            parts.append(
                f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}"'
                f' height="{bottom - _TOP:.1f}"/>'
            )
        middle = (left + right) / 2
        if block and middle - last_label >= _LABEL_PIXELS:
            last_label = middle
            parts.append(
                f'<text class="axis" x="{middle:.1f}" y="{bottom + 18}"'
                f' text-anchor="middle">{block}</text>'
            )
    label = "block of the model" if any(block for block, _, _ in _spans(rows)) else "layers"
    parts.append(
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{bottom + 38}"'
        f' text-anchor="middle">{label}</text>'
    )
    return "".join(parts)


def _spans(rows: Sequence[ShownLayer]) -> Iterator[tuple[str, int, int]]:
    """Layers whose names have the same first number follow each other: it, and where they lie."""
    begin = 0
    for block, group in groupby(rows, key=lambda row: _first_number(row.name)):
        size = sum(1 for _ in group)
        yield block, begin, begin + size
        begin += size


def _first_number(name: str) -> str:
    found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return found[1] if found else ""
