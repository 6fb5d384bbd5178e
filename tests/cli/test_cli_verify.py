"""``nmflow verify`` and ``inspect`` look at models that anybody made."""

import json

import numpy as np
import pytest

pytest.importorskip("rich")
from safetensors.numpy import load_file, save_file

from nmflow import cli
from nmflow.checkpoint.examining.counting import find

QUERY = "encoder.layer.0.query.weight"


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        code = cli.main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def pruned(prune, target):
    assert prune("--quiet")[0] == 0
    return target


def change(path, name, index, value):
    """Write one entry of one tensor."""
    tensors = load_file(path)
    tensors[name][index] = value
    save_file(tensors, path, metadata={"format": "np"})


def test_a_pruned_model_is_what_was_asked_for(run, model, pruned, tmp_path):
    saved = tmp_path / "found.json"
    code, out, err = run("verify", pruned, "-n", 4, "-m", 8, "--source", model, "--json", saved)
    assert (code, err) == (0, "")
    assert "Verified" in out
    assert "certified gap 0" in out
    report = json.loads(saved.read_text())
    assert report["verified"]
    assert (report["n"], report["m"], report["pattern"], report["gap"]) == (4, 8, "transposable", 0)
    dense, sparse = load_file(model)[QUERY], load_file(pruned)[QUERY]
    layer = next(each for each in report["layers"] if each["name"] == QUERY)
    share = np.abs(sparse).sum() / np.abs(dense).sum()
    assert layer["kept_share"]["transposable"] == pytest.approx(share)
    assert layer["zeros"] == 192
    assert layer["optimal_tiles"] == layer["tiles"] == 6
    assert {each["reason"] for each in report["skipped"]} >= {"bias", "embedding", "head"}


def test_without_n_and_m_each_layer_tells_its_own(run, pruned):
    code, out, _ = run("verify", pruned)
    assert code == 0
    # The convolution has a ragged edge in both directions, and still holds 4 of 8.
    assert out.count("4:8 transposable (found)") == 3


def test_quiet_says_nothing(run, pruned):
    assert run("verify", pruned, "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        (QUERY, (0, slice(None)), 7.0, "row groups keep more than 4 of 8"),
        (QUERY, (slice(None), 3), 7.0, "column groups keep more than 4 of 8"),
        (QUERY, "kept", 7.0, "a kept weight is not the source's"),
        ("embed_tokens.weight", (2, 2), 7.0, "embed_tokens.weight: it should be unchanged"),
        ("ids", (1,), 7, "ids: it should be unchanged"),
    ],
)
def test_what_is_wrong_has_a_line_and_an_exit_code(run, model, pruned, name, index, value, message):
    if index == "kept":
        index = tuple(np.argwhere(load_file(pruned)[name])[0])
    change(pruned, name, index, value)
    code, _, err = run("verify", pruned, "-n", 4, "-m", 8, "--source", model)
    assert code == 1
    assert message in err
    assert all(line.startswith("nmflow: verification failed: ") for line in err.splitlines())
    assert "nothing was written" not in err


def test_fewer_than_n_is_no_failure_but_has_a_gap(run, model, pruned, tmp_path):
    rows, columns = np.argwhere(load_file(pruned)[QUERY])[0]
    change(pruned, QUERY, (rows, columns), 0.0)
    saved = tmp_path / "found.json"
    assert run("verify", pruned, "-n", 4, "-m", 8, "--source", model, "--json", saved)[0] == 0
    layer = next(each for each in json.loads(saved.read_text())["layers"] if each["name"] == QUERY)
    lost = abs(load_file(model)[QUERY][rows, columns])
    assert layer["absolute_gap"] == pytest.approx(lost)
    assert (layer["optimal_tiles"], layer["full"]) == (5, False)


def test_zeros_are_zeros_of_either_sign(run, model, pruned):
    """As ``weights * mask`` leaves them."""
    tensors = load_file(pruned)
    dense = load_file(model)
    for name in (QUERY, "encoder.layer.1.query.weight"):
        tensors[name] = dense[name] * (tensors[name] != 0)
        assert np.signbit(tensors[name][tensors[name] == 0]).any()
    save_file(tensors, pruned, metadata={"format": "np"})
    assert run("verify", pruned, "-n", 4, "-m", 8, "--source", model)[0] == 0


def test_weights_that_were_fitted(run, model, pruned):
    tensors = load_file(pruned)
    tensors[QUERY] = tensors[QUERY] * 2
    save_file(tensors, pruned, metadata={"format": "np"})
    arguments = ("verify", pruned, "-n", 4, "-m", 8, "--source", model)
    assert run(*arguments)[0] == 1
    assert run(*arguments, "--fitted")[0] == 0


def test_one_way_and_unstructured(run, prune, target):
    for pattern in ("rows", "columns", "unstructured"):
        assert prune("--quiet", "--force", "--pattern", pattern)[0] == 0
        assert run("verify", target, "-n", 4, "-m", 8, "--pattern", pattern)[0] == 0
        assert run("verify", target, "-n", 4, "-m", 8)[0] == 1
        assert run("verify", target, "-n", 3, "-m", 8, "--pattern", pattern)[0] == 1
        if pattern != "unstructured":
            assert f"4:8 {pattern} (found)" in run("verify", target)[1]


