"""Safetensors files that are not what they say."""

import json

import pytest
from safetensors_files import floats, write_raw

import nmflow
from nmflow.checkpoint import open_model

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def write(path, header, body=16):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(body))
    return path


def refused(path):
    with pytest.raises(nmflow.NmflowError) as caught:
        open_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": GOOD}, 15),
        ({"a": GOOD}, 17),
        ({"a": GOOD, "b": GOOD}, 16),
        ({"a": GOOD, "b": GOOD | {"data_offsets": [8, 24]}}, 24),
        ({"a": GOOD, "b": GOOD | {"data_offsets": [17, 33]}}, 33),
        ({"a": GOOD | {"data_offsets": [16, 0]}}, 16),
        ({"a": GOOD | {"data_offsets": [-16, 0]}}, 16),
        ({"a": GOOD | {"data_offsets": [0]}}, 16),
        ({"a": GOOD | {"dtype": "F33"}}, 16),
        ({"a": GOOD | {"dtype": "F16"}}, 16),
        ({"a": GOOD | {"shape": [2, 3]}}, 16),
        ({"a": GOOD | {"shape": [-2, -2]}}, 16),
        ({"a": GOOD | {"shape": [1 << 63, 1 << 63]}}, 16),
        ({"a": GOOD | {"shape": [1 << 40, 1 << 40], "data_offsets": [0, 1 << 62]}}, 16),
        ({"a": GOOD | {"shape": "22"}}, 16),
        ({"a": {"dtype": "F32", "shape": [2, 2]}}, 16),
        ({"a": 3}, 16),
        ([1, 2], 16),
        (b"{" * 1000, 16),
        (b'{"a": ', 16),
        (b"\xff\xfe", 16),
        (b"1" * 5000, 16),
        (b'{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},' * 2, 16),
    ],
)
def test_headers_that_contradict_the_file(tmp_path, header, body):
    assert "no valid safetensors file" in refused(write(tmp_path / "a.safetensors", header, body))


def test_a_name_that_is_there_twice(tmp_path):
    one = json.dumps(GOOD)
    header = f'{{"a": {one}, "a": {one}}}'.encode()
    assert "no valid safetensors file" in refused(write(tmp_path / "a.safetensors", header))


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_absurd_header_lengths(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + bytes(20))
    assert "no valid safetensors file" in refused(path)


def test_every_truncation_is_refused(tmp_path):
    path = write_raw(tmp_path / "a.safetensors", {"a.weight": floats("F32", (4, 4))})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "no valid safetensors file" in refused(path)


@pytest.mark.parametrize("content", [b"", b"hello, world", b"{}", b"\x80", b"PK\x03\x04"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.bin", "a.pth", "a"])
def test_files_of_other_kinds(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    assert "no valid safetensors file" in refused(path) or "no file of PyTorch" in refused(path)


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    path = write_raw(tmp_path / "weights.bin", {"a.weight": floats("F32", (4, 4))})
    assert open_model(path).kind == "safetensors"
