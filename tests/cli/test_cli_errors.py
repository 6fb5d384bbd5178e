"""Bad input ends in one line and exit code 2, and nothing half-done is left."""

import errno
import os
import sys

import numpy as np
import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file

from nmflow import priced  # noqa: E402


def one_error(code, out, err, *words):
    """Whether a run ended as every error must."""
    assert code == 2
    assert out == ""
    assert err.startswith("nmflow: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    return True


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
    module = sys.modules["nmflow.checkpoint.writing.stream"]
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

    monkeypatch.setattr(priced, "solve_for_certificate", hungry)
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
