"""What ``nmflow convert`` writes: a folder like the one it reads, n:m, and its report."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("rich")

from converting import (  # noqa: E402
    MODELS,
    gpt2,
    is_transposable,
    save,
    sentences,
    tokenizer,
    weights_of,
)

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.torch.conversion.methods.registry import METHODS, RECONSTRUCTIONS  # noqa: E402
from nmflow.torch.conversion.pretrained.reading_back import digests  # noqa: E402


@pytest.fixture
def convert(tmp_path, capsys, monkeypatch):
    """Run ``nmflow convert`` at 4:8; return exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "160")
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("\n".join(sentences(24)), encoding="utf-8")

    def run(source, *options, to=out):
        arguments = (source, to, "-n", 4, "-m", 8, "--calibration", text, *options)
        capsys.readouterr()  # of what saved the model
        code = cli.main(["convert", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def given(monkeypatch):
    """What :func:`nmflow.torch.convert` is called with."""
    calls, real = [], nmflow.torch.convert

    def spy(model, batches, *args, **options):
        calls.append((batches, options))
        return real(model, batches, *args, **options)

    monkeypatch.setattr(nmflow.torch, "convert", spy)
    return calls


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_becomes_one_that_is_transposable(convert, tmp_path, name):
    source, out = save(tmp_path / "in", name), tmp_path / "out"
    code, printed, err = convert(source)
    assert (code, err) == (0, "")
    report = json.loads((out / "conversion.json").read_text())
    layers = report["conversion"]["layers"]
    converted = {each["name"] for each in layers if each["status"] == "converted"}
    assert len(converted) == {"bert": 12, "gpt2": 8, "llama": 7}[name]
    before, after = weights_of(source), weights_of(out)
    assert before.keys() == after.keys()
    for key, weight in after.items():
        assert weight.dtype == before[key].dtype
        if key in converted:
            assert is_transposable(weight, 4, 8)
            assert (weight != 0).float().mean() == 0.5
        elif not key.endswith("bias"):
            assert torch.equal(weight, before[key])
    kind = type(MODELS[name]())
    model = kind.from_pretrained(out, dtype="auto").eval()
    tokens = transformers.AutoTokenizer.from_pretrained(out)(sentences(1, 5), return_tensors="pt")
    dense = kind.from_pretrained(source, dtype="auto").eval()
    with torch.no_grad():
        found, wanted = (each(**tokens.to("cpu")).logits for each in (model, dense))
    assert not torch.equal(found, wanted)
    assert (found - wanted).norm() < wanted.norm() / 2
    assert all(key in printed for key in converted)
    assert f"{len(converted)} converted" in printed
    assert "Calibrated on 24 samples" in printed
    assert "Verified on the written folder: rows and columns hold at most n" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "text.txt"}


def test_the_calibration_is_the_first_lines_by_length(convert, tmp_path, given):
    """Batches written out: sorted, cut, padded with the token for the end, and masked."""
    source = save(tmp_path / "in", "gpt2")
    code, *_ = convert(source, "--samples", 10, "--length", 8, "--batch", 4)
    assert code == 0
    rows = sorted(
        ([tokenizer().convert_tokens_to_ids(word) for word in line.split()][:8]
         for line in sentences(24)[:10]),
        key=len,
        reverse=True,
    )  # fmt: skip
    batches = []
    for start in (0, 4, 8):
        some = rows[start : start + 4]
        width = len(some[0])
        ids = torch.tensor([row + [2] * (width - len(row)) for row in some])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in some])
        batches.append({"input_ids": ids, "attention_mask": mask})
    assert len({len(row) for row in rows}) > 2
    ((found, _),) = given
    assert len(found) == 3
    for batch, wanted in zip(found, batches, strict=True):
        assert torch.equal(batch["input_ids"], wanted["input_ids"])
        assert torch.equal(batch["attention_mask"], wanted["attention_mask"])
        assert batch["use_cache"] is False
    model = gpt2().eval()
    nmflow.torch.convert(model, batches, 4, 8)
    written = weights_of(tmp_path / "out")
    for name, weight in model.state_dict().items():
        if name in written:
            torch.testing.assert_close(written[name], weight)
    seen = json.loads((tmp_path / "out" / "conversion.json").read_text())["calibration"]
    counted = {"samples": 10, "tokens": sum(map(len, rows)), "length": 8, "batch": 4}
    assert {key: seen[key] for key in counted} == counted


def test_paragraphs_are_samples(convert, tmp_path, given):
    lines = sentences(6)
    text = tmp_path / "paragraphs.txt"
    text.write_bytes(f"\ufeff{lines[0]}\n{lines[1]}\n\n \n{lines[2]}\r\n\r\n{lines[3]}\n".encode())
    source = save(tmp_path / "in")
    for options, wanted in (
        (["--paragraphs"], [" ".join(lines[:2]), lines[2], lines[3]]),
        ([], lines[:4]),
    ):
        quick = ("--calibration", text, "--method", "magnitude", "--reconstruction", "none")
        assert convert(source, *quick, *options, "--force")[0] == 0
        rows = [row[row != 0].tolist() for batch in given[-1][0] for row in batch["input_ids"]]
        ids = [tokenizer().convert_tokens_to_ids(sample.split())[:24] for sample in wanted]
        assert sorted(rows) == sorted(ids)


