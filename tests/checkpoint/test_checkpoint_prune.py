"""What pruning a safetensors file writes, and reports."""

import json
import math
import stat
import tracemalloc

import numpy as np
import pytest
from safetensors_files import (
    BIT_DTYPES,
    LAYERS,
    RNG,
    floats,
    obeys,
    read_layer,
    read_raw,
    write_raw,
)

import nmflow
from nmflow.checkpoint import (
    decode,
    open_model,
    prune_checkpoint,
)
from nmflow.checkpoint.report import natural_key


def test_only_pruned_weights_change(model, target):
    report = prune_checkpoint(model, target, 2, 4)
    (before, header), (after, new_header) = read_raw(model), read_raw(target)
    assert new_header == header
    assert list(after) == list(before)
    for name, data in before.items():
        if name not in LAYERS:
            assert after[name] == data, name
    for layer in report.layers:
        bits = BIT_DTYPES[layer.dtype]
        old, new = np.frombuffer(before[layer.name], bits), np.frombuffer(after[layer.name], bits)
        assert np.isin(np.flatnonzero(new != old), np.flatnonzero(new == 0)).all()
        kept = (new != 0).reshape(*layer.shape[:2], -1)
        assert kept.mean() == 0.5
        assert all(obeys(kept[:, :, k], 2, 4) for k in range(kept.shape[2]))
    assert {layer.name for layer in report.layers} == set(LAYERS)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("pattern", ["transposable", "rows", "columns", "unstructured"])
@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_the_mask_is_that_of_solve(tmp_path, target, dtype, pattern, score):
    shape = (13, 11, 2)
    source = write_raw(tmp_path / "in.safetensors", {"conv.weight": floats(dtype, shape)})
    report = prune_checkpoint(source, target, 2, 4, pattern=pattern, score=score)
    weights = read_layer(source, "conv.weight")
    mask = nmflow.solve(weights, 2, 4, pattern=pattern, axes=(0, 1), score=score)
    assert np.array_equal(read_layer(target, "conv.weight"), np.where(mask, weights, 0))
    layer = report.layers[0]
    assert layer.certificate == nmflow.certify(
        weights, mask, 2, 4, pattern=pattern, axes=(0, 1), score=score
    )
    wide = weights.astype(np.float64)
    scores = {"abs": np.abs(wide), "square": wide**2, "raw": wide}[score]
    total = math.fsum(scores[scores > 0])
    assert layer.total == pytest.approx(total, rel=1e-12)
    assert layer.share(pattern) == pytest.approx(math.fsum(scores[mask]) / total, rel=1e-12)


@pytest.mark.parametrize(
    ("dtype", "bits", "values"),
    [
        ("BF16", [0x3F80, 0xC020, 0x7F7F, 0x0001, 0x8000], [1, -2.5, (2 - 2**-7) * 2.0**127]),
        ("F16", [0x3C00, 0xC100, 0x7BFF, 0x0001, 0x8000], [1, -2.5, 65504]),
    ],
)
def test_decoding(dtype, bits, values):
    decoded = decode(np.array(bits, "<u2"), dtype)
    smallest = {"BF16": 2.0**-133, "F16": 2.0**-24}[dtype]
    assert decoded.tolist() == [*values, smallest, 0]
    assert np.signbit(decoded[-1])


def test_a_header_in_another_order_than_the_data(tmp_path, target, model):
    data = model.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    turned = json.dumps(dict(reversed(header.items()))).encode().ljust(length)
    assert len(turned) == length
    source = tmp_path / "turned.safetensors"
    source.write_bytes(data[:8] + turned + data[8 + length :])
    prune_checkpoint(source, target, 2, 4)
    prune_checkpoint(model, tmp_path / "straight.safetensors", 2, 4)
    straight = (tmp_path / "straight.safetensors").read_bytes()
    assert target.read_bytes()[8 + length :] == straight[8 + length :]


def test_signed_zeros_and_zeros_are_kept_as_they_are(tmp_path, target):
    weights = np.where(RNG.random((16, 16)) < 0.7, -0.0, RNG.standard_normal((16, 16)))
    source = write_raw(
        tmp_path / "in.safetensors", {"a.weight": ("F64", weights.shape, weights.tobytes())}
    )
    prune_checkpoint(source, target, 4, 8)
    new = read_layer(target, "a.weight")
    mask = nmflow.solve(weights, 4, 8)
    assert np.array_equal(new.view("u8"), np.where(mask, weights, 0.0).view("u8"))


def test_pruning_twice_changes_nothing(model, target, tmp_path):
    prune_checkpoint(model, target, 4, 8)
    again = tmp_path / "again.safetensors"
    prune_checkpoint(target, again, 4, 8)
    assert again.read_bytes() == target.read_bytes()


