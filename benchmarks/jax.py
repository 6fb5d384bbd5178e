"""Masks by XLA beside those by the engine: ``python -m benchmarks.jax [--gpu]``.

Writes ``benchmarks/results/jax.json`` and ``jax.txt``: microseconds a tile of ``nmflow.jax.solve``
and of the CPU's engine in the same run, in turn, on a matrix of MiniLM; what compiling takes; and
the one-way n:m of jaxpruner (the n largest of every m of a row, by ``lax.top_k``; written out here,
since it is not on PyPI). Processor time of one thread's engine and of all of XLA's threads, so that
a machine that does other work too only makes it rougher. Two minutes.

With ``--gpu`` it writes ``jax_gpu.json`` and ``jax_gpu.txt``: seconds on JAX's first GPU for
matrices of up to 8192 x 8192, beside those of the CUDA engine where PyTorch and ``nmflow[cuda]``
are installed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nmflow
import nmflow.jax
from benchmarks.encoder import encoder_matrices
from benchmarks.machine import describe
from benchmarks.tables import machine
from benchmarks.timing import cpu_seconds, interleaved, spread
from nmflow.lax.numbers import bits_of
from nmflow.lax.tiles import regions
from nmflow.lax.transposable import Problem, ascend_all

RESULTS = Path(__file__).parent / "results"
PATTERNS = ((2, 4), (1, 4), (4, 8), (8, 16), (16, 32))
ROUNDS = 15
SIDES, GPU_ROUNDS = (1024, 4096, 8192), 10


@partial(jax.jit, static_argnums=(1, 2))
def one_way(weights: Any, n: int, m: int) -> Any:
    """The n:m of jaxpruner: the n largest magnitudes of every m entries of a row."""
    groups = jnp.abs(weights).reshape(-1, m)
    places = jax.lax.top_k(groups, n)[1]
    mask = (places[:, :, None] == jnp.arange(m)).any(1)
    return mask.reshape(weights.shape)


def compiled(n: int, m: int, weights: Any) -> tuple[Callable[[Any], Any], float]:
    """The solver for one shape, and processor seconds that tracing and compiling it took."""
    begin = cpu_seconds()
    solve = jax.jit(partial(nmflow.jax.solve, n=n, m=m)).lower(weights).compile()
    return solve, cpu_seconds() - begin


def open_share(weights: Any, problem: Problem) -> float:
    """The share of full tiles that the ascent leaves to paths."""
    tiles = regions(*weights.shape, problem.m)[0][0].cut(bits_of(weights)[None])
    _, proved, *_ = ascend_all(problem, tiles, chunk=len(tiles))
    return 1 - float(proved.mean())


def measure(n: int, m: int, matrix: Any) -> dict[str, Any]:
    """A row of the table."""
    weights = jnp.asarray(matrix)
    solve, compiling = compiled(n, m, weights)
    mask = np.asarray(solve(weights))
    if not np.array_equal(mask, nmflow.solve(matrix, n, m)):
        raise RuntimeError(f"{n}:{m}: not the engine's mask")
    calls: dict[str, Callable[[], Any]] = {
        "engine": lambda: nmflow.solve(matrix, n, m, workers=1),
        "jax": lambda: solve(weights).block_until_ready(),
        "one way": lambda: one_way(weights, n, m).block_until_ready(),
    }
    for call in calls.values():
        call()
    times = interleaved(calls, "engine", ROUNDS)
    scale = 1e6 * m * m / matrix.size
    certificate = nmflow.certify(matrix, mask, n, m)
    return {
        **{"n": n, "m": m, "tiles": certificate.tiles, "gap": certificate.gap},
        "compile_s": compiling,
        "open": open_share(weights, Problem(n, m, "float32", "abs")),
        **{f"{name} us": spread(found.seconds, scale) for name, found in times.items()},
        "ratio": spread(times["jax"].ratios),
        "one way ratio": spread(times["one way"].ratios),
    }


def text(report: dict[str, Any]) -> str:
    """The table."""
    lines = [machine(report), report["note"], ""]
    lines += [
        f"{'':7}{'engine':>10}{'jax':>10}{'ratio':>8}{'one way':>10}{'compile':>10}{'open':>9}"
    ]
    for row in report["rows"]:
        name = f"{row['n']}:{row['m']}"
        times = [row[f"{which} us"]["median"] for which in ("engine", "jax", "one way")]
        lines.append(
            f"{name:7}{times[0]:10.3f}{times[1]:10.3f}{row['ratio']['median']:8.1f}"
            f"{times[2]:10.3f}{row['compile_s']:8.1f} s{100 * row['open']:7.1f} %"
        )
    return "\n".join(lines)


_NOTE = """\
Processor time per tile in us, medians, in turn with the engine (one thread), of a matrix of MiniLM
of 1536 x 384 in float32; gap 0 of all masks. One way: the n
largest of every m of a row, as jaxpruner has it. Open: tiles that the ascent leaves to paths."""


def seconds(call: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Wall clock of calls that wait for the device."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return spread(taken)


def cuda_engine(weights: Any, n: int, m: int) -> dict[str, float] | None:
    """The same by ``nmflow[cuda]``, through PyTorch; None where those are missing."""
    try:
        import torch

        from nmflow.cuda import launch
    except ImportError:
        return None
    if not torch.cuda.is_available() or not launch.available():
        return None
    there = torch.from_numpy(np.asarray(weights).copy()).cuda()

    def call() -> None:
        nmflow.solve(there, n, m)
        torch.cuda.synchronize()

    call()
    return seconds(call, GPU_ROUNDS)


def measure_gpu(n: int, m: int, side: int) -> dict[str, Any]:
    """One matrix on JAX's first GPU."""
    device = jax.devices("gpu")[0]
    weights = jax.device_put(jax.random.normal(jax.random.key(0), (side, side)), device)
    solve, compiling = compiled(n, m, weights)
    if not np.array_equal(solve(weights), nmflow.solve(np.asarray(weights), n, m)):
        raise RuntimeError(f"{n}:{m} {side}: not the engine's mask")
    found = seconds(lambda: solve(weights).block_until_ready(), GPU_ROUNDS)
    return {
        **{"n": n, "m": m, "side": side, "compile_s": compiling, "jax s": found},
        "one way s": seconds(lambda: one_way(weights, n, m).block_until_ready(), GPU_ROUNDS),
        "cuda s": cuda_engine(weights, n, m),
    }