def test_options_reach_the_library(convert, tmp_path, given):
    report = tmp_path / "report.json"
    code, *_ = convert(
        save(tmp_path / "in"),
        *("--method", "wanda", "--reconstruction", "none", "--pattern", "rows"),
        *("--inputs", "dense", "--damping", 0.5, "--keep-zeros", "--unreached", "magnitude"),
        *("--include", "*.query", "--include", "*.key", "--exclude", "*.layer.0.*"),
        *("--dtype", "bfloat16", "--json", report),
    )
    assert code == 0
    _, options = given[0]
    expected = {
        "method": "wanda",
        "reconstruction": None,
        "pattern": "rows",
        "inputs": "dense",
        "damping": 0.5,
        "keep_zeros": True,
        "unreached": "magnitude",
        "resume": None,
    }
    assert {key: options[key] for key in expected} == expected
    found = json.loads(report.read_text())
    assert found == json.loads((tmp_path / "out" / "conversion.json").read_text())
    layers = found["conversion"]["layers"]
    names = [each["name"] for each in layers if each["status"] == "converted"]
    stem = "bert.encoder.layer.1.attention.self"
    assert names == [f"{stem}.query.weight", f"{stem}.key.weight"]
    assert found["nmflow"] == nmflow.__version__
    assert (found["n"], found["m"], found["pattern"], found["verified"]) == (4, 8, "rows", True)
    assert all(w.dtype == torch.bfloat16 for w in weights_of(tmp_path / "out").values())


QUICK = ("--method", "magnitude", "--reconstruction", "none", "--quiet")


def test_heads_are_turned_and_rows_put_in_order(convert, tmp_path):
    report = tmp_path / "report.json"
    code, *_ = convert(save(tmp_path / "in"), "--rotate", "--permute", *QUICK, "--json", report)
    assert code == 0
    found = json.loads(report.read_text())["conversion"]
    assert {each["kind"] for each in found["rotations"]["rotations"]} == {"queries", "values"}
    assert found["orders"]["orders"]
    assert found["rotations"]["difference"] <= 1e-5


def test_other_files_are_carried_over_as_they_are(convert, tmp_path):
    source, out = save(tmp_path / "in"), tmp_path / "out"
    kept = {
        "README.md": b"# about\r\n",
        "1_Pooling/config.json": b"{}",
        "2_Dense/model.safetensors": b"other weights",
        "modules.json": b"[ ]",
    }
    left = {"pytorch_model.bin": b"dense", "onnx/model.onnx": b"dense", "old.safetensors": b""}
    others = {"model-00001-of-00002.safetensors": b"", ".git/config": b"", ".cache": b""}
    for name, content in (kept | left | others).items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(content)
    assert convert(source, *QUICK) == (0, "", "")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    own = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert files == {*kept, *own, "conversion.json"}
    for name in (*kept, "tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    (note,) = json.loads((out / "conversion.json").read_text())["notes"]
    assert all(name in note for name in left)


def test_force_replaces_what_this_command_wrote_and_nothing_else(convert, tmp_path):
    source, out = save(tmp_path / "in"), tmp_path / "out"
    assert convert(source, *QUICK)[0] == 0
    (out / "more.txt").write_text("from before")
    code, _, err = convert(source, *QUICK)
    assert code == 2
    assert "exists" in err
    assert "--force" in err
    assert convert(source, *QUICK, "--force")[0] == 0
    assert not (out / "more.txt").exists()
    (tmp_path / "mine").mkdir()
    assert convert(source, *QUICK, "--force", to=tmp_path / "mine")[0] == 0
    other = save(tmp_path / "other")
    code, _, err = convert(source, *QUICK, "--force", to=other)
    assert code == 2
    assert "no conversion.json" in err
    assert (other / "model.safetensors").exists()


def test_weights_that_the_class_does_not_take_are_named(convert, tmp_path):
    source = save(tmp_path / "in")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    code, printed, _ = convert(source, *QUICK[:-1])
    assert code == 0
    assert "At random, since the model's folder lacks them: cls.predictions.bias, cls." in printed
    assert "Left out, since a BertForMaskedLM does not take them: bert.pooler.dense.bias" in printed
    del config["architectures"]
    (source / "config.json").write_text(json.dumps(config))
    assert convert(source, *QUICK, "--force")[0] == 0
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["architectures"] == ["BertModel"]


def test_the_help_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(name in printed for name in (*METHODS, *RECONSTRUCTIONS, "conversion.json"))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "convert write a copy of a Hugging Face folder" in " ".join(
        capsys.readouterr().out.split()
    )


def test_tensors_without_dimensions_have_a_digest():
    """Batch norms count their batches in one."""
    found = digests(torch.nn.BatchNorm1d(3))
    assert len(found["num_batches_tracked"]) == 64
    assert found["weight"] == digests(torch.nn.BatchNorm1d(3))["weight"] != found["bias"]
