"""Figures of README and guide, from the committed results: ``python -m benchmarks.pages``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import picture
from benchmarks.checkpoints import TWO_WORKERS
from benchmarks.conversion import tables as conversion
from benchmarks.gpu import predicted_table as predicted
from benchmarks.problems import COMMON
from benchmarks.tables import number, percent, seconds, title
from benchmarks.training import tables as training

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md")))
RESULTS = Path(__file__).parent / "results"
PICTURE = RESULTS / "solvers.svg"

Report = dict[str, Any]


def report(name: str = "solvers") -> Report:
    """The committed results."""
    found: Report = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def methods_table(found: Report) -> str:
    """Time, loss and share not full of every method and peer at each common n:m."""
    patterns = {f"{n}:{m}": found["tiles"][f"{n}:{m}"][picture.KIND] for n, m in COMMON}
    names = list(dict.fromkeys(name for rows in patterns.values() for name in rows))
    lines = _head("", *patterns)
    for name in names:
        cells = [_cell(rows[name]) if name in rows else "" for rows in patterns.values()]
        shown = title(name) if title(name) != name else f"`{name}`"
        lines.append(_row(shown, *cells))
    return "\n".join([*lines, "", _machine(found)])


def weights_table(found: Report) -> str:
    """Time of `flow` for every n:m and kind of weights."""
    kinds = list(dict.fromkeys(kind for rows in found["tiles"].values() for kind in rows))
    lines = _head("", *kinds)
    for pattern, rows in found["tiles"].items():
        times = [
            number(rows[kind]["flow"]["microseconds"]["median"]) if kind in rows else ""
            for kind in kinds
        ]
        lines.append(_row(pattern, *times))
    return "\n".join(lines)


def matrices_table(found: Report) -> str:
    """Whole matrices."""
    lines = _head(
        "float32 at 8:16", "one worker", "two workers", "peak memory beyond weights and mask"
    )
    for row in found["matrices"]:
        times = [seconds(t["median"] / 1e3) for t in row["milliseconds"].values()]
        extra = max((v for v in row["bytes_beyond"].values() if v is not None), default=None)
        memory = "" if extra is None else f"{extra / 1e6:.1f} MB"
        lines.append(_row(f"{row['size']} x {row['size']}", *(times + [""])[:2], memory))
    return "\n".join(lines)


def startup_table(found: Report) -> str:
    """What a user waits for."""
    base = found["startup"]["import numpy"]["median"]
    lines = _head("in a fresh process", "median")
    for name, times in found["startup"].items():
        if name == "import numpy, nmflow":
            beyond = seconds(times["median"] - base)
            lines.append(_row("`import nmflow`, beyond `import numpy`", beyond))
        elif name != "import numpy":
            lines.append(_row(name, seconds(times["median"])))
    return "\n".join([*lines, "", _machine(found)])


def warm_table(found: Report) -> str:
    """Warm starts, cold over warm."""
    patterns = list(dict.fromkeys(row["pattern"] for row in found["warm"]))
    if not patterns:
        return ""
    lines = _head("weights changed by", *patterns)
    for change in dict.fromkeys(row["change"] for row in found["warm"]):
        rows = {r["pattern"]: r for r in found["warm"] if r["change"] == change}
        cells = [
            f"{rows[p]['speedup']:.1f} x ({seconds(rows[p]['warm_milliseconds']['median'] / 1e3)})"
            for p in patterns
        ]
        lines.append(_row(f"{100 * change:g} %", *cells))
    head = (
        "`nmflow.Tracker.update` against a cold `solve`, 1024 x 1024 float32, one core: times"
        " faster (and time)."
    )
    return "\n".join([head, "", *lines])


def flow_figures(found: Report) -> str:
    """Time of a tile of `flow` at each common n:m."""
    rows = [found["tiles"][f"{n}:{m}"][picture.KIND]["flow"] for n, m in COMMON]
    return ", ".join(number(row["microseconds"]["median"]) for row in rows)


def largest_matrix(found: Report) -> str:
    """The largest matrix, with all workers that were tried."""
    row = max(found["matrices"], key=lambda each: each["size"])
    return seconds(row["milliseconds"]["2"]["median"] / 1e3)


def largest_checkpoint(found: Report) -> str:
    """The largest model, with two threads, beside a copy."""
    row = [row for row in found["rows"] if row["task"] == TWO_WORKERS][-1]
    speed = row["bytes"] / row["seconds"] / 1e9
    return f"{speed:.2f} GB/s, {row['of_copy']:.0%} of a copy's speed, in {row['peak_mb']:.0f} MB"


def jax_cost(found: Report) -> str:
    """Processor time against the engine's, and compiling, at each n:m."""
    ratios = [row["ratio"]["median"] for row in found["rows"]]
    compiling = [row["compile_s"] for row in found["rows"]]
    return (
        f"{min(ratios):.0f} to {max(ratios):.0f} times the processor time of the CPU's engine, and"
        f" {min(compiling):.0f} to {max(compiling):.0f} s to compile a shape"
    )


