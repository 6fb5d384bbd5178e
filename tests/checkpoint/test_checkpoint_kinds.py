"""Models of every kind are pruned as what they are, band by band, with all else as it was."""

import json
import math
import pickle
import sys
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from safetensors_files import BIT_DTYPES, LAYERS, floats, obeys, read_layer, write_raw

import nmflow
from nmflow.checkpoint import (
    Layer,
    Tensor,
    VerificationError,
    decode,
    open_masks,
    open_model,
    plan_checkpoint,
    prune_checkpoint,
    read_masks,
)
from nmflow.checkpoint import bands as bands_module
from nmflow.checkpoint.bands import bands_of
from nmflow.checkpoint.layer_job import LayerJob
from nmflow.checkpoint.patterns import Patterns
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.solvers.registry import find_method

RNG = np.random.default_rng(26)


@pytest.fixture
def small_bands(monkeypatch):
    """Layers of some hundred entries are cut too."""
    real = bands_module.bands_of

    def small(layer, pattern, most=100, *, by_matrix=False):
        return real(layer, pattern, most, by_matrix=by_matrix)

    for name in ("layer_job", "verifying.verify", "verifying.verify_masks"):
        monkeypatch.setattr(sys.modules[f"nmflow.checkpoint.{name}"], "bands_of", small)


def layer_of(shape, layout, order=()):
    stop = 4 * math.prod(shape)
    return Layer(Tensor("a.weight", "F32", shape, 0, stop, order=order), layout)


@pytest.mark.parametrize(
    ("shape", "layout", "order", "count"),
    [
        ((64, 10), Layout(), (), 8),
        ((61, 7), Layout(), (), 8),
        ((64, 10), Layout((1, 0)), (), 8),
        ((10, 64), Layout(), (1, 0), 8),
        ((96, 10), Layout((0, 1), 3), (), 12),
        ((36, 10), Layout((0, 1), 3), (), 6),
        ((30, 7), Layout((0, 1), 3), (), 1),
        ((24, 10), Layout((1, 0), 2), (), 3),
        ((6, 16, 16), Layout((1, 2)), (), 6),
        ((6, 16, 16), Layout((2, 1)), (), 6),
        ((16, 16, 3, 3), Layout(), (), 2),
        ((16, 16, 3, 3), Layout(), (2, 3, 0, 1), 3),
        ((16, 16, 3, 3), Layout(), (3, 2, 0, 1), 1),
        ((1, 1, 64, 10), Layout((2, 3)), (), 8),
    ],
)
@pytest.mark.parametrize("pattern", ["transposable", "rows", "columns", "unstructured"])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_bands_come_to_the_whole(tmp_path, shape, layout, order, count, pattern, dtype):
    """Mask, certificate and violations of bands are those of the layer at once."""
    wanted = Pattern(3, 8, pattern)
    stored = tuple(shape[axis] for axis in order) if order else shape
    path = write_raw(tmp_path / "a.safetensors", {"a.weight": floats(dtype, stored)})
    (tensor,) = open_model(path).tensors
    tensor = Tensor("a.weight", dtype, shape, tensor.start, tensor.stop, order=order)
    layer = Layer(tensor, layout)
    found = list(bands_of(layer, wanted, 100))
    if pattern != "unstructured":
        assert len(found) == count
    assert found[0].start == tensor.start
    assert found[-1].stop == tensor.stop
    assert all(a.stop == b.start for a, b in pairwise(found))
    # Approximate where it may be: groups that it does not fill are violations.
    method = find_method("greedy" if pattern == "transposable" else "flow")
    job = LayerJob((path,), Patterns(wanted), method, "abs", ("rows",))
    job = pickle.loads(pickle.dumps(job))
    parts = [job.run(pickle.loads(pickle.dumps(band))) for band in found]
    (whole,) = [job.run(band) for band in bands_of(layer, wanted, 1 << 20)]
    together = b"".join(part.data.tobytes() for part in parts)
    assert together == whole.data.tobytes()
    assert b"".join(part.mask.tobytes() for part in parts) == whole.mask.tobytes()
    tally = parts[0].found.tally
    for part in parts[1:]:
        tally.add(part.found.tally)
    mine, its = tally.certificate(), whole.found.tally.certificate()
    assert mine.violations is not None
    assert {**vars_of(mine), "violations": 0} == {**vars_of(its), "violations": 0}
    if len(its.violations) < 10:
        assert sorted(map(str, mine.violations)) == sorted(map(str, its.violations))
    assert math.fsum(part.found.total for part in parts) == pytest.approx(whole.found.total)


