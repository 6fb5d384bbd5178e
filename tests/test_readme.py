"""The README says what is so: its tables are the committed results, its code runs."""

import functools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import nmflow

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import picture, readme, tables  # noqa: E402
from benchmarks.conversion import tables as conversion_tables  # noqa: E402
from benchmarks.training import tables as training_tables  # noqa: E402

TEXT = (ROOT / "README.md").read_text()
REPORT = readme.report()
TRAINING = readme.report("training")


def test_tables_are_the_committed_results():
    assert readme.filled(TEXT) == TEXT, "run python -m benchmarks.readme"


def test_picture_shows_the_committed_results():
    assert picture.stamp(REPORT) in readme.PICTURE.read_text(), "run python -m benchmarks.readme"


def test_picture_is_drawn_from_results_alone(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        picture.save(REPORT, tmp_path / name)
    drawing = (tmp_path / "one.svg").read_text()
    assert drawing == (tmp_path / "two.svg").read_text()
    assert picture.stamp(REPORT) in drawing


def test_table_is_the_committed_results():
    assert (readme.RESULTS / "solvers.txt").read_text() == tables.text(REPORT) + "\n"
    expected = training_tables.text(TRAINING) + "\n"
    assert (readme.RESULTS / "training.txt").read_text() == expected


@pytest.mark.parametrize("task", TRAINING["tasks"])
def test_exact_masks_of_all_runs_are_certified(task):
    """The sentence below the table of training runs."""
    runs = TRAINING["tasks"][task]["runs"].values()
    exact = [run for run in runs if run["method"] == "flow" and run["m"]]
    assert len(exact) >= 6
    for run in exact:
        for certificate in run["certificates"]:
            assert certificate["layers"] == run["layers"]
            assert certificate["largest_gap"] == 0
            assert certificate["optimal"]


def test_exact_costs_less_than_any_approximation():
    """The sentence above the picture."""
    for points in picture.drawn(REPORT).values():
        assert min(points, key=lambda name: points[name][0]) == "flow"


def test_masks_of_every_step_end_within_the_dense_spread():
    """The sentences on what late masks cost."""
    for task in TRAINING["tasks"].values():
        for pattern in ("2:4", "4:8", "8:16"):
            assert task["runs"][f"{pattern} STE, every step"]["within_dense"]
    digits, stdlib = (TRAINING["tasks"][name] for name in ("digits", "stdlib"))
    behind = {
        name
        for name in ("2:4 STE", "4:8 STE", "8:16 STE")
        for task in (digits, stdlib)
        if not task["runs"][name]["within_dense"]
    }
    assert behind == {"4:8 STE", "8:16 STE"}
    for name in behind:
        assert round(stdlib["runs"][name]["beyond_dense"], 2) == 0.04
    assert round(797 * digits["runs"]["4:8 STE"]["beyond_dense"]) == -4
    assert digits["runs"]["8:16 STE"]["within_dense"]


BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
SOLVE, WITHIN, TRAIN, CONVERT, ZEROS, DYNAMIC, WANDA, CALLBACK = BLOCKS


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


def conversion(title, n, m, pattern="transposable"):
    """A row of the committed results."""
    found = readme.report("conversion")["fidelity"]
    wanted = (title, n, m, pattern)
    (row,) = (r for r in found if (r["title"], r["n"], r["m"], r["pattern"]) == wanted)
    return row


def test_conversions_are_the_committed_results():
    report = readme.report("conversion")
    text = conversion_tables.text(report) + "\n"
    assert (readme.RESULTS / "conversion.txt").read_text() == text
    assert all(row["gap"] == 0 for row in report["fidelity"])


def test_the_default_is_the_best_way_everywhere():
    rows = readme.report("conversion")["fidelity"]
    for n, m, pattern in {(row["n"], row["m"], row["pattern"]) for row in rows}:
        here = {
            row["title"]: row["cosine"]
            for row in rows
            if (row["n"], row["m"], row["pattern"]) == (n, m, pattern)
        }
        assert max(here, key=lambda title: here[title]) == "ALPS, dense aims (the default)"


def test_what_is_said_of_conversions():
    """The sentences below the table."""
    report = readme.report("conversion")
    few = {row["title"]: row["cosine"] for row in report["samples"] if row["samples"] == 16}
    assert round(few["ALPS"], 2) == 0.82
    assert round(few["ALPS, dense aims (the default)"], 2) == 0.81
    wanda = {
        (row["shape"][0], row["reconstruction"]): row
        for row in report["layers"]
        if row["method"] == "wanda"
    }
    sizes = [size for size, how in wanda if how == "adam"]
    assert len(sizes) == 2
    for size in sizes:
        slow, fast = wanda[size, "adam"], wanda[size, "least-squares"]
        assert fast["seconds"] < slow["seconds"] / 15
        assert fast["error"] < slow["error"]
    assert round(report["large"]["times_weights"], 2) == 2.96
    assert round(report["large"]["parameters"] / 1e6) == 102
    assert f"of its {report['of']} conversions {report['done']} are in there" in " ".join(
        TEXT.split()
    )


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


def test_every_method_is_listed():
    for method in nmflow.methods():
        kind = "exact" if method.exact else "approximate"
        assert re.search(rf"\| `{method.name}`( \(default\))? \| {kind} \|", TEXT), method.name


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_certificate_shown_is_one():
    (shown,) = re.findall(r"```\n(4:8 .*?)```", TEXT, flags=re.S)
    weights = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    certificate = nmflow.certify(weights, nmflow.solve(weights, 4, 8), 4, 8)
    assert str(certificate) == shown.strip()
