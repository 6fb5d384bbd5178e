"""The static model's report as text, and which targets it says are in reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TARGETS = {"8:16": 5e-3, "16:32": 20e-3, "4:8": 2e-3}
"""Seconds for 8192 x 8192 on an H100."""
SECONDS_OF_MODEL = 0.1
"""For all masks of a billion parameters at 8:16."""
SHARE_OF_COPY = 0.5
"""Of the bandwidth of a copy, at 2:4."""
SIDE = 8192
SMALL_MOVE = "0.001"


def table(report: dict[str, Any]) -> str:
    """All figures that the guide or a reader may want."""
    lines = [
        "PREDICTED, not measured: no GPU ran any of this. From code compiled by nvcc"
        f" {report['compiler']}; benchmarks/gpu/static_model.py says how.",
        "",
        "Milliseconds for float32 matrices of standard normal weights, read once and masked",
    ]
    sides = [int(side) for side in next(iter(_seconds(report, "2:4").values()))]
    for device in report["devices"]:
        lines += ["", f"{device:17}" + "".join(f"{side:>10}" for side in sides) + "  of a copy"]
        for pattern in report["patterns"]:
            times = _seconds(report, pattern)[device]
            cells = "".join(f"{_of(times, side)['total'] * 1e3:10.3f}" for side in sides)
            lines.append(f"{pattern:17}{cells}{_of(times, SIDE)['share of copy']:11.0%}")
    lines += ["", f"Of which at {SIDE} on an H100 SXM, milliseconds by stage"]
    for pattern in report["patterns"]:
        stages = _of(_seconds(report, pattern)["H100 SXM"], SIDE)
        parts = (f"{name} {stages[name] * 1e3:.3f}" for name in stages if "of" not in name)
        lines.append(f"{pattern:8}" + ", ".join(parts))
    lines += _refreshes(report)
    lines += ["", "Registers a thread, and bytes spilled, of the four kernels"]
    for pattern, found in report["patterns"].items():
        for architecture, kernels in found["kernels"].items():
            parts = (f"{k} {v['registers']} / {v['spills']}" for k, v in kernels.items())
            lines.append(f"{pattern:8}{architecture:8}" + ", ".join(sorted(parts)))
    lines += ["", "A tile on average (loops are those of its warp, which has several)"]
    for pattern, found in report["patterns"].items():
        parts = (f"{name} {number:.3g}" for name, number in found["runs a tile"].items())
        lines.append(f"{pattern:8}" + ", ".join(parts))
    return "\n".join([*lines, "", *targets(report)])


def _refreshes(report: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "Milliseconds on an H100 SXM to refresh the masks of a billion float32 parameters in 80"
        " layers:",
        "anew, and from the potentials of the last refresh, by how far weights moved since (in"
        " standard deviations);",
        "rounds of the ascent, tiles left to the second stage, and to the third, of each tile",
    ]
    for pattern, found in report["patterns"].items():
        runs = {"anew": found["runs a tile"]}
        runs |= {share: each["runs a tile"] for share, each in found.get("warm", {}).items()}
        for moved, seconds in found["refresh"].items():
            each = runs[moved]
            lines.append(
                f"{pattern:8}{moved:8}{seconds * 1e3:8.2f} ms, rounds {each['rounds']:.3g},"
                f" second {each['open']:.3g}, third {each['difficult']:.3g}"
            )
    return lines


def short(report: dict[str, Any]) -> str:
    """The guide's table: the largest matrix on an H100."""
    names = ("2:4", "4:8", "8:16", "16:32")
    totals = (_of(_seconds(report, name)["H100 SXM"], SIDE)["total"] for name in names)
    return _rows(names, [f"{total * 1e3:.2f} ms" for total in totals])


def short_refresh(report: dict[str, Any]) -> str:
    """The guide's: all masks of a model, anew and after a small move."""
    names = ("4:8", "8:16", "16:32")
    times = (report["patterns"][name]["refresh"] for name in names)
    each = (f"{x['anew'] * 1e3:.1f} ms, {x[SMALL_MOVE] * 1e3:.1f} ms" for x in times)
    return _rows(names, list(each))


def _rows(names: Sequence[str], cells: Sequence[str]) -> str:
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n| {' | '.join(cells)} |"


def targets(report: dict[str, Any]) -> list[str]:
    """Each target with what the model says of it."""
    lines = [f"Targets on an H100 SXM at {SIDE} x {SIDE}, as the model sees them"]
    for pattern, most in TARGETS.items():
        total = _of(_seconds(report, pattern)["H100 SXM"], SIDE)["total"]
        lines.append(
            _target(f"{pattern} in {most * 1e3:g} ms", f"{total * 1e3:.2f}", total <= most)
        )
    model = report["patterns"]["8:16"]["refresh"]["anew"]
    lines.append(
        _target("8:16 of a billion in 100 ms", f"{model * 1e3:.1f}", model <= SECONDS_OF_MODEL)
    )
    share = _of(_seconds(report, "2:4")["H100 SXM"], SIDE)["share of copy"]
    lines.append(_target("2:4 at half of a copy's speed", f"{share:.0%}", share >= SHARE_OF_COPY))
    spills = sum(
        kernel["spills"]
        for pattern, found in report["patterns"].items()
        if int(pattern.split(":")[1]) <= 16
        for kernel in found["kernels"]["sm_90"].values()
    )
    lines.append(_target("no spills at sm_90 for m <= 16", f"{spills} bytes", spills == 0))
    return lines


def _target(what: str, found: str, reached: bool) -> str:
    return f"{what:32}{found:>10}  {'in reach' if reached else 'OUT OF REACH'}"


def _seconds(report: dict[str, Any], pattern: str) -> Any:
    return report["patterns"][pattern]["seconds"]


def _of(times: Any, side: int) -> Any:
    """Of a report as it was made, or as it was read back."""
    return times[side] if side in times else times[str(side)]
