"""100 M parameters for some hundred steps: ``python -m benchmarks.training.large``.

A transformer for an accelerator: the model and the bytes of the small language task, wider and
deeper, in bfloat16. Trains dense and under 4:8 and 8:16 masks from the same seed, and writes loss
curves and the share of time that masks take to ``benchmarks/results/large.json``.
With ``--tiny`` it trains next to nothing, on any machine, and writes only where told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from benchmarks.training import stdlib
from benchmarks.training.masks import Masks
from benchmarks.training.runs import DENSE, Run
from benchmarks.training.store import write
from benchmarks.training.train import MOST_NORM, groups, loss_of, means, schedule

RESULTS = Path(__file__).parents[1] / "results" / "large.json"


class Plan(NamedTuple):
    """How large.

    Attributes
    ----------
    width, layers, batch, context, steps : int
    rate : float
    """

    width: int
    layers: int
    batch: int
    context: int
    steps: int
    rate: float


LARGE = Plan(width=768, layers=14, batch=32, context=512, steps=400, rate=6e-4)
TINY = Plan(width=64, layers=2, batch=2, context=32, steps=5, rate=1e-3)
RUNS = (
    DENSE,
    Run("4:8, every 40", 4, 8, rule="ste", every=40),
    Run("4:8, every step", 4, 8, rule="ste", every=1),
    Run("8:16, every 40", 8, 16, rule="ste", every=40),
)


def measure(plan: Plan, device: torch.device) -> dict[str, Any]:
    """The report."""
    data = stdlib.Stdlib("test")
    rows = {}
    for run in RUNS:
        rows[run.name] = train(run, plan, data, device)
        print(f"{run.name}: {summary(rows[run.name])}", flush=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"machine": describe(), "device": name, "plan": plan._asdict(), "runs": rows}


def train(run: Run, plan: Plan, data: stdlib.Stdlib, device: torch.device) -> dict[str, Any]:
    """One training, with the time of each step and of its masks.

    Steps wait for the device, so that a time is the time of its own step's work.
    """
    torch.manual_seed(0)
    model = stdlib.Transformer(plan.width, plan.layers, plan.width // 64).to(device)
    masks = Masks(model, run, stdlib.TASK.dense, plan.steps, workers=None)
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(groups(model, 0.1), plan.rate, betas=(0.9, 0.95), fused=fused)
    generator = torch.Generator().manual_seed(0)
    losses, times, shares = [], [], []
    for step in range(plan.steps):
        begin, before = time.perf_counter(), masks.seconds
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * schedule(step, plan.steps)
        batch = pieces(data.train, plan, generator)
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(model, tuple(x.to(device, non_blocking=True) for x in batch))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MOST_NORM)
        optimizer.step()
        losses.append(loss.item())
        synchronise(device)
        masks.step()
        synchronise(device)
        # The last step certifies, which is no part of training.
        times.append(time.perf_counter() - begin - masks.certify_seconds)
        shares.append(masks.seconds - before)
    # The first steps set up the device.
    settled = len(times) // 10
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "losses": means(losses),
        "step_seconds": statistics.median(times[settled:]),
        "mask_share": sum(shares[settled:]) / sum(times[settled:]),
        "masks": masks.record(sum(times)),
    }


def pieces(source: Tensor, plan: Plan, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces of the training bytes, and the same one byte on."""
    starts = torch.randint(len(source) - plan.context, (plan.batch, 1), generator=generator)
    found = source[starts + torch.arange(plan.context + 1)].long()
    return found[:, :-1], found[:, 1:]


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(row: dict[str, Any]) -> str:
    """A line."""
    gap = "" if row["masks"] is None else f", gap {row['masks']['certificates']['largest_gap']:g}"
    return (
        f"{row['parameters'] / 1e6:.1f} M parameters, loss {row['losses'][-1]:.4f},"
        f" {1e3 * row['step_seconds']:.1f} ms a step, masks {100 * row['mask_share']:.2f} %{gap}"
    )


def main() -> None:
    """Train, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Train a transformer of 100 M parameters.")
    parser.add_argument("--tiny", action="store_true", help="some steps of a tiny model")
    parser.add_argument("--device", help="default: cuda where there is one")
    parser.add_argument("--out", type=Path, help=f"file (default: {RESULTS}; --tiny: none)")
    options = parser.parse_args()
    chosen = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    report = measure(TINY if options.tiny else LARGE, torch.device(chosen))
    out = options.out or (None if options.tiny else RESULTS)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