def jax_ends(found: Report) -> str:
    """Bits per byte of each run."""
    ends = (f"{name} {run['mean']:.3f}" for name, run in found["runs"].items())
    dense = found["runs"]["dense"]
    return f"{', '.join(ends)} (dense seeds: {dense['min']:.3f} to {dense['max']:.3f})"


TABLES = {
    "solvers": {
        "methods": methods_table,
        "weights": weights_table,
        "matrices": matrices_table,
        "warm": warm_table,
        "short-flow": flow_figures,
        "short-matrix": largest_matrix,
    },
    "startup": {"startup": startup_table},
    "training": {
        "training": training.readme,
        "training-time": training.readme_timing,
        "short-training": training.short_timing,
    },
    "conversion": {"conversion": conversion.readme, "short-conversion": conversion.short},
    "checkpoints": {"short-checkpoints": largest_checkpoint},
    "jax": {"short-jax": jax_cost},
    "jax_training": {"short-jax-training": jax_ends},
    "jax_training_small": {"short-jax-training-small": jax_ends},
    "gpu_predicted": {
        "predicted": predicted.short,
        "predicted-refresh": predicted.short_refresh,
    },
}
"""By report: what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a page."""


def filled(pages: dict[Path, str]) -> dict[Path, str]:
    """The pages with their tables and figures written anew.

    Raises
    ------
    ValueError
        If one has no place on any page, or several.
    """
    new = dict(pages)
    for source, tables in TABLES.items():
        found = report(source)
        for name, table in tables.items():
            # Figures within a line have no lines of their own.
            end = "" if name.startswith("short-") else "\n"
            place = re.compile(rf"(<!-- {name} -->{end}).*?(<!-- /{name} -->)", flags=re.S)
            holders = [page for page, text in new.items() for _ in place.finditer(text)]
            if len(holders) != 1:
                raise ValueError(f"there are {len(holders)} places for {name!r}, not 1")
            body = table(found)
            body += end if body else ""
            (page,) = holders
            new[page] = place.sub(lambda at, body=body: at[1] + body + at[2], new[page])
    return new


def read() -> dict[Path, str]:
    """The pages as they are."""
    return {page: page.read_text() for page in PAGES}


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(row: dict[str, Any]) -> str:
    text = number(row["microseconds"]["median"])
    if row["mean_loss"] > 0:
        text += f"; {percent(row['mean_loss'])}"
    if row["not_full"] > 0:
        text += f"; {percent(row['not_full'])}"
    return text


def _machine(found: Report) -> str:
    machine = found["machine"]
    return (
        f"On {machine['processor']}, {machine['cores']} cores, Python {machine['python']},"
        f" numba {machine['packages']['numba']}."
    )


if __name__ == "__main__":
    for page, text in filled(read()).items():
        page.write_text(text)
    picture.save(report(), PICTURE)
