"""A tracked mask that is where its weights are, of whatever framework; imports none itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nmflow.device.dlpack import borrowed
from nmflow.errors import NmflowError
from nmflow.problem.arrays import on_accelerator
from nmflow.problem.batch import MatrixBatch, matrix_shape
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName
from nmflow.solvers.flow.tracked_batch import TrackedBatch

if TYPE_CHECKING:
    from nmflow.device.tracked import TrackedThere


class PlacedBatch:
    """The mask of weights that are solved again and again, in host memory or on their device.

    Parameters
    ----------
    pattern : Pattern
    shape : tuple of int
        Of the weights.
    axes : two int
        None negative.
    score : {"abs", "square", "raw"}
    threads : int
    """

    def __init__(
        self,
        pattern: Pattern,
        shape: tuple[int, ...],
        axes: tuple[int, int],
        score: ScoreName,
        threads: int,
    ) -> None:
        self._shape, self._axes, self._score = shape, axes, score
        self._threads = threads
        self._host = TrackedBatch(pattern, matrix_shape(shape, axes))
        self._there: TrackedThere | None = None

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return self._host.tiles

    @property
    def nbytes(self) -> int:
        """Bytes held, those on a device among them."""
        return self._host.nbytes + (0 if self._there is None else self._there.nbytes)

    def update(self, weights: Any) -> tuple[tuple[int, int], Callable[[], Any]]:
        """Bring the mask up to date where the weights are, or raise and leave it as it was.

        Returns
        -------
        (int, int)
            Entries that changed, and tiles proved at once.
        function
            What makes a mask of the weights' framework, shape and device, until the next update.
        """
        weights, back = borrowed(weights)
        # What is JAX's has no potentials there to start from.
        if on_accelerator(weights) == "torch" and tuple(weights.shape) == self._shape:
            found = self._on_device().update(weights, self._axes, self._score)
            if found is not None:
                return found[0], lambda: back(found[1]())
        batch = MatrixBatch.of(weights, self._host.pattern, self._axes, self._score)
        if batch.host.values.shape != self._shape:
            raise NmflowError(
                f"this tracker was made for weights of shape {self._shape}, got"
                f" {batch.host.values.shape}: make one tracker for each weight"
            )
        if self._there is not None:
            self._there.hand_over()
        changes = self._host.update(batch, self._threads)
        return changes, lambda: back(batch.host.restore(np.array(self.mask, order="C")))

    def _on_device(self) -> TrackedThere:
        if self._there is None:
            from nmflow.device.tracked import TrackedThere

            self._there = TrackedThere(self._host)
        return self._there

    def _at_home(self) -> TrackedBatch:
        """The batch in host memory, with the mask as it stands."""
        if self._there is not None:
            self._there.bring_home()
        return self._host

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask as it stands, in host memory and the shape of the weights."""
        batch = tuple(s for axis, s in enumerate(self._shape) if axis not in self._axes)
        matrix = tuple(self._shape[axis] for axis in self._axes)
        return np.moveaxis(self._at_home().mask.reshape(batch + matrix), (-2, -1), self._axes)

    def prices(self) -> Prices:
        """What the last update found in host memory; NaN for tiles that it did not."""
        return self._at_home().prices()

    def state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays from which :meth:`restore` goes on."""
        return self._at_home().state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from saved arrays."""
        if self._there is not None:
            self._there.hand_over()
        self._host.restore(state)