def test_comparisons_change_nothing_written(model, target, tmp_path):
    prune_checkpoint(model, target, 4, 8)
    other = tmp_path / "other.safetensors"
    report = prune_checkpoint(model, other, 4, 8, compare=False)
    assert other.read_bytes() == target.read_bytes()
    assert report.patterns == ("transposable",)


def test_in_place_keeps_mode_and_link(model, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(model)
    model.chmod(0o640)
    before = model.read_bytes()
    prune_checkpoint(link, link, 2, 4, overwrite=True)
    assert link.is_symlink()
    assert model.read_bytes() != before
    assert stat.S_IMODE(model.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_mode(model, target, tmp_path):
    prune_checkpoint(model, target, 2, 4)
    usual = tmp_path / "usual"
    usual.touch()
    assert target.stat().st_mode == usual.stat().st_mode


def test_memory_does_not_grow_with_the_number_of_layers(tmp_path, target):
    def peak(count):
        tensors = {f"l.{i}.weight": floats("F32", (512, 512)) for i in range(count)}
        source = write_raw(tmp_path / f"{count}.safetensors", tensors)
        tracemalloc.start()
        try:
            prune_checkpoint(source, target, 2, 4, overwrite=True, workers=1, compare=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # compiles
    assert peak(6) < peak(1) + (512 * 512 * 4)


def test_report(model, target):
    seen = []
    report = prune_checkpoint(model, target, 2, 4, progress=lambda *args: seen.append(args))
    assert [layer.name for layer in report.layers] == sorted(LAYERS, key=natural_key)
    assert report.layers[-1].name == "blocks.10.fc1.weight"
    assert report.patterns == ("unstructured", "rows", "transposable")
    for layer in report.layers:
        shares = [layer.share(name) for name in report.patterns]
        assert 1 > shares[0] > shares[1] > shares[2] > 0.5
        certificate = layer.certificate
        assert certificate.gap == 0
        assert certificate.full
        assert layer.kept["transposable"] == pytest.approx(certificate.value)
        weights = np.abs(read_layer(model, layer.name).astype(float))
        rows = nmflow.solve(weights, 2, 4, pattern="rows", axes=(0, 1))
        assert layer.kept["rows"] == pytest.approx(weights[rows].sum())
    assert report.gap == 0
    kept = sum(layer.kept["rows"] for layer in report.layers)
    assert report.share("rows") == pytest.approx(kept / sum(x.total for x in report.layers))
    assert len(report.skipped) + len(report.layers) == 12
    size = model.stat().st_size
    for verifying in (False, True):
        done = [entry[1] for entry in seen if (entry[0] == "verifying") == verifying]
        assert done == sorted(done)
        assert done[0] == 0
    assert done[-1] == size
    assert {entry[2] for entry in seen} == {size}
    starts = {tensor.name: tensor.start for tensor in open_model(model).tensors}
    assert [entry[:2] for entry in seen if entry[0] in LAYERS] == [
        (name, starts[name]) for name in LAYERS
    ]
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["verified"] is True


def test_a_layer_of_zeros_loses_nothing(tmp_path, target):
    source = write_raw(
        tmp_path / "in.safetensors",
        {"a.weight": ("F32", (8, 8), bytes(256)), "e.weight": ("F32", (0, 8), b"")},
    )
    report = prune_checkpoint(source, target, 2, 4, include=["*"])
    assert [layer.share("rows") for layer in report.layers] == [1]
    assert [one.reason for one in report.skipped] == ["no entries"]
    assert report.gap == 0
    assert target.read_bytes() == source.read_bytes()


def test_callers_who_have_numpy_raise_and_gaps_that_underflow(tmp_path):
    """Squares of the smaller weights underflow; the report is the same as it is without."""
    weights = 1e-160 * RNG.random((8, 8))
    weights[0, 0] = 1e140
    tensors = {"a.weight": ("F64", (8, 8), weights.tobytes())}
    model = write_raw(tmp_path / "model.safetensors", tensors)
    expected = prune_checkpoint(model, tmp_path / "a.safetensors", 2, 4, "greedy", score="square")
    with np.errstate(all="raise"):
        report = prune_checkpoint(model, tmp_path / "b.safetensors", 2, 4, "greedy", score="square")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert report.layers[0].kept == expected.layers[0].kept
    assert report.layers[0].certificate == expected.layers[0].certificate
    assert not report.layers[0].certificate.optimal
    assert report.gap == 5e-324


def test_layers_whose_totals_exceed_floats_together(tmp_path):
    weights = np.zeros((4, 4))
    weights[0, 0] = 1e308
    layer = ("F64", (4, 4), weights.tobytes())
    model = write_raw(tmp_path / "model.safetensors", {f"{k}.weight": layer for k in "abc"})
    report = prune_checkpoint(model, tmp_path / "a.safetensors", 2, 4, "greedy", compare=False)
    assert report.gap == 0
