"""Kernels are compiled before the first layer, only those that are needed, and it is said."""

import json
import re

import numpy as np
import pytest
from processes import run

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file


@pytest.fixture
def float32_model(tmp_path):
    weights = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    save_file({f"{k}.weight": weights[k:] for k in range(3)}, tmp_path / "in.safetensors")
    return tmp_path / "in.safetensors"


PRUNE = """
import sys
from nmflow import cli
sys.exit(cli.main(["prune", {source!r}, {target!r}, "-n", "2", "-m", "4", "--method", "greedy",
                   "--force", "--json", {report!r}]))
"""


def test_compiling_is_apart_from_the_layers(float32_model, tmp_path):
    report, cache = tmp_path / "report.json", tmp_path / "kernels"
    names = {"source": float32_model, "target": tmp_path / "out.safetensors", "report": report}
    code = PRUNE.format(**{name: str(path) for name, path in names.items()})
    out = run(code, NUMBA_CACHE_DIR=str(cache))
    cold = json.loads(report.read_text())
    (said,) = re.findall(
        r"Before the first layer: (\d+) kernels compiled in (\S+) s, kept in (\S+) for", out
    )
    count, seconds = str(cold["kernels_compiled"]), f"{cold['kernel_seconds']:.1f}"
    assert said == (count, seconds, str(cache))
    # None for float64, which no layer is.
    assert len(list(cache.rglob("greedy.*.nbc"))) == 1
    assert all(layer["seconds"] < cold["kernel_seconds"] / 10 for layer in cold["layers"])
    assert cold["solve_seconds"] < cold["kernel_seconds"] < cold["seconds"]
    out = run(code, NUMBA_CACHE_DIR=str(cache))
    warm = json.loads(report.read_text())
    assert warm["kernels_compiled"] == 0
    assert "compiled" not in out
