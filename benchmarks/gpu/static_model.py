"""Times on GPUs predicted from compiled code: ``python -m benchmarks.gpu.static_model``.

Nothing here ran on a GPU. The kernels are compiled for each architecture; their disassembly gives
registers, spills, and instructions by class of the round loop and of what stands around it; how
often loops run for a tile is counted by executing the same source on the host (standard normal
weights); NVIDIA's tables give how many instructions of a class a multiprocessor does a clock. A
stage takes what its busiest class takes, over EFFICIENCY; the first stage at least what reading the
weights once and writing the mask once takes. Writes ``gpu_predicted.json`` and ``.txt`` to
``benchmarks/results/``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu.counting import count, gaussian
from benchmarks.gpu.devices import DEVICES, PIPES, Device
from benchmarks.gpu.disassembly import Kernel, compile_kernels, version
from benchmarks.gpu.predicted_table import table
from nmflow.cuda.launch import REPLACING, SOLVING
from nmflow.cuda.problem import MATRICES
from nmflow.cuda.source import source

RESULTS = Path(__file__).parents[1] / "results"
PATTERNS = ((2, 4), (1, 4), (4, 8), (2, 8), (8, 16), (16, 32))
SIDES = (1024, 2048, 4096, 8192, 16384)
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
WARPS = 4
WARP = 32

EFFICIENCY = 0.7
"""Share of a multiprocessor's throughput that straight integer code is assumed to reach."""
BANDWIDTH_SHARE = 0.9
"""Share of the data sheet's bandwidth that a copy is assumed to reach."""
LATENCY = 8
"""Clocks between two instructions of a warp that is alone with its chain of dependences."""
LAUNCH = 3e-6
"""Seconds for a launch in a row of some."""
LAUNCHES = len(SOLVING) * LAUNCH

MOVED = (1e-4, 1e-3, 1e-2)
"""How far weights move from one refresh to the next: shares of their standard deviation."""
WARM_DEVICE = "H100 SXM"
MODEL_ENTRIES, MODEL_LAYERS = 10**9, 80
"""Of the model whose refresh is predicted."""
LARGE, ENUMERATED, ROW_A_LANE = 8192, 4, 32
WORD = 4


# What lies behind these conditions of the first stage is counted apart.
NOW_AND_THEN = {
    "if (round < first_look) continue;": "continue;",
    "if (vote(solvable & !proved)) {": "if (false) {",
}


class Compiled(NamedTuple):
    """Kernels as they are, and without what happens now and then, to tell the two apart."""

    kernels: dict[str, Kernel]
    blind: dict[str, Kernel]

    @classmethod
    def of(cls, n: int, m: int, architecture: str, warm: bool = False) -> Compiled:
        """Of one n:m, for float32."""
        blind = text = source(n, m, "float32", False, warm=warm)
        for condition, never in NOW_AND_THEN.items():
            blind = blind.replace(condition, never)
        return cls(compile_kernels(text, architecture), compile_kernels(blind, architecture))


def predict(m: int, compiled: Compiled, runs: Any, device: Device, kept: float = 0) -> Any:
    """Seconds of each stage for matrices of SIDES; ``kept`` bytes an entry stay for the next."""
    kernels = compiled.kernels
    found = {}
    for side in SIDES:
        tiles = (side / m) ** 2
        first = _first(m, compiled, runs, tiles)
        open_ = _open(m, kernels["solve_open"], runs, tiles)
        memory = side**2 * (4 + 1 + 2 * kept) / (device.bandwidth * BANDWIDTH_SHARE)
        stages = {
            "memory": memory,
            "first stage": max(_seconds(first, device), memory),
            "open tiles": _seconds(open_, device),
            "difficult tiles": _difficult(m, kernels["solve_difficult"], runs, tiles, device),
            "launches": LAUNCHES,
        }
        total = sum(seconds for name, seconds in stages.items() if name != "memory")
        found[side] = {**stages, "total": total, "share of copy": memory / total}
    return found


def predict_warm(n: int, m: int) -> Any:
    """Refreshes from the potentials of the last one, by how far weights moved since."""
    side = 512 if m < ROW_A_LANE else 1024
    before = gaussian(side)
    moves = np.random.default_rng(1).standard_normal(before.shape).astype(np.float32)
    compiled = Compiled.of(n, m, DEVICES[WARM_DEVICE].architecture, warm=True)
    found = {}
    for share in MOVED:
        runs = count(n, m, before + np.float32(share) * moves, before)
        kept = WORD * (m + 1) / m**2
        seconds = predict(m, compiled, runs, DEVICES[WARM_DEVICE], kept)
        found[str(share)] = {"runs a tile": runs, "seconds": seconds}
    return found


