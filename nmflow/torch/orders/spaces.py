"""Which axes of parameters follow one order: sets that are joined as a network is followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nmflow.torch.orders.order import Order, Use, make_order


class Space:
    """Channels that have one order wherever they appear.

    Parameters
    ----------
    name : str
        Of the layer that makes them.
    size : int
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._parent: Space | None = None
        self._uses: list[Use] = []
        self._reason: str | None = None

    @property
    def root(self) -> Space:
        """The space that this one was joined to."""
        return self if self._parent is None else self._parent.root

    def fix(self, reason: str) -> None:
        """Let the channels stay in their order."""
        root = self.root
        root._reason = root._reason or reason

    def join(self, other: Space, reason: str) -> None:
        """Let two have one order; neither changes if they are of different sizes."""
        first, second = self.root, other.root
        if first is second:
            return
        if first.size != second.size:
            first.fix(reason)
            second.fix(reason)
            return
        second._parent = first
        first._uses += second._uses
        first._reason = first._reason or second._reason

    def use(self, use: Use) -> None:
        """Let an axis follow."""
        self.root._uses.append(use)


class Spaces:
    """All spaces of a network; an axis of a parameter follows one alone, wherever it is used."""

    def __init__(self) -> None:
        self._all: list[Space] = []
        self._home: dict[tuple[int, int], Space] = {}

    def make(self, name: str, size: int) -> Space:
        """A new space."""
        space = Space(name, size)
        self._all.append(space)
        return space

    def use(self, space: Space, module: Any, tensor: str, axis: int) -> None:
        """Let an axis of a parameter or buffer follow a space."""
        use = Use(module, tensor, axis)
        if use.value is None:
            return
        key = (id(use.value), axis)
        if key in self._home:
            space.join(self._home[key], f"{space.name} shares weights with others")
        self._home[key] = space
        space.use(use)

    def fix_axis(self, value: Any, axis: int, reason: str) -> None:
        """Let an axis of a parameter stay in its order, for any space that it follows."""
        key = (id(value), axis)
        space = self._home.setdefault(key, self.make("a parameter", value.shape[axis]))
        space.fix(reason)

    def orders(self, kind: Any) -> Iterator[Order]:
        """Those that are free."""
        for space in self._roots():
            if space._reason is None and space._uses:
                yield make_order(space.name, kind, space.size, space._uses)

    def refused(self) -> dict[str, str]:
        """Why the others are not."""
        return {
            space.name: space._reason
            for space in self._roots()
            if space._reason is not None and space._uses
        }

    def _roots(self) -> Iterator[Space]:
        return (space for space in self._all if space.root is space)