def vars_of(certificate):
    return {name: getattr(certificate, name) for name in certificate.__slots__}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_file_in_bands_is_that_without(model, target, tmp_path, small_bands, workers):
    report = prune_checkpoint(model, target, 2, 4, compare=False, workers=workers)
    whole = tmp_path / "whole.safetensors"
    for layer in LAYERS:
        weights = read_layer(model, layer)
        mask = nmflow.solve(weights, 2, 4, axes=(0, 1))
        assert np.array_equal(read_layer(target, layer), np.where(mask, weights, 0))
    assert report.gap == 0
    assert not whole.exists()


def test_not_finite_in_a_later_band(tmp_path, target, small_bands):
    weights = np.ones((64, 16), np.float32)
    weights[41, 3] = np.inf
    source = write_raw(
        tmp_path / "in.safetensors", {"a.weight": ("F32", weights.shape, weights.tobytes())}
    )
    with pytest.raises(nmflow.NmflowError, match=r"'a.weight': inf at index \(41, 3\)"):
        prune_checkpoint(source, target, 2, 4, compare=False)


def test_what_is_wrong_in_a_later_band_is_said_where_it_is(tmp_path, target, small_bands):
    from nmflow.checkpoint import verify_checkpoint

    dense = np.ones((64, 16))
    sparse = np.zeros((64, 16))
    sparse[40:43, 5] = 1
    source, copy = (
        write_raw(path, {"a.weight": ("F64", (64, 16), values.tobytes())})
        for path, values in ((tmp_path / "in.safetensors", dense), (target, sparse))
    )
    opened = open_model(source)
    layers = [Layer(one, Layout()) for one in opened.tensors]
    (failure,) = verify_checkpoint(opened, copy, layers, Patterns(Pattern(2, 4)), filled=False)
    assert failure.problem == (
        "1 column groups keep more than 2 of 4; the first, at (10, 5), keeps 3"
    )


@pytest.fixture
def shards(tmp_path):
    """A folder in two shards, with what goes along and what doesn't."""
    folder = tmp_path / "in"
    folder.mkdir()
    first = {"a.weight": floats("BF16", (24, 16)), "norm.weight": floats("F32", (16,))}
    second = {"b.weight": floats("F32", (16, 24)), "lm_head.weight": floats("F32", (40, 16))}
    entries = {}
    for name, tensors in (("w-1.safetensors", first), ("w-2.safetensors", second)):
        write_raw(folder / name, tensors, {"format": "pt"})
        entries |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": entries}))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("a")
    (folder / "config.json").write_text("{}")
    (folder / "tf_model.h5").write_text("dense")
    return folder


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder(shards, tmp_path):
    target = tmp_path / "out"
    report = prune_checkpoint(shards, target, 2, 4)
    assert [layer.name for layer in report.layers] == ["a.weight", "b.weight"]
    assert report.left_out == ("tf_model.h5",)
    assert names_in(target) == names_in(shards) - {"tf_model.h5"}
    old, new = open_model(shards), open_model(target)
    for before, after in zip(old.tensors, new.tensors, strict=True):
        weights, sparse = old.read_bits(before), new.read_bits(after)
        if before.name in ("a.weight", "b.weight"):
            assert obeys(sparse != 0, 2, 4)
            assert np.array_equal(sparse[sparse != 0], weights[sparse != 0])
        else:
            assert np.array_equal(weights, sparse)
    for name in ("config.json", "tokenizer/vocab.txt", "model.safetensors.index.json"):
        assert (target / name).read_bytes() == (shards / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_a_folder_is_replaced_whole_or_not_at_all(shards, tmp_path):
    target = tmp_path / "out"
    prune_checkpoint(shards, target, 2, 4)
    (target / "extra.txt").write_text("mine")
    with pytest.raises(nmflow.NmflowError, match="it exists"):
        prune_checkpoint(shards, target, 4, 8)
    before = {name: (target / name).read_bytes() for name in names_in(target)}
    assert "extra.txt" in before
    prune_checkpoint(shards, target, 4, 8, overwrite=True)
    assert "extra.txt" not in names_in(target)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "me.jpg").write_text("precious")
    with pytest.raises(nmflow.NmflowError, match="may hold anything"):
        prune_checkpoint(shards, other, 4, 8, overwrite=True)
    for inside in (shards, shards / "out", tmp_path):
        with pytest.raises(nmflow.NmflowError, match="cannot write"):
            prune_checkpoint(shards, inside, 4, 8, overwrite=True)


