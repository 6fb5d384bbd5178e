"""The command line: what it prints, its exit codes, and that nothing half-done is left."""

import errno
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file

import nmflow  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.checkpoint.console import progress_bar  # noqa: E402

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "check_transposable.py"


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "in.safetensors"
    tensors = {
        "encoder.layer.0.query.weight": rng.standard_normal((16, 24)),
        "encoder.layer.1.query.weight": rng.standard_normal((16, 24)).astype(np.float32),
        "encoder.layer.1.conv.weight": rng.standard_normal((9, 11, 3, 3)).astype(np.float16),
        "encoder.layer.0.query.bias": rng.standard_normal(16),
        "encoder.layer.1.query.bias": rng.standard_normal(16),
        "embed_tokens.weight": rng.standard_normal((32, 16)),
        "lm_head.weight": rng.standard_normal((32, 16)),
        "ids": np.arange(4),
    }
    save_file(tensors, path, metadata={"format": "np"})
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.safetensors"


@pytest.fixture
def prune(model, target, capsys, monkeypatch):
    """Run ``nmflow prune`` at 4:8; return exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*options, source=model, to=target, n=4, m=8):
        code = cli.main(["prune", *map(str, (source, to, "-n", n, "-m", m, *options))])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def untouched(tmp_path, model):
    """Return a check that the directory holds what it held, byte for byte."""

    def contents():
        return {
            path.name: path.read_bytes() if path.is_file() else None for path in tmp_path.iterdir()
        }

    before = contents()
    return lambda: contents() == before


def one_error(code, out, err, *words):
    """Whether a run ended as every error must."""
    assert code == 2
    assert out == ""
    assert err.startswith("nmflow: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    return True


# What it prints and writes


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
        (["prune"], 2, ["IN.safetensors"]),
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


# Bad input


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["No such file"]),
        (b"", ["no valid safetensors file"]),
        (b"hello, this is text, and quite long\n" * 9, ["no valid safetensors file"]),
        (b"\x80\x04K\x01.", ["no valid safetensors file"]),
        ("directory", ["a directory"]),
        ("truncated header", ["no valid safetensors file"]),
        ("truncated data", ["no valid safetensors file"]),
        ("longer", ["no valid safetensors file"]),
    ],
)
def test_a_source_that_cannot_be_read(prune, tmp_path, model, content, words):
    source = tmp_path / "bad.safetensors"
    good = model.read_bytes()
    cut = {"truncated header": good[:40], "truncated data": good[:-1], "longer": good + b"\0"}
    if content == "directory":
        source.mkdir()
    elif content is not None:
        source.write_bytes(cut.get(content, content))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert one_error(*prune(source=source), "bad.safetensors", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_an_error_is_one_line_whatever_the_name(prune, tmp_path):
    assert one_error(*prune(source=tmp_path / "two\nlines.safetensors"), "two lines")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a POSIX thing")
def test_a_pipe_is_refused_not_waited_for(prune, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert one_error(*prune(source=tmp_path / "pipe"), "no regular file")
    assert one_error(*prune("--force", to=tmp_path / "pipe"), "no regular file")


def test_an_unreadable_source(prune, model):
    model.chmod(0)
    try:
        model.open("rb").close()
    except PermissionError:
        assert one_error(*prune(), "Permission denied")
    else:
        pytest.skip("this user may read everything")


def test_an_output_that_exists(prune, target, untouched, tmp_path, model):
    before = model.read_bytes()
    assert one_error(*prune(to=model), "exists", "--force")
    assert untouched()
    for name in ("out.safetensors", "report.json", "picture.png"):
        (tmp_path / name).write_bytes(b"precious")
        option = {"report.json": "--json", "picture.png": "--figure"}.get(name)
        assert one_error(*prune(*([option, tmp_path / name] if option else [])), name, "exists")
        assert (tmp_path / name).read_bytes() == b"precious"
        (tmp_path / name).unlink()
        assert untouched()
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--figure", "IN"], ["--figure and the input are the same file"]),
        (["--json", "IN"], ["--json and the input are the same file"]),
        (["--json", "OUT"], ["--json and the output are the same file"]),
        (["--json", "x.png", "--figure", "x.png"], ["--figure and --json are the same file"]),
        (["--figure", "x.bmp"], ["x.bmp", ".png, .pdf, .svg"]),
        (["--json", "missing/x.json"], ["missing is no directory"]),
        (["--figure", "."], ["is a directory"]),
    ],
)
def test_outputs_that_make_no_sense(prune, model, target, untouched, monkeypatch, options, words):
    monkeypatch.chdir(model.parent)
    names = {"IN": model, "OUT": target}
    resolved = [names.get(option, option) for option in options]
    assert one_error(*prune("--force", *resolved), *words)
    assert untouched()


def test_a_target_that_cannot_be(prune, tmp_path, untouched):
    assert one_error(*prune(to=tmp_path / "no" / "out.safetensors"), "is no directory")
    assert one_error(*prune(to=tmp_path, n=2), "is a directory")
    assert untouched()


@pytest.mark.parametrize(
    ("options", "n", "m", "words"),
    [
        ([], 5, 4, ["5:4"]),
        ([], 0, 4, ["0:4"]),
        ([], 4, 64, ["no layer to prune", "fewer than m = 64"]),
        (["--method", "flwo"], 2, 4, ["'flwo'", "did you mean 'flow'?"]),
        (["--workers", "0"], 2, 4, ["workers", "0"]),
        (["--include", "*.kwery.*"], 2, 4, ["*.kwery.*", "matches no tensor"]),
        (["--exclude", "encoder.layer.O.*"], 2, 4, ["matches no tensor", "encoder.layer.0"]),
        (["--include", "ids"], 2, 4, ["'ids' is I64"]),
    ],
)
def test_wrong_options(prune, untouched, options, n, m, words):
    assert one_error(*prune(*options, n=n, m=m), *words)
    assert untouched()


def test_nan_names_the_layer_and_leaves_nothing(prune, tmp_path):
    source = tmp_path / "nan.safetensors"
    weights = np.ones((8, 16), np.float32)
    weights[7, 15] = np.nan
    save_file({"a.weight": np.ones((8, 8)), "model.bad.weight": weights}, source)
    assert one_error(*prune(source=source), "layer 'model.bad.weight'", "(7, 15)")
    assert {path.name for path in tmp_path.iterdir()} == {"in.safetensors", "nan.safetensors"}


@pytest.mark.parametrize("writes_before", [0, 1, 3])
def test_a_full_disk(prune, untouched, monkeypatch, writes_before):
    module = sys.modules["nmflow.checkpoint.prune"]
    real, count = module.write, 0

    def full(file, data):
        nonlocal count
        if count == writes_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count += 1
        real(file, data)

    monkeypatch.setattr(module, "write", full)
    assert one_error(*prune(), "No space left on device", "out.safetensors")
    assert untouched()


def test_a_full_disk_while_drawing_leaves_no_half_picture(prune, target, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")

    def full(self, file, **_):
        file.write(b"\x89PNG")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(figure.Figure, "savefig", full)
    code, _, err = prune("--figure", tmp_path / "p.png")
    assert code == 2
    assert "p.png: No space left on device" in err
    assert {path.name for path in tmp_path.iterdir()} == {"in.safetensors", target.name}


def test_out_of_memory(prune, untouched, monkeypatch):
    def hungry(*_, **__):
        raise MemoryError

    monkeypatch.setattr(nmflow, "solve", hungry)
    assert one_error(*prune(), "not enough memory")
    assert untouched()


@pytest.mark.parametrize(
    ("package", "options", "extra"),
    [
        ("safetensors", [], "nmflow[cli]"),
        ("rich.console", [], "nmflow[cli]"),
        ("matplotlib.figure", ["--figure", "p.png"], "nmflow[plot]"),
    ],
)
def test_a_missing_package_names_its_extra(prune, untouched, monkeypatch, package, options, extra):
    monkeypatch.setitem(sys.modules, package, None)
    assert one_error(*prune(*options), f"pip install '{extra}'")
    assert untouched()


def test_quiet_needs_no_rich(prune, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert prune("--quiet")[0] == 0


# Exit codes 1 and 130


def test_a_failed_verification_says_which_layer(prune, tmp_path, untouched, monkeypatch):
    real = nmflow.solve

    def careless(weights, *args, **options):
        mask = real(weights, *args, **options)
        if weights.shape[0] == 9:
            mask[0] = True
        return mask

    monkeypatch.setattr(nmflow, "solve", careless)
    code, out, err = prune()
    assert (code, out) == (1, "")
    assert "nmflow: verification failed: encoder.layer.1.conv.weight: " in err
    assert "query.weight" not in err
    assert err.splitlines()[-1] == "nmflow: nothing was written"
    assert untouched()
    report = tmp_path / "report.json"
    assert prune("--json", report)[0] == 1
    found = json.loads(report.read_text())
    assert found["verified"] is False
    assert {failure["tensor"] for failure in found["failures"]} == {"encoder.layer.1.conv.weight"}
    assert found["gap"] is None


def test_an_interrupt(prune, untouched, monkeypatch):
    real, count = nmflow.solve, 0

    def interrupted(*args, **options):
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(nmflow, "solve", interrupted)
    code, out, err = prune()
    assert (code, out, err.splitlines()[-1]) == (130, "", "nmflow: interrupted")
    assert untouched()


# As a process


def test_importing_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, nmflow.cli; "
        "heavy = {'rich', 'safetensors', 'matplotlib', 'numba', 'torch', 'jax', 'scipy'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_that_closes_early(model, target):
    """``nmflow prune ... | true`` is no failed verification."""
    command = [sys.executable, "-m", "nmflow.cli", "prune", model, target, "-n", "2", "-m", "4"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert done.returncode == 0, done.stderr
    assert target.exists()


# The stand-alone check


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