def text_gpu(report: dict[str, Any]) -> str:
    """The table of a GPU."""
    lines = [machine(report), report["device"], ""]
    lines += [f"{'':7}{'side':>7}{'jax':>11}{'CUDA':>11}{'one way':>11}{'compile':>10}"]
    for row in report["rows"]:
        times = [row[which] for which in ("jax s", "cuda s", "one way s")]
        told = ["" if each is None else f"{1e3 * each['median']:.2f} ms" for each in times]
        name = f"{row['n']}:{row['m']}"
        cells = "".join(f"{cell:>11}" for cell in told)
        lines.append(f"{name:7}{row['side']:7}{cells}{row['compile_s']:8.1f} s")
    return "\n".join(lines)


def write(name: str, report: dict[str, Any], table: str) -> None:
    """Both files, and what the second says."""
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / f"{name}.txt").write_text(table + "\n")
    print(table)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", action="store_true", help="on JAX's first GPU")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": describe()}
    if options.gpu:
        device = jax.devices("gpu")[0].device_kind
        rows = [measure_gpu(n, m, side) for n, m in PATTERNS for side in SIDES]
        report |= {"device": device, "rows": rows}
        write("jax_gpu", report, text_gpu(report))
        return
    matrix = max(encoder_matrices(), key=lambda each: each.size)
    rows = []
    for n, m in PATTERNS:
        rows.append(measure(n, m, np.ascontiguousarray(matrix)))
        print(f"{n}:{m}: {rows[-1]['ratio']['median']:.1f} times the engine", flush=True)
    report |= {"note": _NOTE, "rows": rows}
    write("jax", report, text(report))


if __name__ == "__main__":
    main()
