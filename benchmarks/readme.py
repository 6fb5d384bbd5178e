"""Write the README's tables from the committed results: ``python -m benchmarks.readme``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results"


def startup_table() -> str:
    """What a user waits for."""
    report = _load("startup")
    base = report["seconds"]["import numpy"]["median"]
    rows = ["| | median |", "|---|---|"]
    for name, spread in report["seconds"].items():
        if name == "import numpy, nmflow":
            rows.append(
                f"| `import nmflow`, beyond `import numpy` | {_time(spread['median'] - base)} |"
            )
        elif name != "import numpy":
            rows.append(f"| {name} | {_time(spread['median'])} |")
    return "\n".join([*rows, "", _machine(report)])


def methods_table() -> str:
    """Time, loss and share not full of every method and peer at each n:m."""
    report = _load("methods")
    patterns = report["results"]
    names = list(dict.fromkeys(name for rows in patterns.values() for name in rows))
    lines = ["| | " + " | ".join(patterns) + " |", "|---|" + "---|" * len(patterns)]
    for name in names:
        cells = [_cell(rows[name]) if name in rows else "" for rows in patterns.values()]
        lines.append(f"| {_title(name)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _machine(report)])


TABLES = {"startup": startup_table, "methods": methods_table}


def filled(text: str) -> str:
    """The README with its tables written anew."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(pattern, lambda m, t=table: f"{m[1]}{t()}\n{m[2]}", text, flags=re.S)
        if count != 1:
            raise ValueError(f"README.md has {count} places for the table {name!r}, not 1")
    return text


def _load(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return report


def _cell(row: dict[str, float]) -> str:
    text = (
        f"{row['microseconds']:.3g}" if row["microseconds"] < 1000 else f"{row['microseconds']:.0f}"
    )
    if row["mean_loss"] > 1e-9:
        text += f"; {100 * row['mean_loss']:.2g} %"
    if row["not_full"] > 0:
        text += f"; {100 * row['not_full']:.3g} %"
    return text


def _title(name: str) -> str:
    return {"ortools": "OR-tools", "networkx": "NetworkX"}.get(name, f"`{name}`")


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms"


def _machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"On {machine['processor']}, {machine['cores']} cores, Python {machine['python']},"
        f" numba {machine['packages']['numba']}."
    )


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
