"""The report as plain text and as the guide's table."""

from __future__ import annotations

from typing import Any

from benchmarks.tables import machine, percent

Report = dict[str, Any]

_NOTES = """\
Means of seeds, and the standard deviation of one seed. Within: whether the mean is at least as
good as the worst dense seed. Flipped: entries that the last refresh but one changed, first seed.
Gap: the largest of all layers and seeds after the last refresh, certified. First and last layers
and embeddings are dense. All runs of a task have the same settings, chosen for the dense one."""


def text(report: Report) -> str:
    """All figures."""
    parts = [machine(report), "", _NOTES]
    for name, task in report["tasks"].items():
        parts += ["", *_task(name, task)]
    count, seconds, workers = (report[k] for k in ("trainings", "training_seconds", "workers"))
    parts += ["", f"{count} trainings took {seconds:.0f} s, {workers} at a time."]
    return "\n".join(parts)


def quantity(task: Report, value: float) -> str:
    """A value of a task's metric; accuracy in per cent."""
    return f"{100 * value:.2f}" if task["higher"] else f"{value:.4f}"


def readme(report: Report) -> str:
    """The guide's table: mean and spread of each run, a column a task."""
    tasks = report["tasks"]
    names = list(dict.fromkeys(name for task in tasks.values() for name in task["runs"]))
    lines = ["| | " + " | ".join(_head(task) for task in tasks.values()) + " |"]
    lines.append("|---" * (len(tasks) + 1) + "|")
    for name in names:
        cells = [
            _cell(task, task["runs"][name]) if name in task["runs"] else ""
            for task in tasks.values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def readme_timing(report: Report) -> str:
    """The guide's table of the share of training time that masks take."""
    tasks = report["tasks"]
    rows = next(iter(tasks.values()))["timing"]
    kinds = [(row["pattern"], row["every"]) for row in rows if row["every"]]
    patterns = list(dict.fromkeys(pattern for pattern, _ in kinds))
    lines = ["| | " + " | ".join(patterns) + " |", "|---" * (len(patterns) + 1) + "|"]
    for task in tasks.values():
        shares = {(row["pattern"], row["every"]): row["mask_share"] for row in task["timing"]}
        for every in dict.fromkeys(every for _, every in kinds):
            when = "every step" if every == 1 else f"every {every} steps"
            cells = [percent(shares[pattern, every]) for pattern in patterns]
            lines.append(f"| {task['title']}, {when} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short_timing(report: Report) -> str:
    """The range of the shares of training time that masks found every 40 steps take."""
    shares = [
        row["mask_share"]
        for task in report["tasks"].values()
        for row in task["timing"]
        if row["every"] == 40
    ]
    return f"{percent(min(shares))} to {percent(max(shares))}"


def _head(task: Report) -> str:
    return f"{task['title']}: {task['unit']}"


def _cell(task: Report, row: Report) -> str:
    return f"{quantity(task, row['mean'])} ± {quantity(task, row['deviation'])}"


def _task(name: str, task: Report) -> list[str]:
    setting = ", ".join(f"{key} {value:g}" for key, value in task["setting"].items())
    facts = ", ".join(f"{k} {v:,}" for k, v in task["data"].items() if k != "sha256")
    lines = [f"{name}: {task['title']}; {task['parameters']:,} parameters; {facts}; {setting}."]
    lines += ["", f"{task['unit']:28}{'mean':>9}{'spread':>9}{'least':>9}{'most':>9}{'seeds':>7}"]
    lines[-1] += f"{'- dense':>9}{'within':>8}{'kept':>8}{'flipped':>9}{'gap':>9}"
    lines += [_run(task, run, row) for run, row in task["runs"].items()]
    if task["sweep"]:
        lines += ["", "Sweep of the dense baseline on what was held out for tuning"]
        lines += [_setting(task, row) for row in task["sweep"]]
    lines += ["", f"{'Time':28}{'ms/step':>9}{'x dense':>9}{'masks':>9}"]
    for row in task["timing"]:
        when = f"{row['pattern']}, every {row['every']}" if row["every"] else row["pattern"]
        lines.append(
            f"{when:28}{1e3 * row['step_seconds']:9.2f}{row['times_dense']:9.3f}"
            f"{percent(row['mask_share']):>9}"
        )
    return lines


def _run(task: Report, name: str, row: Report) -> str:
    found = (quantity(task, row[key]) for key in ("mean", "deviation", "min", "max"))
    line = f"{name:28}" + "".join(f"{value:>9}" for value in found) + f"{len(row['values']):7}"
    line += f"{quantity(task, row['beyond_dense']):>9}{'yes' if row['within_dense'] else 'no':>8}"
    if row["m"]:
        gap = max(each["largest_gap"] for each in row["certificates"])
        flips = [each["flip_rate"] for each in row["history"]]
        flipped = percent(flips[-2]) if len(flips) > 1 else ""
        line += f"{percent(sum(row['kept']) / len(row['kept'])):>8}{flipped:>9}{gap:9.3g}"
    return line


def _setting(task: Report, row: Report) -> str:
    seeds = ", ".join(quantity(task, value) for value in row["values"])
    return (
        f"rate {row['rate']:<8g}decay {row['decay']:<8g}steps {row['steps']:<6}"
        f"{quantity(task, row['mean']):>9}  ({seeds}){'  chosen' if row['chosen'] else ''}"
    )
