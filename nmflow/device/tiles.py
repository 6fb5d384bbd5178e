"""Open tiles: their scores in some window of bits, with a mask and potentials that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nmflow.device.numbers import Numbers
from nmflow.problem.tiling import Window

FAR = 1 << 60
"""A length that no path has; twice it still fits 64 bits."""


@dataclass(slots=True)
class Tiles:
    """T tiles of m x m, all full or all partial; partial ones are padded with what is barred.

    Attributes
    ----------
    index : int64 Tensor, shape (T,)
        Where the masks go.
    q : int64 Tensor, shape (T, m, m)
        Scores in the tiles' own units, rounded down.
    mask : bool Tensor, shape (T, m, m)
    u, v : int64 Tensors, shape (T, m)
        Potentials of rows and columns: q >= u + v where kept, <= where pruned.
    """

    index: Any
    q: Any
    mask: Any
    u: Any
    v: Any

    def take(self, tiles: Any) -> Tiles:
        """Some of them, copied."""
        return Tiles(*(getattr(self, name)[tiles] for name in self.__slots__))

    def put(self, tiles: Any, those: Tiles) -> None:
        """Write back what :meth:`take` took."""
        self.mask[tiles], self.u[tiles], self.v[tiles] = those.mask, those.u, those.v

    @property
    def reduced(self) -> Any:
        """Reduced costs q - u - v."""
        return self.q - self.u[:, :, None] - self.v[:, None, :]


def cut(matrices: Any, window: Window) -> Any:
    """The tiles of a window of matrices (B, R, C), shape (T, r, c)."""
    (b, i, j), (r, c) = window.grid, window.tile
    part = matrices[window.box].reshape(b, i, r, j, c)
    return part.permute(0, 1, 3, 2, 4).reshape(-1, r, c)


def paste(mask: Any, window: Window, tiles: Any) -> None:
    """Write masks of tiles to their place in a whole batch."""
    (b, i, j), (r, c) = window.grid, window.tile
    blocks = tiles.reshape(b, i, j, r, c).permute(0, 1, 3, 2, 4)
    mask[window.box] = blocks.reshape(b, i * r, j * c)


def pad(scores: Numbers, m: int) -> tuple[Numbers, Any]:
    """Partial tiles as m x m, and what must not be kept: the padding, and negative scores."""
    count, r, c = scores.mantissa.shape
    barred = torch.ones((count, m, m), dtype=torch.bool, device=scores.mantissa.device)
    barred[:, :r, :c] = scores.mantissa < 0
    mantissa = scores.mantissa.new_zeros((count, m, m))
    mantissa[:, :r, :c] = scores.mantissa.clamp(min=0)
    exponent = scores.exponent.new_zeros((count, m, m))
    exponent[:, :r, :c] = scores.exponent
    return Numbers(mantissa, exponent), barred
