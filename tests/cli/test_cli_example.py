"""The example that checks a pruned file without nmflow."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file


EXAMPLE = Path(__file__).parents[2] / "examples" / "check_transposable.py"


@pytest.fixture
def check(model, target, monkeypatch, capsys):
    """Run examples/check_transposable.py at 4:8; return exit code and output."""
    if not EXAMPLE.exists():
        pytest.skip("the examples are not here")

    def run(*options):
        arguments = [str(EXAMPLE), str(model), str(target), "-n", "4", "-m", "8", *options]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
        return caught.value.code, "".join(capsys.readouterr())

    return run


def change(path, name, edit):
    """Edit one tensor of a file, and keep the rest."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key).copy() for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    edit(tensors[name])
    save_file(tensors, path, metadata=metadata)


def test_the_example_agrees(prune, check):
    prune()
    code, out = check("--expect", "3")
    assert code == 0
    assert out.count("\n") == 1
    assert "3 tensors are 4:8 in rows and columns" in out
    assert "5 are unchanged" in out


def one_more_in_a_row(weights):
    first = np.flatnonzero(weights[0, :8] == 0)[0]
    weights[0, first] = 1


def scale_one(weights):
    weights[np.unravel_index(np.flatnonzero(weights)[0], weights.shape)] *= 2


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("encoder.layer.0.query.weight", one_more_in_a_row, "row group of 8 holds 5"),
        ("encoder.layer.0.query.weight", one_more_in_a_row, "column group of 8 holds 5"),
        ("encoder.layer.1.conv.weight", scale_one, "have changed"),
        ("encoder.layer.1.query.weight", lambda w: w.fill(0), "only 0.0% of the weights"),
        ("lm_head.weight", lambda w: w.fill(7), "lm_head.weight: a row group of 8 holds 8"),
        ("ids", lambda w: w.fill(7), "ids: changed, though it is I64"),
    ],
)
def test_the_example_finds(prune, check, target, name, edit, words):
    prune()
    change(target, name, edit)
    code, out = check()
    assert code == 1
    assert words in out
    assert "FAILED" in out


def test_the_example_finds_what_is_missing(prune, check, model, target):
    prune()
    code, out = check("--expect", "4")
    assert (code, "3 tensors were pruned, 4 were expected" in out) == (1, True)
    target.write_bytes(model.read_bytes().replace(b'"format":"np"', b'"format":"pt"'))
    assert check()[0] == 1
    target.write_bytes(b"junk")
    assert check()[0] == 2
