"""Safetensors files written and read by hand, and a model in one."""

import json

import numpy as np

from nmflow.checkpoint import decode, open_model

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
    model = open_model(path)
    tensor = next(t for t in model.tensors if t.name == name)
    return decode(model.read_bits(tensor), tensor.dtype)


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


LAYERS = ("blocks.10.fc1.weight", "blocks.2.fc1.weight", "blocks.2.conv.weight")
