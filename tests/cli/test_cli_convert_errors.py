"""Of ``nmflow convert``, what goes wrong: one line, and nothing half-written."""

import json
import sys

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("rich")

from converting import save, sentences, weights_of  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.torch.conversion import driver  # noqa: E402
from nmflow.torch.conversion.pretrained import loading, saving  # noqa: E402

QUICK = ("--method", "magnitude", "--reconstruction", "none")


@pytest.fixture
def source(tmp_path):
    return save(tmp_path / "in")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(sentences(8)), encoding="utf-8")
    return path


@pytest.fixture
def convert(tmp_path, source, text, capsys):
    """Run ``nmflow convert`` by magnitude; return exit code, standard output, standard error."""

    def run(*options, model=source, to=tmp_path / "out", n=4, m=8):
        arguments = (model, to, "-n", n, "-m", m, "--calibration", text, *QUICK, *options)
        capsys.readouterr()  # of what saved the model
        code = cli.main(["convert", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def untouched(tmp_path, source, text):
    """Return a check that all files are what they were, byte for byte."""

    def contents():
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path.relative_to(tmp_path): path.read_bytes() for path in files}

    before, names = contents(), set(tmp_path.iterdir())
    return lambda: contents() == before and set(tmp_path.iterdir()) == names


def one_error(code, out, err, *words):
    """Whether a run ended as every error must."""
    assert (code, out) == (2, "")
    assert err.startswith("nmflow: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    return True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "alsp"], ["unknown method 'alsp'", "nearest is 'alps'"]),
        (["--reconstruction", "adm"], ["unknown reconstruction", "'adam'"]),
        (["--include", "*.qwery"], ["include", "*.qwery", "matches no module", "query"]),
        (["--exclude", "*.qwery"], ["exclude", "*.qwery", "matches no module"]),
        (["--damping", "0"], ["damping", "above 0"]),
        (["--samples", "0"], ["--samples must be 1 or more, got 0"]),
        (["--batch", "-1"], ["--batch must be 1 or more, got -1"]),
        (["--length", "25"], ["at most 24 tokens, not samples of 25"]),
        (["--calibration", "DIR/none.txt"], ["none.txt: No such file"]),
        (["--calibration", "DIR"], ["Is a directory"]),
        (["--resume", "DIR/out/layers"], ["--resume must not lie in OUT"]),
        (["--resume", "DIR/in/layers"], ["--resume must not lie in MODEL"]),
        (["--json", "DIR/out/a.json"], ["--json must not lie in OUT"]),
        (["--json", "DIR/text.txt"], ["--json and --calibration are the same file"]),
    ],
)
def test_wrong_options(convert, tmp_path, untouched, options, words):
    options = [option.replace("DIR", str(tmp_path)) for option in options]
    assert one_error(*convert(*options), *words)
    assert untouched()


def test_wrong_names_are_told_before_the_model_is_read(convert, monkeypatch):
    monkeypatch.setattr(loading, "load_model", lambda *_: pytest.fail("the model is read"))
    assert one_error(*convert("--method", "alsp"), "unknown method")
    assert one_error(*convert("--reconstruction", "adm"), "unknown reconstruction")


def test_patterns_that_make_no_sense(convert, untouched):
    assert one_error(*convert(n=9, m=8), "9:8")
    assert one_error(*convert(n=32, m=64), "nothing to sparsify", "too small for m = 64")
    assert untouched()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "has no text"),
        (b"\n  \n\t\r\n", "has no text"),
        (b"a cat\n\xff\xfe", "UTF-8"),
    ],
)
def test_files_without_text(convert, text, content, word):
    text.write_bytes(content)
    assert one_error(*convert(), "text.txt", word)


def test_models_that_are_none(convert, tmp_path, source, text):
    assert one_error(*convert(model="bert-base-uncased"), "is no folder", "nothing is downloaded")
    assert one_error(*convert(model=text), "text.txt is no folder")
    weights, config = source / "model.safetensors", source / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:200])
    assert one_error(*convert(), "cannot read the model")
    weights.rename(source / "pytorch_model.bin")
    assert one_error(*convert(), "no model.safetensors", "other formats")
    weights.write_bytes(whole)
    (source / "tokenizer.json").unlink()
    (source / "tokenizer_config.json").unlink()
    assert one_error(*convert(), "the tokenizer knows nothing of the calibration text")
    (source / "tokenizer_config.json").write_text("{")
    assert one_error(*convert(), "cannot read a tokenizer")
    config.write_text("{")
    assert one_error(*convert(), "cannot read the model")
    config.unlink()
    assert one_error(*convert(), "has no config.json")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "text.txt"}


