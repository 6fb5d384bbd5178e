"""A report as plain text, and how both it and README write quantities."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import PEERS

Report = dict[str, Any]

_TILES = f"{'':22}{'us/tile':>10} {'min ... max':>21}{'x flow':>11}" + "".join(
    f"{head:>12}" for head in ("mean loss", "worst loss", "optimal", "not full", "tiles")
)


def text(report: Report) -> str:
    """All figures of a report."""
    parts = [machine(report), *_notes(), *_tile_tables(report), *_matrix_table(report)]
    parts += ["", *_warm_table(report), f"Measured in {report['seconds']:.0f} s."]
    return "\n".join(parts)


def machine(report: Report) -> str:
    """What a report was measured on."""
    found = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['system']},"
        f" Python {found['python']}; {versions}."
    )


def title(name: str) -> str:
    """What a method or peer is called."""
    return PEERS[name].title if name in PEERS else name


def number(value: float) -> str:
    """Three digits, thousands whole."""
    if value >= 1000:
        return f"{value:,.0f}"
    digits = max(2 - len(f"{int(value)}") + 1, 0) if value >= 1 else 3
    return f"{value:.{digits}f}" if value >= 0.1 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share in per cent, two or three digits; 0 and 100 only where they are exact."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share > 0.99:
        rounded = (f"{100 * share:.{digits}g}" for digits in (3, 4, 5))
        return f"{next((text for text in rounded if text != '100'), '> 99.99')} %"
    return f"{100 * share:.2g} %"


def seconds(value: float) -> str:
    """Seconds, or milliseconds where they are few."""
    return f"{value:.2f} s" if value >= 0.1 else f"{number(1000 * value)} ms"


def _notes() -> list[str]:
    return [
        "",
        "Per tile: processor time on one core, medians of interleaved repeats, minutes apart.",
        "nmflow's methods are whole calls from row-major weights to mask; peers start from float64",
        "scores, tile by tile, and get several tiles in one graph or model where that is faster.",
        "Loss: of kept score, against the optimum. Not full: tiles with a row or column that does",
        "not hold n.",
        "POT bounds no entry of a plan, so beyond n = 1 each weight becomes a source of its own,",
        "which sends its unit to its column (kept) or to its row (pruned).",
    ]


def _tile_tables(report: Report) -> list[str]:
    lines = []
    for pattern, kinds in report["tiles"].items():
        for kind, rows in kinds.items():
            lines += ["", f"{pattern}, {kind}", _TILES]
            for name, row in rows.items():
                time = row["microseconds"]
                span = f"{number(time['min'])} ... {number(time['max'])}"
                shares = ("mean_loss", "worst_loss", "optimal", "not_full")
                lines.append(
                    f"{title(name):22}{number(time['median']):>10} {span:>21}"
                    f"{number(row['times_flow']):>11}"
                    + "".join(f"{percent(row[key]):>12}" for key in shares)
                    + f"{row['tiles']:>12}"
                )
    return lines


def _matrix_table(report: Report) -> list[str]:
    lines = ["", "Whole float32 matrices of N(0, 1) at 8:16, wall clock (ms: median, min ... max)"]
    lines.append(f"{'size':>6}{'workers':>9}{'ms':>10} {'':21}{'MB beyond weights and mask':>30}")
    for row in report["matrices"]:
        for workers, time in row["milliseconds"].items():
            span = f"{number(time['min'])} ... {number(time['max'])}"
            extra = row["bytes_beyond"][workers]
            memory = "" if extra is None else f"{extra / 1e6:.1f}"
            lines.append(
                f"{row['size']:>6}{workers:>9}{number(time['median']):>10} {span:>21}{memory:>30}"
            )
    return lines


def _warm_table(report: Report) -> list[str]:
    if not report["warm"]:
        return []
    lines = ["Warm starts, 1024 x 1024 float32, one core (ms)"]
    lines.append(f"{'':7}{'change':>9}{'update':>10}{'cold solve':>12}{'speed-up':>10}")
    for row in report["warm"]:
        warm, cold = (row[f"{k}_milliseconds"]["median"] for k in ("warm", "cold"))
        lines.append(
            f"{row['pattern']:7}{row['change']:9.0e}{number(warm):>10}{number(cold):>12}"
            f"{row['speedup']:9.2f}x"
        )
    return [*lines, ""]
