"""Hugging Face folders: shards, index, what goes along, and what is refused."""

import json
import os

import pytest
from safetensors_files import floats, write_raw

import nmflow
from nmflow.checkpoint import choose_layers, open_model

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write_index(folder, entries, name="model.safetensors.index.json"):
    index = {"metadata": {"total_size": 1}, "weight_map": entries}
    (folder / name).write_text(json.dumps(index))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / ".git").mkdir()
    write_raw(folder / SECOND, {"b.weight": floats("BF16", (16, 8))})
    write_raw(folder / FIRST, {"z.weight": floats("F32", (8, 8)), "a.bias": floats("F32", (8,))})
    write_index(folder, {"a.bias": FIRST, "z.weight": FIRST, "b.weight": SECOND})
    for name in ("config.json", "1_Pooling/config.json", "spiece.model", "training_args.bin"):
        (folder / name).write_text("{}")
    for name in (".git/config", "pytorch_model-00001-of-00002.bin", "tf_model.h5"):
        (folder / name).write_text("dense")
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    return folder


def refused(folder):
    with pytest.raises(nmflow.NmflowError) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shards_and_what_goes_along(folder):
    model = open_model(folder)
    assert model.kind == "folder"
    assert [path.name for path in model.files] == [FIRST, SECOND]
    assert [(t.name, t.shard) for t in model.tensors] == [
        ("z.weight", 0),
        ("a.bias", 0),
        ("b.weight", 1),
    ]
    assert [str(path) for path in model.extras] == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors.index.json",
        "spiece.model",
        "training_args.bin",
    ]
    assert [str(path) for path in model.left_out] == [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
    ]


def test_one_file_of_weights_comes_before_an_index(folder):
    write_raw(folder / "model.safetensors", {"c.weight": floats("F32", (8, 8))})
    model = open_model(folder)
    assert [tensor.name for tensor in model.tensors] == ["c.weight"]
    assert {FIRST, SECOND} < {str(path) for path in model.left_out}


def test_weights_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a.weight": torch.ones(8, 8)}, tmp_path / "pytorch_model.bin")
    assert [tensor.name for tensor in open_model(tmp_path).tensors] == ["a.weight"]
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "p-1.bin")
    torch.save({"b.weight": torch.ones(8, 8)}, tmp_path / "p-2.bin")
    entries = {"a.weight": "p-1.bin", "b.weight": "p-2.bin"}
    write_index(tmp_path, entries, "pytorch_model.bin.index.json")
    model = open_model(tmp_path)
    assert [(t.name, t.shard) for t in model.tensors] == [("a.weight", 0), ("b.weight", 1)]


def test_a_tensor_that_the_index_leaves_out_is_left(folder):
    write_index(folder, {"a.bias": FIRST, "b.weight": SECOND})
    chosen = choose_layers(open_model(folder).tensors, 8)
    assert ("z.weight", "not in the index") in [(s.name, s.reason) for s in chosen.skipped]


@pytest.mark.parametrize(
    "name",
    ["../out.safetensors", "/etc/passwd", "a/../../b", "..", "", "c:\\weights", "a\0b"],
)
def test_an_index_names_no_file_elsewhere(folder, name):
    write_raw(folder.parent / "out.safetensors", {"a.bias": floats("F32", (8,))})
    write_index(folder, {"a.bias": name})
    assert "which is not in the folder" in refused(folder)


def test_links_do_not_lead_out(folder):
    (folder / FIRST).rename(folder.parent / FIRST)
    (folder / FIRST).symlink_to(folder.parent / FIRST)
    assert "leads out of the folder" in refused(folder)


def test_what_goes_along_is_in_the_folder_too(folder):
    (folder / "tokenizer.json").symlink_to("/etc/passwd")
    assert "tokenizer.json is a link that leads out of the folder" in refused(folder)


def test_a_snapshot_of_the_hub_cache(folder, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    folder.rename(snapshot)
    for number, name in enumerate([FIRST, SECOND, "config.json"]):
        (snapshot / name).rename(blobs / f"{number}")
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert len(open_model(snapshot).tensors) == 3


def test_missing_shards_and_tensors(folder):
    write_index(folder, {"a.bias": FIRST, "b.weight": "model-3.safetensors"})
    assert "'model-3.safetensors', which is missing" in refused(folder)
    write_index(folder, {"a.bias": FIRST, "y.weight": SECOND})
    assert f"the tensor 'y.weight' in {SECOND}, which has none" in refused(folder)


def test_a_tensor_in_two_shards(folder):
    write_raw(folder / SECOND, {"z.weight": floats("F32", (8, 8))})
    assert f"'z.weight' is both in {FIRST} and in {SECOND}" in refused(folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}'),
        *('{"weight_map": {"a": {"a": 1}}}', "[" * 100_000, "\xff", "1" * 5000),
        '{"weight_map": {"a": "x", "a": "y"}}',
    ],
)
def test_broken_indices(folder, text):
    (folder / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    assert "no valid index" in refused(folder)


def test_a_folder_without_weights(tmp_path):
    assert "has none of model.safetensors, " in refused(tmp_path)


def test_links_in_a_circle_and_to_nothing(folder):
    (folder / "x.json").symlink_to("y.json")
    assert "x.json leads to nothing" in refused(folder)
    (folder / "y.json").symlink_to("x.json")
    assert "cannot read" in refused(folder)


def test_a_pipe_is_not_waited_for(folder):
    (folder / FIRST).unlink()
    os.mkfifo(folder / FIRST)
    assert "no regular file" in refused(folder)
