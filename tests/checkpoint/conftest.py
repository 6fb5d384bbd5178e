"""A model in a file, and where its copy goes."""

import numpy as np
import pytest
from safetensors_files import RNG, floats, write_raw


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


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.safetensors"
