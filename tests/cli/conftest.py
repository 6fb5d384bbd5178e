"""Running the command line on a small model."""

import numpy as np
import pytest

from nmflow import cli


@pytest.fixture
def model(tmp_path):
    """A file with three layers to prune."""
    pytest.importorskip("rich")
    save_file = pytest.importorskip("safetensors.numpy").save_file
    rng = np.random.default_rng(0)
    path = tmp_path / "in.safetensors"
    tensors = {
        "encoder.layer.0.query.weight": rng.standard_normal((16, 24)),
        "encoder.layer.1.query.weight": rng.standard_normal((16, 24)).astype(np.float32),
        "encoder.layer.1.conv.weight": rng.standard_normal((9, 11, 3, 3)).astype(np.float16),
        "encoder.layer.0.query.bias": rng.standard_normal(16),
        "encoder.layer.1.query.bias": rng.standard_normal(16),
        "embed_tokens.weight": rng.standard_normal((32, 16)),
        "lm_head.weight": rng.standard_normal((32, 16)),
        "ids": np.arange(4),
    }
    save_file(tensors, path, metadata={"format": "np"})
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.safetensors"


@pytest.fixture
def prune(model, target, capsys, monkeypatch):
    """Run ``nmflow prune`` at 4:8; return exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*options, source=model, to=target, n=4, m=8):
        code = cli.main(["prune", *map(str, (source, to, "-n", n, "-m", m, *options))])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def untouched(tmp_path, model):
    """Return a check that the directory holds what it held, byte for byte."""

    def contents():
        return {
            path.name: path.read_bytes() if path.is_file() else None for path in tmp_path.iterdir()
        }

    before = contents()
    return lambda: contents() == before