def test_a_dense_model_is_not_sparse(run, model):
    code, _, err = run("verify", model)
    assert code == 1
    assert err.count("it is not n:m") == 3


def test_the_report_of_prune_says_what_was_asked(run, prune, target, tmp_path):
    saved = tmp_path / "pruned.json"
    assert prune("--json", saved, "--quiet", "--include", "*.layer.0.query.weight")[0] == 0
    code, out, _ = run("verify", target, "--report", saved)
    assert code == 0
    assert "1 layers" in out
    assert "(found)" not in out
    report = json.loads(saved.read_text())
    report["layers"][0]["n"], report["n"] = 3, 3
    saved.write_text(json.dumps(report))
    assert run("verify", target, "--report", saved)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 4), "-n and -m go together"),
        (("-n", 9, "-m", 8), "9:8 keeps n of every m"),
        (("-n", 4, "-m", 8, "--report", "IN"), "leave one"),
        (("--report", "IN"), "no report that prune or convert saved"),
        (("--report", "missing.json"), "No such file"),
        (("--source", "OTHER"), "is it the model that this one was made of?"),
        (("--include", "nothing"), "matches no tensor"),
    ],
)
def test_errors_are_one_line(run, model, pruned, tmp_path, arguments, message):
    other = tmp_path / "other.safetensors"
    save_file({"up.weight": np.ones((8, 8), np.float32)}, other)
    known = {"IN": model, "OTHER": other}
    code, out, err = run("verify", pruned, *(known.get(each, each) for each in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_inspect_says_what_there_is(run, model, pruned, tmp_path):
    saved = tmp_path / "inspected.json"
    code, out, _ = run("inspect", pruned, "--json", saved)
    assert code == 0
    assert "4:8 both ways" in out
    assert "embedding" in out
    layers = {each["name"]: each for each in json.loads(saved.read_text())["layers"]}
    assert layers[QUERY]["transposable"] == {"n": 4, "m": 8}
    assert layers[QUERY]["divisible"] == [2, 4, 8]
    assert layers[QUERY]["native"] == []
    assert layers["encoder.layer.1.conv.weight"]["divisible"] == []
    assert layers["encoder.layer.1.conv.weight"]["shape"] == [9, 11, 3, 3]
    code, out, _ = run("inspect", model)
    assert "none" in out
    assert "No hardware known here multiplies by them natively, as they are." in out
    assert "At 2:4 they would be by:" in out


def test_inspect_names_hardware(run, prune, target, tmp_path):
    saved = tmp_path / "inspected.json"
    assert prune("--quiet", n=2, m=4)[0] == 0
    code, out, _ = run("inspect", target, "--json", saved)
    assert code == 0
    layers = {each["name"]: each for each in json.loads(saved.read_text())["layers"]}
    half = layers["encoder.layer.1.conv.weight"]
    assert "NVIDIA Hopper: wgmma.mma_async.sp (float16)" in half["native"]
    assert half["native"] == half["native_transposed"]
    assert all("converted" in one for one in layers["encoder.layer.1.query.weight"]["native"])
    assert "NVIDIA Ampere and later: mma.sp" in out


def test_the_sparsest_of_a_matrix():
    """Against a count written out."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        shape = rng.integers(1, 40, 2)
        kept = rng.random(shape) < rng.choice([0.1, 0.4, 0.9])
        found = find(kept)
        for way, matrix in ((found.rows, kept), (found.columns, kept.T)):
            ratios = []
            for m in (2, 4, 8, 16, 32):
                if m > matrix.shape[1]:
                    continue
                groups = [row[i : i + m].sum() for row in matrix for i in range(0, len(row), m)]
                if max(groups) < m:
                    n = max(*groups, 1)
                    ratios.append((n / m, m, n))
            expected = (min(ratios)[2], min(ratios)[1]) if ratios else None
            assert way == expected
        assert found.zeros == (~kept).sum()
        if found.both:
            n, m = found.both
            assert all(r[i : i + m].sum() <= n for r in kept for i in range(0, len(r), m))
            assert all(r[i : i + m].sum() <= n for r in kept.T for i in range(0, len(r), m))


@pytest.mark.parametrize("kind", ["folder", "pth"])
def test_models_of_other_kinds(run, model, tmp_path, kind):
    torch = pytest.importorskip("torch")
    tensors = load_file(model)
    dense, sparse = tmp_path / f"dense.{kind}", tmp_path / f"sparse.{kind}"
    if kind == "folder":
        dense.mkdir()
        save_file(tensors, dense / "model.safetensors")
    else:
        state = {name: torch.from_numpy(values) for name, values in tensors.items()}
        torch.save({"state_dict": state}, dense)
    assert run("prune", dense, sparse, "-n", 4, "-m", 8, "--quiet")[0] == 0
    code, out, err = run("verify", sparse, "-n", 4, "-m", 8, "--source", dense)
    assert (code, err) == (0, "")
    assert "certified gap 0" in out
    # The same tensors in a file of another kind, but for what nested dicts add to their names.
    across = run("verify", sparse, "-n", 4, "-m", 8, "--source", model)
    assert across[0] == (0 if kind == "folder" else 2)
    assert "4:8 both ways" in run("inspect", sparse)[1]