def test_a_job_that_fails_leaves_the_folder_as_it_was(shards, tmp_path):
    target = tmp_path / "out"
    prune_checkpoint(shards, target, 2, 4)
    before = {name: (target / name).read_bytes() for name in names_in(target)}
    bits = np.full((16, 24), np.nan, np.float32)
    write_raw(
        shards / "w-2.safetensors",
        {"b.weight": ("F32", bits.shape, bits.tobytes()), "lm_head.weight": floats("F32", (4, 4))},
    )
    with pytest.raises(nmflow.NmflowError, match="nan at index"):
        prune_checkpoint(shards, target, 2, 4, overwrite=True)
    assert {name: (target / name).read_bytes() for name in names_in(target)} == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch(tmp_path, zipped, small_bands):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    one = torch.randn(24, 16)
    state = {
        "model": {"conv.weight": conv.weight, "a.weight": one, "b.weight": one},
        "half": {"c.weight": torch.randn(64, 64).bfloat16()[:32]},
        "epoch": 3,
        "best": [0.1, (1, 2)],
    }
    source, target = tmp_path / "in.pth", tmp_path / "out.pth"
    torch.save(state, source, _use_new_zipfile_serialization=zipped)
    report = prune_checkpoint(source, target, 2, 4, compare=False)
    assert {layer.name for layer in report.layers} == {
        *("model.conv.weight", "model.a.weight", "half.c.weight"),
    }
    new = torch.load(target, weights_only=True)
    assert (new["epoch"], new["best"]) == (3, [0.1, (1, 2)])
    assert new["model"]["a.weight"].data_ptr() == new["model"]["b.weight"].data_ptr()
    assert new["model"]["conv.weight"].stride() == conv.weight.stride()
    for group, name in (("model", "a.weight"), ("model", "conv.weight"), ("half", "c.weight")):
        weights = state[group][name].detach().float().numpy()
        mask = nmflow.solve(weights, 2, 4, axes=(0, 1))
        assert np.array_equal(new[group][name].detach().float().numpy(), np.where(mask, weights, 0))
    assert len(source.read_bytes()) == len(target.read_bytes())
    if zipped:
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None


