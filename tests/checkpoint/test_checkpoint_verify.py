"""A written file is read again, and whatever is wrong with it found."""

import sys

import numpy as np
import pytest
from safetensors_files import BIT_DTYPES, LAYERS, write_raw

from nmflow import priced
from nmflow.checkpoint import (
    Layer,
    Patterns,
    VerificationError,
    open_model,
    prune_checkpoint,
    verify_checkpoint,
)
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern


def rewrite(path, name, change):
    """Change one tensor's bytes in place."""
    checkpoint = open_model(path)
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
            source = open_model(tmp_path / "in.safetensors")
            layers = [Layer(one, Layout()) for one in source.tensors]
            failures = verify_checkpoint(source, target, layers, Patterns(pattern), filled=True)
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
    source = open_model(model)
    layers = [Layer(t, Layout()) for t in source.tensors if t.name in LAYERS]
    pattern = Pattern(2, 4)
    assert verify_checkpoint(source, target, layers, Patterns(pattern), filled=True) == ()
    rewrite(target, name, change)
    failures = verify_checkpoint(source, target, layers, Patterns(pattern), filled=True)
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
            checkpoint = open_model(source)
            layers = [Layer(one, Layout()) for one in checkpoint.tensors]
            failures = verify_checkpoint(checkpoint, copy, layers, Patterns(pattern), filled=False)
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
    source = open_model(model)
    layers = [Layer(t, Layout()) for t in source.tensors if t.name in LAYERS]
    failures = verify_checkpoint(source, target, layers, Patterns(Pattern(2, 4)), filled=True)
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

    def careless(weights, pattern, **_):
        return solve(getattr(weights, "values", weights), pattern.n, pattern.m), None

    monkeypatch.setattr(priced, "solve_for_certificate", careless)
    with pytest.raises(VerificationError) as caught:
        prune_checkpoint(model, target, 2, 4)
    assert {f.tensor for f in caught.value.report.failures} == set(LAYERS)
    assert any(words in failure.problem for failure in caught.value.report.failures)
    assert all(name in str(caught.value) for name in LAYERS[:1])
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_file_written_wrongly_is_not_left(model, target, monkeypatch):
    """The certificates are right, and the bytes are not."""
    module = sys.modules["nmflow.checkpoint.writing.stream"]
    real = module.write
    count = 0

    def careless(file, data):
        nonlocal count
        count += 1
        # Of each layer, the lowest bit of its first byte.
        changed = isinstance(data, np.ndarray)
        real(file, bytes([data[0] | 1, *data[1:]]) if changed else data)

    monkeypatch.setattr(module, "write", careless)
    with pytest.raises(VerificationError, match="verification failed"):
        prune_checkpoint(model, target, 2, 4)
    assert count > len(LAYERS)
    assert [path.name for path in model.parent.iterdir()] == [model.name]
