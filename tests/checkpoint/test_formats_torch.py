"""Files of torch.save, read without PyTorch: every number where it is, nothing run."""

import contextlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import nmflow
from nmflow.checkpoint import choose_layers, decode, open_model

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("zipped", [True, False])


def save(value, path, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def training_state():
    """A checkpoint as training scripts write them, with all that is odd about tensors."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    shared = torch.randn(16, 8, dtype=torch.bfloat16)
    return {
        "state_dict": {
            **{f"conv.{name}": part for name, part in conv.state_dict().items()},
            "fc1.weight": torch.randn(24, 16).half(),
            "fc2.weight": torch.nn.Parameter(torch.randn(16, 24).t()),
            "enc.weight": shared,
            "dec.weight": shared,
            "part.weight": torch.randn(32, 32)[:16, :16],
            "wide.weight": torch.randn(1, 16).expand(16, 16),
            "none.weight": torch.zeros(0, 8),
            "steps": torch.tensor(3),
        },
        "optimizer": {"state": {0: {"exp_avg": torch.randn(24, 16)}}, "lr": [0.1, (0.9, 0.99)]},
        "epoch": 3,
        "shape": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "seen": {1, 2},
        "bytes": b"\0\1",
        "sparse": torch.eye(3).to_sparse(),
    }


def flat(value, prefix=""):
    if isinstance(value, torch.Tensor):
        return {prefix: value} if value.layout is torch.strided else {}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = {}
    for key, part in pairs:
        if isinstance(part, torch.Tensor | dict | list):
            found |= flat(part, f"{prefix}.{key}".lstrip("."))
    return found


@BOTH
def test_every_tensor_is_found_with_its_numbers(tmp_path, zipped):
    state = training_state()
    model = open_model(save(state, tmp_path / "a.pth", zipped))
    assert model.kind == "torch"
    expected, found = flat(state), {tensor.name: tensor for tensor in model.tensors}
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert tensor.shape == tuple(expected[name].shape)
        if not tensor.obstacle:
            numbers = decode(model.read_bits(tensor), tensor.dtype)
            assert np.array_equal(numbers, expected[name].detach().to(torch.float64)), name
    assert {name: tensor.obstacle for name, tensor in found.items() if tensor.obstacle} == {
        "state_dict.part.weight": "a part of a larger tensor, not in one piece",
        "state_dict.wide.weight": "a part of a larger tensor, not in one piece",
        "state_dict.steps": "dtype I64",
    }
    starts = [(tensor.start, tensor.stop) for tensor in model.tensors]
    assert starts == sorted(starts)


@BOTH
def test_layers_are_chosen_by_the_names_within_the_network(tmp_path, zipped):
    state = {"state_dict": {"fc.weight": torch.randn(16, 16), "a.weight": torch.randn(16, 16)}}
    chosen = choose_layers(open_model(save(state, tmp_path / "a.pth", zipped)).tensors, 8)
    assert [layer.name for layer in chosen.layers] == ["state_dict.a.weight"]
    # A head, because it is at the top of the network, not of the file.
    assert [(s.name, s.reason) for s in chosen.skipped] == [("state_dict.fc.weight", "head")]


@BOTH
def test_tensors_that_are_one(tmp_path, zipped):
    one, head, odd = (torch.randn(16, 16) for _ in range(3))
    state = {
        **{"a.weight": one, "b.weight": one, "c.weight": head, "lm_head.weight": head},
        **{"d.weight": odd, "e.weight": odd.t()},
    }
    tensors = open_model(save(state, tmp_path / "a.pth", zipped)).tensors
    chosen = choose_layers(tensors, 8)
    assert [layer.name for layer in chosen.layers] == ["a.weight"]
    assert {skipped.name: skipped.reason for skipped in chosen.skipped} == {
        "b.weight": "one with 'a.weight', pruned under that name",
        "c.weight": "one with 'lm_head.weight': head",
        "lm_head.weight": "head",
        "d.weight": "shares bytes with 'e.weight'",
        "e.weight": "shares bytes with 'd.weight'",
    }
    chosen = choose_layers(tensors, 8, include=["lm_head.weight"])
    assert [layer.name for layer in chosen.layers] == ["lm_head.weight"]


def test_reading_needs_no_torch(tmp_path):
    path = save(training_state(), tmp_path / "a.pth")
    code = (
        "import sys; from nmflow.checkpoint import open_model; "
        f"print(len(open_model({str(path)!r}).tensors), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(flat(training_state()))), "False"]


def test_checksums_stand_where_the_model_says(tmp_path):
    path = save(training_state(), tmp_path / "a.pth")
    data = path.read_bytes()
    (shard,) = open_model(path).shards
    with zipfile.ZipFile(path) as archive:
        sums = {info.CRC for info in archive.infolist()}
    for seal in shard.seals:
        assert len(seal.places) == 2
        written = {int.from_bytes(data[place : place + 4], "little") for place in seal.places}
        assert written == {zipfile.crc32(data[seal.start : seal.stop])} <= sums


class Bomb:
    def __reduce__(self):
        return (print, ("BOOM",))


@BOTH
def test_a_pickle_bomb_is_refused_and_not_run(tmp_path, capsys, zipped):
    path = save({"a.weight": torch.ones(8, 8), "b": Bomb()}, tmp_path / "a.pth", zipped)
    with pytest.raises(nmflow.NmflowError, match=r"names __builtin__\.print, which can run"):
        open_model(path)
    assert "BOOM" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x02cos\nsystem\nX\x01\0\0\0a\x85R.",
        b"\x80\x02(S'a'\ni__main__\nx\n.",
        b"\x80\x02" + b"(" * 5000,
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02]q\0" + b"h\0\x86q\0" * 60 + b".",
        b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f1.",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80",
        pickle.dumps({"a": np.float64(3)}, 2),
    ],
)
@BOTH
def test_hostile_pickles(tmp_path, body, zipped):
    path = save({"a.weight": torch.ones(8, 8)}, tmp_path / "a.pth", zipped)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", body)
    else:
        path.write_bytes(body)
    with contextlib.suppress(nmflow.NmflowError):
        assert open_model(path).tensors == ()


def test_other_zip_archives(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(nmflow.NmflowError, match=r"a zip archive, but has no data\.pkl"):
        open_model(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"x" * 1000)
    with pytest.raises(nmflow.NmflowError, match="compressed"):
        open_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"a/{name}", b"x")
    with pytest.raises(nmflow.NmflowError, match="TorchScript"):
        open_model(path)


@BOTH
def test_every_truncation_is_refused(tmp_path, zipped):
    path = save({"a.weight": torch.randn(8, 8), "b": [1, "x"]}, tmp_path / "a.pth", zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(nmflow.NmflowError):
            open_model(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(1, (8, 8), (8, 1)), (0, (9, 8), (8, 1)), (0, (8, 8), (9, 1)), (1 << 62, (8, 8), (8, 1))],
)
def test_a_tensor_that_reaches_beyond_its_storage(tmp_path, offset, size, stride):
    class Beyond:
        def __init__(self, storage):
            self.storage = storage

        def __reduce__(self):
            arguments = (self.storage, offset, size, stride, False, None)
            return torch._utils._rebuild_tensor_v2, arguments

    storage = torch.ones(64).untyped_storage()
    typed = torch.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    value = {"a.weight": Beyond(typed)}
    path = save(value, tmp_path / "a.pth")
    with pytest.raises(nmflow.NmflowError, match=r"'a\.weight' reaches beyond its storage"):
        open_model(path)