def refresh(stages: Any, side: int) -> float:
    """Seconds for all weights of a model, from those for one matrix.

    After the kernels that solve come those that put masks in force, which read two masks and write
    what differs.
    """
    device = DEVICES[WARM_DEVICE]
    launches = -(-MODEL_LAYERS // MATRICES) * (len(SOLVING) + len(REPLACING)) * LAUNCH
    replacing = 3 * MODEL_ENTRIES / (device.bandwidth * BANDWIDTH_SHARE)
    solving = (stages["total"] - LAUNCHES) * MODEL_ENTRIES / side**2
    return launches + replacing + solving


def _slots(m: int) -> int:
    return WARP // next(width for width in (4, 8, 16, 32) if m <= width)


def _first(m: int, compiled: Compiled, runs: Any, tiles: float) -> Counter[str]:
    """Warp instructions of the first stage by class."""
    kernel = compiled.kernels["solve_all"]
    if m == 4:
        always = compiled.blind["solve_all"].total
        work = _times(always, tiles / WARP)
        work.update(_times(kernel.total - always, tiles * runs["careful"]))
        return work
    warps = tiles / (2 * _slots(m))
    steps = _rounds(compiled.blind["solve_all"])
    work = _times(kernel.total - _rounds(kernel), warps)
    work.update(_times(steps, tiles * runs["rounds"]))
    work.update(_times(_rounds(kernel) - steps, tiles * runs["looks"]))
    return work


def _open(m: int, kernel: Kernel, runs: Any, tiles: float) -> Counter[str]:
    if m == 4:
        return Counter()
    work = _times(kernel.total - _rounds(kernel), tiles * runs["open"] / _slots(m))
    work.update(_times(_rounds(kernel), tiles * runs["word_rounds"]))
    return work


def _difficult(m: int, kernel: Kernel, runs: Any, tiles: float, device: Device) -> float:
    """The longer of what instructions take, and of what the chains of dependences of warps take.

    A sweep, and a round of the proof, runs the inner loops 2 m times; a start is straight code.
    """
    inner = [sum(each.values()) for each in kernel.innermost] or [30]
    loop = sum(inner) / len(inner)
    straight = sum(kernel.total.values()) - sum(inner)
    instructions = (runs["sweeps"] + runs["proof_rounds"]) * 2 * m * loop
    instructions += runs["starts"] * straight
    number = tiles * runs["difficult"]
    if number < 1:
        return 0.0
    blocks = min(
        device.registers // (_allocated(kernel.registers) * WARP * WARPS),
        device.shared_memory // max(kernel.shared, 1),
        device.warps // WARPS,
    )
    at_once = device.processors * blocks * WARPS
    per_tile = instructions / runs["difficult"]
    throughput = number * per_tile / (4 * device.processors * EFFICIENCY)
    waves = math.ceil(number / at_once)
    return max(throughput, waves * per_tile * LATENCY) / (device.gigahertz * 1e9)


def _allocated(registers: int) -> int:
    return -(-registers // 8) * 8


def _rounds(kernel: Kernel) -> Counter[str]:
    """The loop over rounds: the largest within the loop over tiles."""
    inner = [c for s, e, c in kernel.loops if any(a < s and e < b for a, b, _ in kernel.loops)]
    return max(inner, key=lambda each: sum(each.values()))


def _times(counts: Counter[str], factor: float) -> Counter[str]:
    return Counter({name: number * factor for name, number in counts.items()})


def _seconds(work: Counter[str], device: Device) -> float:
    """What the busiest class takes, all classes together being one too."""
    clocks = [number * WARP / PIPES[name] for name, number in work.items()]
    clocks.append(sum(work.values()) * WARP / PIPES["control"])
    return max(clocks) / device.processors / EFFICIENCY / (device.gigahertz * 1e9)


def model() -> dict[str, Any]:
    """The report."""
    report: dict[str, Any] = {
        "predicted": True,
        "compiler": version(),
        "assumed": {
            "efficiency": EFFICIENCY,
            "share of bandwidth": BANDWIDTH_SHARE,
            "clocks between dependent instructions": LATENCY,
        },
        "devices": {name: device._asdict() for name, device in DEVICES.items()},
        "patterns": {},
    }
    for n, m in PATTERNS:
        runs = count(n, m, gaussian(512 if m < ROW_A_LANE else 1024))
        compiled = {name: Compiled.of(n, m, name) for name in ARCHITECTURES}
        report["patterns"][f"{n}:{m}"] = {
            "runs a tile": runs,
            "kernels": {
                architecture: {
                    name: {
                        "registers": kernel.registers,
                        "spills": kernel.spills,
                        "shared": kernel.shared,
                        "instructions": dict(kernel.total),
                    }
                    for name, kernel in each.kernels.items()
                }
                for architecture, each in compiled.items()
            },
            "seconds": {
                name: predict(m, compiled[device.architecture], runs, device)
                for name, device in DEVICES.items()
            },
        }
        found = report["patterns"][f"{n}:{m}"]
        cold = found["seconds"][WARM_DEVICE][LARGE]
        found["refresh"] = {"anew": refresh(cold, LARGE)}
        if m > ENUMERATED:
            found["warm"] = predict_warm(n, m)
            for share, each in found["warm"].items():
                found["refresh"][share] = refresh(each["seconds"][LARGE], LARGE)
    return report


def main() -> None:
    report = model()
    (RESULTS / "gpu_predicted.json").write_text(json.dumps(report, indent=1) + "\n")
    text = table(report)
    (RESULTS / "gpu_predicted.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
