"""What the command line prints and writes."""

import io
import json

import numpy as np
import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file

import nmflow  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.checkpoint.console import progress_bar  # noqa: E402


def test_prune_prints_the_layers_and_what_it_left(prune, target, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = prune()
    assert code == 0
    assert target.exists()
    lines = out.splitlines()
    rows = [line.replace("│", " ").split() for line in lines if ".weight" in line and "│" in line]
    assert [row[0] for row in rows] == [
        "encoder.layer.0.query.weight",
        "encoder.layer.1.conv.weight",
        "encoder.layer.1.query.weight",
    ]
    assert rows[1][1] == "9x11x3x3"
    for row in rows:
        unstructured, one_way, transposable = map(float, row[2:5])
        assert 100 > one_way > transposable > 50
        # At ragged edges, which the convolution has, n:m may keep more than n/m of the weights.
        assert unstructured > one_way or row[1] == "9x11x3x3"
        assert row[5] == "0"
    assert "4:8 transposable, method flow: 3 layers" in out
    assert any(line.split()[1:3] == ["all", "layers"] for line in lines)
    assert "Left as they are: 5 tensors" in out
    assert any("bias (2)" in line and "encoder.layer.*.query.bias (2)" in line for line in lines)
    assert any("embedding (1)" in line and "embed_tokens.weight" in line for line in lines)
    assert any("head (1)" in line and "lm_head.weight" in line for line in lines)
    assert "Verified on the written file" in out
    assert "out.safetensors" in out.replace("\n", "")


def test_quiet_prints_nothing(prune):
    assert prune("--quiet") == (0, "", "")


def test_no_compare(prune):
    _, out, _ = prune("--no-compare")
    assert "transposable" in out
    assert "unstructured" not in out


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("layers.1.[b]short[/b].weight", "layers.1.[b]short[/b].weight "),
        ("layers.0.a_long_name_that_goes_on_and_on_and_on.weight", "...ng_name_that"),
    ],
)
def test_the_bar_moves(name, label):
    from rich.console import Console

    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=120)) as tell:
        tell(name, 50, 100)
    assert label in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_names_with_brackets_are_printed_as_they_are(prune, tmp_path):
    source = tmp_path / "brackets.safetensors"
    save_file({"[red]a[/].weight": np.ones((8, 8)), "[b]x[/b]": np.ones(1)}, source)
    _, out, _ = prune(source=source)
    assert "[red]a[/].weight" in out
    assert "[b]x[/b]" in out


def test_json_and_figure(prune, target, tmp_path, model):
    pytest.importorskip("matplotlib")
    report, figure = tmp_path / "report.json", tmp_path / "picture.png"
    code, _, _ = prune("--json", report, "--figure", figure, "--score", "square", n=2, m=4)
    assert code == 0
    found = json.loads(report.read_text())
    expected = {
        "nmflow": nmflow.__version__,
        "source": str(model),
        "target": str(target),
        "n": 2,
        "m": 4,
        "pattern": "transposable",
        "method": "flow",
        "score": "square",
        "verified": True,
        "failures": [],
        "gap": 0,
    }
    assert {key: found[key] for key in expected} == expected
    assert set(found["kept_share"]) == {"unstructured", "rows", "transposable"}
    assert [layer["name"] for layer in found["layers"]] == [
        "encoder.layer.0.query.weight",
        "encoder.layer.1.conv.weight",
        "encoder.layer.1.query.weight",
    ]
    conv = found["layers"][1]
    assert (conv["dtype"], conv["shape"], conv["tiles"]) == ("F16", [9, 11, 3, 3], 9 * 9)
    assert conv["value"] == conv["bound"]
    assert conv["optimal_tiles"] == conv["tiles"]
    assert {"name": "lm_head.weight", "reason": "head"} in found["skipped"]
    assert len(found["skipped"]) == 5
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_include_exclude_pattern_and_workers_reach_the_library(prune, tmp_path):
    report = tmp_path / "report.json"
    options = ("--include", "*.query.weight", "--include", "lm_head.*", "--exclude", "*.0.*")
    code, _, _ = prune(*options, "--pattern", "rows", "--workers", 2, "--json", report)
    assert code == 0
    found = json.loads(report.read_text())
    names = [layer["name"] for layer in found["layers"]]
    assert names == ["encoder.layer.1.query.weight", "lm_head.weight"]
    assert found["pattern"] == "rows"


def test_force_replaces_even_the_input(prune, model):
    before = model.read_bytes()
    assert prune("--force", to=model)[0] == 0
    assert model.read_bytes() != before
    once = model.read_bytes()
    assert prune("--force", to=model)[0] == 0
    assert model.read_bytes() == once


def test_methods(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    assert cli.main(["methods"]) == 0
    out = capsys.readouterr().out
    for method in nmflow.methods():
        assert method.name in out
        assert method.guarantee.split(";")[0] in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, [f"nmflow {nmflow.__version__}"]),
        (["prune", "--help"], 0, ["embeddings", "heads", "biases", "--include GLOB replaces"]),
        ([], 2, ["COMMAND"]),
        (["prune"], 2, ["IN", "OUT"]),
        (["prune", "a", "b", "-n", "2"], 2, ["-m"]),
        (["prune", "a", "b", "-n", "x", "-m", "4"], 2, ["invalid int value: 'x'"]),
        (["prune", "a", "b", "-n", "2", "-m", "4", "--pattern", "z"], 2, ["'unstructured'"]),
    ],
)
def test_arguments(capsys, arguments, code, words):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == code
    printed = "".join(capsys.readouterr())
    assert all(word in printed for word in words)
