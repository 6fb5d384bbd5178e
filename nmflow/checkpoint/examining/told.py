"""How models that were looked at are told in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nmflow.checkpoint.console import gap_text, plain, skipped_grid
from nmflow.checkpoint.examining.inspecting import InspectReport, LayerFound, native_for
from nmflow.checkpoint.examining.report import CheckReport, LayerChecked
from nmflow.checkpoint.layers import Skipped

if TYPE_CHECKING:
    from rich.console import Console


def print_inspection(console: Console, report: InspectReport) -> None:
    """Print the table of layers, what is skipped, and the totals."""
    from rich.table import Table

    table = Table(
        title=f"{plain(report.source)}: {len(report.layers)} layers",
        caption="has: the sparsest n:m that its zeros have; divides: m without a ragged edge",
        title_justify="left",
        caption_justify="left",
        show_footer=True,
    )
    zeros = f"{100 * report.zeros / max(report.entries, 1):.1f}"
    table.add_column("layer", "all layers", overflow="fold")
    table.add_column("shape", f"{report.entries:,}", justify="right", overflow="fold")
    table.add_column("dtype", justify="right")
    table.add_column("zeros\n%", zeros, justify="right")
    table.add_column("has", overflow="fold")
    table.add_column("divides", justify="right")
    for layer in report.layers:
        table.add_row(
            plain(layer.name),
            "x".join(map(str, layer.shape)),
            layer.dtype,
            f"{100 * layer.found.share:.1f}",
            str(layer.found),
            _divides(layer.divisible, report.sizes),
        )
    console.print(table)
    _print_native(console, report.layers)
    if not any(layer.forward for layer in report.layers):
        dtypes = sorted({layer.dtype for layer in report.layers})
        told = dict.fromkeys(one for dtype in dtypes for one in native_for({4: 2}, dtype))
        console.print("At 2:4 they would be by:", style="bold")
        for one in told:
            console.print(f"  {plain(one)}", soft_wrap=True)
    _print_skipped(console, report.skipped, "Dense by default")


def _divides(divisible: Sequence[int], sizes: Sequence[int]) -> str:
    return "all" if tuple(divisible) == tuple(sizes) else " ".join(map(str, divisible)) or "none"


def _print_native(console: Console, layers: Sequence[LayerFound]) -> None:
    """Which hardware multiplies by how many of the layers."""
    for way, attribute in (("as they are", "forward"), ("transposed", "backward")):
        counts: dict[str, int] = {}
        for layer in layers:
            for one in getattr(layer, attribute):
                counts[one] = counts.get(one, 0) + 1
        if not counts:
            console.print(f"No hardware known here multiplies by them natively, {way}.")
            continue
        console.print(f"Natively multiplied, {way}:", style="bold")
        for one, count in counts.items():
            console.print(f"  {count} of {len(layers)} layers: {plain(one)}", soft_wrap=True)


def print_check(console: Console, report: CheckReport) -> None:
    """Print the table of layers, what was skipped, and the verdict."""
    from rich.table import Table

    certified = report.source is not None
    table = Table(
        title=f"{plain(report.target)}: {len(report.layers)} layers",
        caption="gap: certified distance to the best mask of the dense weights"
        if certified
        else "gaps are certified against the dense model: --source",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("layer", overflow="fold")
    table.add_column("shape", justify="right", overflow="fold")
    table.add_column("zeros\n%", justify="right")
    table.add_column("held against", overflow="fold")
    if certified:
        table.add_column("kept\n%", justify="right")
        table.add_column("gap", justify="right")
    table.add_column("")
    for layer in report.layers:
        table.add_row(*_cells(layer, certified))
    console.print(table)
    _print_skipped(console, report.skipped, "Not looked at")
    if report.failures:
        return
    told = "no group of a layer holds more than n"
    if certified:
        told += f"; all else is the source's; certified gap {gap_text(report.gap)}"
    console.print(f"[green]Verified[/green] in {report.seconds:.1f} s: {told}.")


def _cells(layer: LayerChecked, certified: bool) -> list[str]:
    pattern, proof = layer.pattern, layer.certificate
    asked = "none" if pattern is None else str(pattern)
    cells = [
        plain(layer.name),
        "x".join(map(str, layer.shape)),
        f"{100 * layer.found.share:.1f}",
        asked if layer.given or pattern is None else f"{asked} (found)",
    ]
    if certified:
        shares = list(layer.shares.values())
        known = proof is not None and pattern is not None and bool(shares)
        cells.append(f"{100 * layer.shares[pattern.name]:.2f}" if known and pattern else "")
        cells.append(gap_text(proof.gap) if proof is not None else "")
    return [*cells, "[red]FAILED[/red]" if layer.problems else "ok"]


def _print_skipped(console: Console, skipped: Iterable[Skipped], what: str) -> None:
    listed = list(skipped)
    if listed:
        console.print(f"{what}: {len(listed)} tensors", style="bold")
        grid: Any = skipped_grid(listed)
        console.print(grid)
