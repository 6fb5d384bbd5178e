"""How a report looks in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import nmflow
from nmflow.checkpoint.layers import Skipped
from nmflow.checkpoint.report import LayerReport, PruneReport
from nmflow.checkpoint.writing.planning import Plan
from nmflow.checkpoint.writing.run import Progress
from nmflow.errors import MissingExtraError
from nmflow.problem.pattern import Pattern

if TYPE_CHECKING:
    from rich.console import Console

# Where the output is no terminal nothing says how wide it may be: wide enough for long names.
_PLAIN_WIDTH = 160
_LABEL_WIDTH = 44


def make_console(file: IO[str] | None = None) -> Console:
    """A console on a stream, by default standard output."""
    try:
        from rich.console import Console
    except ImportError:
        raise MissingExtraError("the command line", "cli") from None

    class QuietPipeConsole(Console):
        def on_broken_pipe(self) -> None:
            # `nmflow prune ... | head`: rich would exit with 1, which here means a failed check.
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    console = QuietPipeConsole(file=file, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PLAIN_WIDTH
    return console


@contextmanager
def progress_bar(console: Console, *, in_bytes: bool = False) -> Iterator[Progress]:
    """A bar that :func:`nmflow.checkpoint.prune_checkpoint` can drive, which tells bytes."""
    from rich import progress

    columns: list[Any] = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
    ]
    if in_bytes:
        columns += [
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
        ]
    # Into a file or a pipe a bar would only write empty lines.
    silent = not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task("reading", total=None)

        def tell(what: str, done: int, total: int) -> None:
            label = what if len(what) <= _LABEL_WIDTH else "..." + what[3 - _LABEL_WIDTH :]
            bar.update(task, description=plain(label), completed=done, total=total)

        yield tell


def print_report(console: Console, report: PruneReport) -> None:
    """Print the table of layers, what was skipped, and the verdict."""
    console.print(_layer_table(report))
    if report.skipped:
        console.print(f"Left as they are: {len(report.skipped)} tensors", style="bold")
        console.print(skipped_grid(report.skipped))
    if report.left_out:
        listed = plain(", ".join(report.left_out))
        console.print(f"Not copied, as they hold the dense weights: {listed}", soft_wrap=True)
    console.print(f"[green]Verified[/green] on the written {_what_was_verified(report)}.")
    if report.kernels.compiled:
        console.print(plain(_compiled(report)), soft_wrap=True)
    console.print(
        f"Wrote {plain(report.target)} in {report.seconds:.1f} s,"
        f" of which {report.solve_seconds:.3g} s to find the masks."
    )


def _what_was_verified(report: PruneReport) -> str:
    promised = promise(report.pattern) if report.uniform else "each layer by its own pattern"
    if report.masks_only:
        return f"masks: {promised}"
    return f"file: {promised}; kept weights and all other tensors are unchanged"


def print_plan(console: Console, plan: Plan) -> None:
    """Print what would be done."""
    from rich.table import Table

    found = plan.as_dict()
    table = Table(title=f"{len(found['layers'])} layers would be pruned", title_justify="left")
    for header in ("layer", "dtype", "shape", "pattern", "size"):
        table.add_column(header, overflow="fold", justify="right" if header == "size" else "left")
    for layer in found["layers"]:
        shape, pattern = "x".join(map(str, layer["shape"])), f"{layer['n']}:{layer['m']}"
        cells = (layer["name"], layer["dtype"], shape, f"{pattern} {layer['pattern']}")
        table.add_row(*map(plain, cells), _size(layer["bytes"]))
    console.print(table)
    if plan.selection.skipped:
        console.print(f"Left as they are: {len(plan.selection.skipped)} tensors", style="bold")
        console.print(skipped_grid(plan.selection.skipped))
    written, free = found["bytes_written"], found["bytes_free"]
    console.print(
        f"Would read {_size(found['bytes_read'])} ({found['kind']}) and write {_size(written)} to"
        f" {plain(found['target'])}, where {_size(free)} are free"
        f"{'' if written <= free else ', which is too little'}. Nothing was written.",
        soft_wrap=True,
    )
    if found["extras"]:
        console.print(plain(f"Copied along: {', '.join(found['extras'])}"), soft_wrap=True)


def _size(count: float) -> str:
    from rich.filesize import decimal

    return decimal(int(count))


def promise(pattern: Pattern) -> str:
    """What was counted of a pattern, in words."""
    what = {
        "transposable": "rows and columns hold at most n in every group",
        "unstructured": "the number of weights kept",
    }.get(pattern.name, f"{pattern.name} hold at most n in every group")
    return f"{what} ({pattern.n}:{pattern.m})"


def _compiled(report: PruneReport) -> str:
    count, folder = report.kernels.compiled, report.kernels.folder
    kept = f"kept in {folder} for the next time" if folder else "which can't be kept"
    return (
        f"Before the first layer: {count} kernel{'s' if count > 1 else ''} compiled"
        f" in {report.kernel_seconds:.1f} s, {kept} (`nmflow warmup` does that ahead)."
    )


def _layer_table(report: PruneReport) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{report.pattern}, method {report.method}: {len(report.layers)} layers",
        caption="kept: share of the layer's total score, in %; gap: certified distance to optimal",
        title_justify="left",
        caption_justify="left",
        show_footer=True,
    )
    size = sum(layer.size for layer in report.layers)
    table.add_column("layer", "all layers", overflow="fold")
    table.add_column("shape", f"{size:,}", justify="right", overflow="fold")
    for name in report.patterns:
        style = "bold" if name == report.pattern.name else None
        share = f"{100 * report.share(name):.2f}"
        table.add_column(f"kept\n{name}", share, justify="right", style=style)
    if report.pattern.name not in report.patterns:
        share = f"{100 * report.kept_share:.2f}"
        table.add_column("kept", share, justify="right", style="bold")
    if not report.uniform:
        table.add_column("pattern")
    table.add_column("gap", gap_text(report.gap), justify="right")
    table.add_column("time", _time(report.solve_seconds), justify="right", no_wrap=True)
    for layer in report.layers:
        table.add_row(*_layer_cells(layer, report))
    return table


def _layer_cells(layer: LayerReport, report: PruneReport) -> list[str]:
    own, names = layer.pattern, list(report.patterns)
    if report.pattern.name not in names:
        names.append(own.name)
    return [
        plain(layer.name),
        "x".join(map(str, layer.shape)),
        *(f"{100 * layer.share(name):.2f}" for name in names),
        *([] if report.uniform else [f"{own.n}:{own.m} {own.name}"]),
        gap_text(layer.certificate.gap),
        _time(layer.seconds),
    ]


def skipped_grid(skipped: Iterable[Skipped]) -> Any:
    """Reasons, each with the names that it is given for."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for reason, names in group_skipped(skipped).items():
        grid.add_row(f"  {reason} ({sum(names.values())})", plain(_listed(names)))
    return grid


