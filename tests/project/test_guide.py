"""The code that README and guide show runs, and does what they say of it."""

import functools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import nmflow

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import pages  # noqa: E402

PAGES = {page.stem: text for page, text in pages.read().items()}
# Some are shown twice, in README and on their own page.
SHOWN = set(re.findall(r"```python\n(.*?)```", "\n".join(PAGES.values()), flags=re.S))


def block(page, *words):
    """The block of code on a page that holds all of the words."""
    blocks = re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.S)
    (found,) = (each for each in blocks if all(word in each for word in words))
    return found


SOLVE = block("README", "nmflow.certify(")
TRAIN = block("README", "refresh=40")
CONVERT = block("README", "nmflow.torch.convert(")
WITHIN = block("constraints", "within=")
ZEROS = block("conversion", 'masks="zeros"')
DYNAMIC = block("training", "DynamicSparseTraining")
WANDA = block("training", "scores=wanda")
CALLBACK = block("training", "callbacks=[")
RUN_HERE = {SOLVE, TRAIN, CONVERT, WITHIN, ZEROS, DYNAMIC, WANDA, CALLBACK}


def test_all_code_that_is_shown_is_run():
    assert SHOWN == RUN_HERE


def test_example_runs(capsys, rng):
    exec(SOLVE, {"weights": rng.standard_normal((64, 64))})
    assert "4:8 transposable mask: proved optimal" in capsys.readouterr().out


def test_constraints_run(rng):
    weights = rng.standard_normal((64, 64)) * (rng.random((64, 64)) < 0.4)
    given = {"nmflow": nmflow, "weights": weights}
    first, second = WITHIN.strip().splitlines()
    exec(first, given)
    assert not given["mask"][weights == 0].any()
    exec(second, given)
    assert (given["mask"].reshape(8, 8, 64).sum(axis=1) == 4).all()
    assert (given["mask"].reshape(64, 16, 4).sum(axis=2) == 2).all()


def test_training_runs(capsys):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    inputs = torch.randn(64, 8)
    targets = (inputs[:, 0] > 0).long()
    given = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.5),
        "loss_function": torch.nn.functional.cross_entropy,
        "batches": [(inputs, targets)] * 80,
    }
    before = given["loss_function"](model(inputs), targets)
    exec(TRAIN, given)
    out = capsys.readouterr().out
    assert "2.weight  2 x 16  SKIPPED: matrices of 2 x 16 are too small for m = 8" in out
    assert "step 80: 4:8, flip rate" in out
    assert given["loss_function"](model(inputs), targets) < before / 2
    kept = model[0].weight.detach().reshape(2, 8, 8) != 0
    assert (kept.sum(1) == 4).all()
    assert (kept.sum(2) == 4).all()


def test_conversion_runs(capsys):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16))
    batches = [torch.randn(32, 16) for _ in range(4)]
    exec("import nmflow.torch\n" + CONVERT, {"nmflow": nmflow, "model": model, "batches": batches})
    assert "alps + least-squares: 2 converted in" in capsys.readouterr().out
    kept = (model[0].weight.detach() != 0).numpy()
    assert nmflow.certify(kept.astype("f4"), kept, 4, 8).full


def test_fine_tuning_under_zeros_runs():
    torch = pytest.importorskip("torch")
    pruned = torch.nn.Sequential(torch.nn.Linear(8, 16))
    with torch.no_grad():
        kept = torch.arange(8)[:, None] % 2 == torch.arange(8) % 2
        pruned[0].weight *= kept.repeat(2, 1)
    before = pruned[0].weight.detach().clone()

    def train(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(4, 8)).square().sum().backward()
        optimizer.step()

    exec("import nmflow.torch\n" + ZEROS, {"nmflow": nmflow, "pruned": pruned, "train": train})
    assert torch.equal(pruned[0].weight == 0, before == 0)
    assert not torch.equal(pruned[0].weight, before)


def test_dynamic_training_runs():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    inputs = torch.randn(64, 8)
    given = {
        "model": model,
        "nmflow": nmflow,
        "torch": torch,
        "loss_function": torch.nn.functional.mse_loss,
        "batches": [(inputs, inputs.roll(1, 1))] * 40,
    }
    exec("import nmflow.torch\n" + DYNAMIC, given)
    assert 0 <= given["sparsity"] < 1
    assert 1 <= given["n"] <= 8
    assert given["handle"].frozen


def test_scores_of_wanda_drive_the_masks():
    """Ten lines beside the comment, and the masks that they say."""
    assert len([line for line in WANDA.splitlines() if line.strip()]) == 10
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 16))
    given = {"model": model, "inputs": torch.randn(32, 16), "torch": torch, "nmflow": nmflow}
    exec("import nmflow.torch\n" + WANDA, given)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        model(torch.rand(32, 16) * torch.arange(16.0)).square().mean().backward()
        optimizer.step()
        given["handle"].step()
    for name in ("0", "2"):
        weights = model.get_submodule(name).parametrizations.weight
        scores = weights.original.detach().abs() * given["squares"][f"{name}.weight"].sqrt()
        assert torch.equal(weights[0].mask, nmflow.solve(scores, 4, 8, score="raw"))
    assert given["squares"]["0.weight"].argmax() == 15


def test_callback_runs(tmp_path):
    pytest.importorskip("torch")
    trainers = pytest.importorskip("lightning.pytorch")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    given = {"Trainer": functools.partial(trainers.Trainer, default_root_dir=tmp_path, **quiet)}
    exec(CALLBACK, given)
    assert given["callback"] in given["trainer"].callbacks


def test_the_certificate_shown_is_one():
    shown = re.findall(r"```\n(4:8 .*?)```", "\n".join(PAGES.values()), flags=re.S)
    assert len(set(shown)) == 1
    weights = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    certificate = nmflow.certify(weights, nmflow.solve(weights, 4, 8), 4, 8)
    assert str(certificate) == shown[0].strip()
