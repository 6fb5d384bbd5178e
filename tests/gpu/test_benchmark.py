"""The benchmark for a GPU, on what there is: that it runs, goes on, and compares what it says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))

import nmflow  # noqa: E402
from benchmarks.gpu import __main__ as benchmark  # noqa: E402
from benchmarks.gpu.measured_table import table  # noqa: E402
from benchmarks.gpu.tsenor import tsenor  # noqa: E402


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16)])
def test_tsenor_for_all_tiles_at_once_is_as_good_as_tile_by_tile(n, m, rng):
    weights = rng.standard_normal((8 * m, 8 * m)).astype(np.float32)
    weights[:m, :m] = 0
    weights[0, m] = 1e30
    best = nmflow.certify(weights, nmflow.solve(weights, n, m), n, m)
    ours = nmflow.certify(weights, nmflow.solve(weights, n, m, method="entropic"), n, m)
    mask = tsenor(torch.from_numpy(weights), n, m).numpy()
    theirs = nmflow.certify(weights, mask, n, m)
    assert theirs.full
    rest = np.abs(weights) < 1e30
    kept = [np.abs(weights)[rest & each].sum() for each in (mask, nmflow.solve(weights, n, m))]
    assert kept[0] > 0.99 * kept[1]
    assert theirs.value <= best.bound
    assert ours.value <= best.bound


def test_parts_are_added_to_what_is_known_of_the_device(tmp_path):
    (tmp_path / "gpu.json").write_text(json.dumps({"device": "another", "refresh": {}}))
    first = benchmark.run("cpu", ["layers"], tmp_path, quick=True)
    assert "refresh" not in first
    report = benchmark.run("cpu", ["refresh"], tmp_path, quick=True)
    assert report["layers"] == first["layers"]
    assert json.loads((tmp_path / "gpu.json").read_text()) == report
    assert (tmp_path / "gpu.txt").read_text() == table(report) + "\n"
    assert len(report["layers"]) == 4


def test_the_share_of_masks_is_told():
    def times(median):
        return {"median": median}

    report = {
        "device": "a GPU",
        "torch": "2",
        "matrices": {"2:4 float32 64": {"kernels": times(2e-3), "floor": times(1e-3)}},
        "training": {
            "dense": times(8e-3),
            "2:4 fixed": times(9e-3),
            "2:4 every step": times(10e-3),
        },
    }
    text = table(report)
    assert "50% of a copy's speed" in text
    assert "2:4 every step              10.000; masks take 10% of it" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_device_it_says_what_there_is(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    with pytest.raises(SystemExit, match=r"no CUDA device here: .*static_model predicts"):
        benchmark.main()
