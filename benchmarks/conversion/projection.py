"""What conversion of models of billions would take, from what single layers take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Model(NamedTuple):
    """A Llama-like model.

    Attributes
    ----------
    name : str
    layers, width, inner, keys : int
        Blocks; features of the residual stream, of the inner network, of keys and values.
    parameters : float
        In billions, embeddings and all.
    """

    name: str
    layers: int
    width: int
    inner: int
    keys: int
    parameters: float

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(outputs, features) of the matrices of a block."""
        width, inner, keys = self.width, self.inner, self.keys
        attention = [(width, width), (keys, width), (keys, width), (width, width)]
        return [*attention, (inner, width), (inner, width), (width, inner)]


MODELS = (
    Model("Llama 3.2 1B", 16, 2048, 8192, 512, 1.24),
    Model("Llama 3.1 8B", 32, 4096, 14336, 1024, 8.03),
)


def projected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hours of one core and gigabytes, for each model and way.

    Time grows with outputs x features^2, which all methods' products with H take, from the largest
    layer measured. Memory: weights in bfloat16, the dense values of one block, and for the stage
    with most features the moments in float64 (two for dense aims), their damped copies, and half as
    much again for what a method makes of them in float32.
    """
    largest = {(row["method"], row["reconstruction"]): row for row in rows}
    found = []
    for model in MODELS:
        work = model.layers * sum(out * features**2 for out, features in model.shapes)
        block = 2 * sum(out * features for out, features in model.shapes)
        moments = 8 * max(features for _, features in model.shapes) ** 2
        for row in largest.values():
            out, features = row["shape"]
            found.append(
                {
                    "model": model.name,
                    "method": row["method"],
                    "reconstruction": row["reconstruction"],
                    "hours": row["seconds"] * work / (out * features**2) / 3600,
                    "gigabytes": (2e9 * model.parameters + block + 6 * moments) / 1e9,
                }
            )
    return found