def group_skipped(skipped: Iterable[Skipped]) -> dict[str, dict[str, int]]:
    """Names by reason; those that differ in their numbers alone become one, with their count."""
    groups: dict[str, dict[str, int]] = {}
    for one in skipped:
        names = groups.setdefault(one.reason, {})
        stem = ".".join("*" if part.isdigit() else part for part in one.name.split("."))
        names[stem] = names.get(stem, 0) + 1
    return groups


def _listed(names: dict[str, int]) -> str:
    return ", ".join(f"{stem} ({count})" if count > 1 else stem for stem, count in names.items())


def print_methods(console: Console) -> None:
    """Print the registry."""
    from rich.table import Table

    table = Table(show_lines=True)
    for header in ("method", "exact", "guarantee", "source", "extra"):
        table.add_column(header, overflow="fold")
    for method in nmflow.methods():
        table.add_row(
            method.name,
            "yes" if method.exact else "no",
            plain(method.guarantee),
            plain(method.source),
            method.extra or "",
        )
    console.print(table)


def plain(text: str) -> str:
    """Text whose square brackets are no markup."""
    from rich.markup import escape

    return escape(text)


def gap_text(gap: float) -> str:
    """A gap in a table; 0 only where it is."""
    return "0" if gap == 0 else f"{gap:.1e}"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
