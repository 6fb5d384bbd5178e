"""Masks on a GPU, measured: ``python -m benchmarks.gpu [--part matrices] [--device cuda:0]``.

Needs a CUDA device and ``nmflow[cuda]``. Writes ``gpu.json`` and ``gpu.txt`` to
``benchmarks/results/``; each part goes on from what is there of the same device. Until it has run,
``gpu_predicted.txt`` is all there is.

matrices  the kernels, the same by tensor operations, the way through the host, TSENOR, the product
          with all 90 masks and PyTorch's own tile sparsifier (2:4, not exact), beside the floor:
          reading the weights once and writing the mask once at the speed of a copy
layers    forward and backward of Llama's linear layers, dense and on sparse tensor cores
training  the share of a training step that masks take if they are found at each
refresh   all masks of a model of a billion parameters
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import matrices, models
from benchmarks.gpu.measured_table import table

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("matrices", "layers", "training", "refresh")

Report = dict[str, Any]


def device_name(device: str) -> str:
    """What it is called."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"the {device}"


def run(device: str, parts: list[str], out: Path, quick: bool) -> Report:
    """Measure, save after each step, and return everything that is known of the device."""
    report: Report = {"device": device_name(device), "torch": torch.__version__}
    kept = out / "gpu.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        report |= found if found["device"] == report["device"] else {}

    def save() -> None:
        kept.write_text(json.dumps(report, indent=1) + "\n")
        (out / "gpu.txt").write_text(table(report) + "\n")

    whole: dict[str, Callable[[str, bool], Report]] = {
        "layers": models.layers,
        "training": models.training,
        "refresh": models.refresh,
    }
    for part in parts:
        if part != "matrices":
            report[part] = whole[part](device, quick)
            save()
            continue
        for name, case in matrices.cases(quick):
            report.setdefault(part, {})[name] = matrices.measure(device, *case)
            print(name, file=sys.stderr, flush=True)
            save()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(
            "no CUDA device here: python -m benchmarks.gpu.static_model predicts what this measures"
        )
    print(table(run(options.device, options.part or list(PARTS), options.out, options.quick)))


if __name__ == "__main__":
    main()