def test_code_of_a_model_is_never_run(convert, tmp_path, source):
    config = json.loads((source / "config.json").read_text())
    own = {"architectures": ["Own"], "model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (source / "config.json").write_text(json.dumps(config | own))
    ran = tmp_path / "ran"
    (source / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    assert one_error(*convert(), "cannot read the model")
    assert not ran.exists()


def test_weights_that_are_not_there_are_not_converted(convert, source, tmp_path):
    from safetensors.torch import save_file

    name = "bert.encoder.layer.1.attention.self.key.weight"
    tensors = weights_of(source)
    del tensors[name]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    assert one_error(*convert(), name, "lacks weights", "--exclude")
    assert not (tmp_path / "out").exists()
    assert convert("--exclude", name)[0] == 0


def test_places_that_make_no_sense(convert, source, untouched):
    assert one_error(*convert("--force", to=source), "MODEL must not lie in OUT")
    assert one_error(*convert("--force", to=source.parent), "MODEL must not lie in OUT")
    assert one_error(*convert(to=source / "sparse"), "OUT must not lie in MODEL")
    assert one_error(*convert(to=source.parent / "no" / "out"), "no is no directory")
    assert untouched()


def test_out_that_exists(convert, tmp_path):
    (tmp_path / "out").write_text("precious")
    assert one_error(*convert(), "out: it exists", "--force")
    assert one_error(*convert("--force"), "no conversion.json")
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize("package", ["transformers", "rich.console"])
def test_a_missing_package_names_its_extra(convert, untouched, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"rich.console": "cli"}.get(package, package)
    assert one_error(*convert(), f"pip install 'nmflow[{extra}]'")
    assert untouched()


def test_tokens_that_cannot_be_padded(convert, tmp_path):
    model = save(tmp_path / "llama", "llama", eos_token=None)
    assert one_error(*convert(model=model), "no token to pad with")
    assert convert("--batch", 1, model=model)[0] == 0


def interrupt(monkeypatch, after):
    """Ctrl-C when so many weights are converted."""
    real, count = driver.fit, 0

    def fit(*args):
        nonlocal count
        if count == after:
            raise KeyboardInterrupt
        count += 1
        return real(*args)

    monkeypatch.setattr(driver, "fit", fit)


def test_an_interrupted_run_leaves_nothing(convert, untouched, monkeypatch):
    interrupt(monkeypatch, 3)
    code, out, err = convert()
    assert (code, out, err) == (130, "", "nmflow: interrupted\n")
    assert untouched()


def test_an_interrupted_run_leaves_what_was_there(convert, tmp_path, monkeypatch):
    assert convert()[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with monkeypatch.context() as patched:
        interrupt(patched, 3)
        assert convert("--force")[0] == 130
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "text.txt"}


def test_a_run_goes_on_from_finished_layers(convert, tmp_path, monkeypatch):
    layers = tmp_path / "layers"
    method = ("--method", "sparsegpt", "--reconstruction", "auto")
    assert convert(*method)[0] == 0
    with monkeypatch.context() as patched:
        interrupt(patched, 7)
        assert convert(*method, "--resume", layers, to=tmp_path / "again")[0] == 130
    assert not (tmp_path / "again").exists()
    code, out, _ = convert(*method, "--resume", layers, to=tmp_path / "again")
    assert code == 0
    assert out.count(" resumed\n") == 7
    found, wanted = weights_of(tmp_path / "again"), weights_of(tmp_path / "out")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    other = convert("--resume", layers, to=tmp_path / "third")
    assert one_error(*other, "was begun with method")


def test_a_failed_verification_says_which_weight(convert, tmp_path, untouched, monkeypatch):
    """A weight that is not sparse, and one that is not what was to be written."""
    dense = "bert.encoder.layer.0.attention.self.query"
    lost = "bert.encoder.layer.1.output.dense"
    converts, saves = nmflow.torch.convert, saving.save_model

    def careless(model, *args, **options):
        report = converts(model, *args, **options)
        model.get_submodule(dense).weight.data[2, 3:8] = 1
        return report

    def worse(model, folder):
        model.get_submodule(lost).weight.data[0] *= 2
        saves(model, folder)

    monkeypatch.setattr(nmflow.torch, "convert", careless)
    monkeypatch.setattr(saving, "save_model", worse)
    code, out, err = convert()
    assert (code, out) == (1, "")
    first, second, last = err.splitlines()
    start = "nmflow: verification failed"
    assert first == f"{start}: {lost}.weight: it is not what was written, bit for bit"
    assert second.startswith(f"{start}: {dense}.weight: ")
    assert "groups hold more than 4 of 8" in second
    assert last == "nmflow: nothing was written"
    assert untouched()
    assert convert("--json", tmp_path / "report.json")[0] == 1
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["verified"] is False
    assert {each["tensor"] for each in found["failures"]} == {f"{dense}.weight", f"{lost}.weight"}
    assert not (tmp_path / "out").exists()