def test_a_wrong_checksum_of_an_archive_is_found(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    module = sys.modules["nmflow.checkpoint.writing.sealing"]
    monkeypatch.setattr(module.zlib, "crc32", lambda data, start=0: 5)
    torch.save({"a.weight": torch.randn(16, 16)}, tmp_path / "in.pth")
    real = zipfile.crc32
    monkeypatch.setattr(sys.modules["nmflow.checkpoint.verifying.verify"], "zlib", _Zlib(real))
    with pytest.raises(VerificationError, match="weight: the archive's checksum of it is"):
        prune_checkpoint(tmp_path / "in.pth", tmp_path / "out.pth", 2, 4, compare=False)


class _Zlib:
    def __init__(self, crc32):
        self.crc32 = crc32


@pytest.mark.parametrize("kind", ["safetensors", "folder", "torch"])
@pytest.mark.parametrize("pattern", ["transposable", "rows", "unstructured"])
def test_masks_alone(request, tmp_path, small_bands, kind, pattern):
    if kind == "torch":
        torch = pytest.importorskip("torch")
        source = tmp_path / "in.pth"
        weights = {"a.weight": torch.randn(24, 13).t(), "conv.weight": torch.randn(9, 11, 3, 3)}
        torch.save(weights, source)
        target = tmp_path / "out.pth"
    else:
        source = request.getfixturevalue("shards" if kind == "folder" else "model")
        target = tmp_path / ("out" if kind == "folder" else "out.safetensors")
    masks = tmp_path / "masks.safetensors"
    options = {"pattern": pattern, "compare": False}
    report = prune_checkpoint(source, masks, 4, 8, masks_only=True, **options)
    assert report.masks_only
    prune_checkpoint(source, target, 4, 8, **options)
    found = read_masks(masks)
    old, new = open_model(source), open_model(target)
    names = {layer.name for layer in report.layers}
    assert set(found) == names
    for before, after in zip(old.tensors, new.tensors, strict=True):
        if before.name in names:
            bits = old.read_bits(before)
            assert np.array_equal(bits * found[before.name], new.read_bits(after))
    for mask in open_masks(masks):
        assert (mask.pattern.n, mask.pattern.m, mask.pattern.name) == (4, 8, pattern)
    assert masks.stat().st_size < target.stat().st_size if target.is_file() else True


def test_no_file_of_masks(model):
    with pytest.raises(nmflow.NmflowError, match="holds no masks of nmflow"):
        read_masks(model)


def test_patterns_by_layer(model, target, tmp_path):
    toml = tmp_path / "layers.toml"
    toml.write_text(
        '"blocks.10.*" = {n = 1, m = 4}\n'
        '"*.conv.weight" = "skip"\n'
        '"blocks.*" = {pattern = "rows"}\n'
    )
    report = prune_checkpoint(model, target, 2, 4, by_layer=toml)
    found = {layer.name: str(layer.pattern) for layer in report.layers}
    assert found == {
        "blocks.10.fc1.weight": str(Pattern(1, 4)),
        "blocks.2.fc1.weight": str(Pattern(2, 4, "rows")),
    }
    assert obeys(read_layer(target, "blocks.10.fc1.weight") != 0, 1, 4)
    rows = read_layer(target, "blocks.2.fc1.weight") != 0
    assert (rows.reshape(16, 6, 4).sum(axis=2) == 2).all()
    reasons = {one.name: one.reason for one in report.skipped}
    assert reasons["blocks.2.conv.weight"] == "no pattern for this layer"
    assert report.patterns == ("unstructured", "rows", "transposable")
    same = tmp_path / "same.safetensors"
    by_layer = {
        "blocks.10.*": {"n": 1, "m": 4},
        "*.conv.weight": "skip",
        "blocks.*": {"pattern": "rows"},
    }
    prune_checkpoint(model, same, 2, 4, by_layer=by_layer)
    assert same.read_bytes() == target.read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"nowhere.*" = {n = 1}', r"'nowhere\.\*' of the patterns by layer matches no tensor"),
        ('"lm_head.*" = {n = 1}', "matches no layer that is pruned"),
        ('"nowhere.*" = "skip"', "matches no tensor"),
        ('"*" = {n = 1, k = 2}', r"'\*' is .*give it"),
        ('"*" = {}', "give it"),
        ('"*" = 3', "give it"),
        ('"*" = {n = 5}', "5:4"),
        ('"*" = {n = "a"}', "n"),
        ('"*" = {pattern = "diagonal"}', "unknown pattern 'diagonal'"),
        ('"*" = {n = 1}\n"*" = {n = 2}', "no valid TOML"),
        ("[", "no valid TOML"),
        ("\x00", "no valid TOML"),
    ],
)
def test_patterns_that_make_no_sense(model, target, tmp_path, text, words):
    toml = tmp_path / "layers.toml"
    toml.write_text(text)
    with pytest.raises(nmflow.NmflowError, match=words):
        prune_checkpoint(model, target, 2, 4, by_layer=toml)
    with pytest.raises(nmflow.NmflowError, match="No such file"):
        prune_checkpoint(model, target, 2, 4, by_layer=tmp_path / "missing.toml")
    assert not target.exists()


def test_a_plan_writes_nothing(shards, tmp_path):
    plan = plan_checkpoint(shards, tmp_path / "out", 2, 4, by_layer={"b.*": {"n": 1}})
    found = json.loads(json.dumps(plan.as_dict()))
    assert [(x["name"], x["n"], x["m"], x["bytes"]) for x in found["layers"]] == [
        ("a.weight", 2, 4, 24 * 16 * 2),
        ("b.weight", 1, 4, 24 * 16 * 4),
    ]
    assert found["kind"] == "folder"
    assert found["bytes_written"] == sum(path.stat().st_size for path in shards.glob("w-*"))
    assert found["bytes_free"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    masks = plan_checkpoint(shards, tmp_path / "m.safetensors", 2, 4, masks_only=True)
    prune_checkpoint(shards, tmp_path / "m.safetensors", 2, 4, masks_only=True)
    assert masks.size == (tmp_path / "m.safetensors").stat().st_size


def test_every_dtype_decodes_as_its_bits(model):
    opened = open_model(model)
    for tensor in opened.tensors:
        if not tensor.obstacle:
            bits = opened.read_bits(tensor)
            assert bits.dtype == BIT_DTYPES[tensor.dtype]
            assert decode(bits, tensor.dtype).shape == tensor.shape
