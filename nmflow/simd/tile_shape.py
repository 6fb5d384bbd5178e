"""Numbers that a kernel is compiled for, carried by the type of an argument.

A kernel that unrolls by n and m must know both while it is compiled. ``TileShape(n, m)`` is an
ordinary value in Python; to the compiler each n:m is a type of its own, so that each is compiled,
and cached on disk, once, when it is first asked for.
"""

from __future__ import annotations

import functools
from typing import Any

from numba import types
from numba.core.pythonapi import NativeValue
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)

LANES = 32
"""Tiles of a batch, solved side by side: one a lane."""
ROW = 16
"""Entries of a matrix row that are read at once."""


class StaticShape(types.Type):
    """The type of a :class:`TileShape`."""

    def __init__(self, n: int, m: int) -> None:
        self.n, self.m = n, m
        super().__init__(name=f"StaticShape({n}:{m})")


class TileShape:
    """n and m, and what follows from them for reading tiles in strips of 16 columns.

    A strip is 16 columns of a row of tiles: four tiles of 4 x 4, or one of 16 x 16. Where m > 16 it
    is one tile, 32 columns, read in two halves. Where m does not divide 16 it is one tile as well.
    Tile t of the k-th strip of a batch lies in lane t * strips + k.

    Attributes
    ----------
    n, m : int
    tiles : int
        Tiles side by side in a strip: 16 / m where that is whole, else 1.
    halves : int
        Vectors of 16 entries that a strip is wide: 2 for m > 16.
    strips : int
        Strips that hold LANES tiles: those of a batch.
    line : int
        Lanes of a vector that holds a row or a column of a tile.
    any_n : TileShape
        The same without n, for what is compiled once for all n.
    """

    NUMBERS = ("halves", "line", "m", "n", "strips", "tiles")
    __slots__ = ("_numba_type_", *NUMBERS)

    def __init__(self, n: int, m: int) -> None:
        self.n, self.m = n, m
        self._numba_type_ = StaticShape(n, m)
        self.tiles = ROW // m if ROW % m == 0 else 1
        self.halves = -(-m // ROW)
        self.strips = LANES // self.tiles
        self.line = 8 if m <= 8 else self.halves * ROW

    @property
    def any_n(self) -> TileShape:
        """The same without n."""
        return tile_shape(0, self.m)


@functools.cache
def tile_shape(n: int, m: int) -> TileShape:
    """The one :class:`TileShape` of n and m."""
    return TileShape(n, m)


@register_model(StaticShape)
class _StaticShapeModel(models.OpaqueModel):  # type: ignore[misc]
    """Nothing at run time."""


@unbox(StaticShape)
def _unbox_static_shape(kind: Any, value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


# Constants by hand: an overload would be a function to type and compile for each.
@infer_getattr
class _StaticShapeAttributes(AttributeTemplate):  # type: ignore[misc]
    key = StaticShape

    def generic_resolve(self, value: StaticShape, attr: str) -> Any:
        if attr == "any_n":
            return StaticShape(0, value.m)
        return types.intp if attr in TileShape.NUMBERS else None


@lower_getattr_generic(StaticShape)
def _lower_attribute(context: Any, builder: Any, kind: StaticShape, value: Any, attr: str) -> Any:
    if attr == "any_n":
        return value
    number = getattr(tile_shape(kind.n, kind.m), attr)
    return context.get_constant(types.intp, number)
