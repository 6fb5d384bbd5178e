"""The transformer on the standard library's source: trained dense, converted, trained a little."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch

import nmflow.torch
from benchmarks.conversion.runs import ALPS, DEFAULT, WANDA, How
from benchmarks.training.runs import DENSE
from benchmarks.training.stdlib import TASK
from benchmarks.training.train import groups, loss_of, schedule, train

PATTERNS = ((2, 4), (4, 8), (8, 16))
STEPS = (50, 200)
# Pieces of 128 bytes, of the training files.
CALIBRATION_BATCHES = 96
_RATE = 1e-3


def measure(say: Any) -> dict[str, Any]:
    """Bits per byte of the dense model, of each conversion, and after steps under its masks."""
    data = TASK.load("test")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "dense.pt"
        record = train(TASK, DENSE, 0, keep=weights)
        dense = TASK.new_model()
        dense.load_state_dict(torch.load(weights, weights_only=True))
    say(f"dense: {record['final']}")
    generator = torch.Generator().manual_seed(1)
    calibration = [data.batch(generator)[0] for _ in range(CALIBRATION_BATCHES)]
    rows = []
    for pattern in ("transposable", "rows"):
        for n, m in PATTERNS:
            for how in (WANDA, ALPS, DEFAULT):
                rows.append(_row(how, n, m, pattern, dense, calibration, data))
                say(str(rows[-1]))
    more = {str(steps): _tuned(copy.deepcopy(dense), data, steps) for steps in STEPS}
    return {
        "dense": record["final"]["bits_per_byte"],
        "dense_after": more,
        "bytes": CALIBRATION_BATCHES * calibration[0].numel(),
        "rows": rows,
    }


def _row(
    how: How, n: int, m: int, pattern: Any, dense: Any, calibration: Any, data: Any
) -> dict[str, Any]:
    model = copy.deepcopy(dense)
    report = nmflow.torch.convert(
        model,
        calibration,
        n,
        m,
        method=how.method,
        reconstruction=how.reconstruction,
        pattern=pattern,
        inputs=how.inputs,
        bias_correction=how.bias_correction,
        exclude=TASK.dense,
    )
    row = {
        **{"title": how.title, "n": n, "m": m, "pattern": pattern},
        "seconds": report.seconds,
        "bits": {"0": data.evaluate(model)["bits_per_byte"]},
    }
    for steps in STEPS:
        tuned = copy.deepcopy(model)
        handle = nmflow.torch.sparsify(
            tuned, n, m, pattern=pattern, masks="zeros", refresh=None, exclude=TASK.dense
        )
        row["bits"][str(steps)] = _tuned(tuned, data, steps)
        handle.bake()
    return row


def _tuned(model: Any, data: Any, steps: int) -> float:
    """Bits per byte after some steps, at a third of the rate that it was trained with."""
    optimizer = TASK.optimizer(groups(model, 0.0), _RATE)
    generator = torch.Generator().manual_seed(2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * schedule(step, steps)
        loss = loss_of(model, data.batch(generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    found: float = data.evaluate(model)["bits_per_byte"]
    return found
