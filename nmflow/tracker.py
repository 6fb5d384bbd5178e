"""Masks of weights that change little from one solve to the next."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from nmflow.device.placed import PlacedBatch
from nmflow.errors import NmflowError
from nmflow.problem.arrays import writable_mask
from nmflow.problem.batch import normalise_axes
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName, check_score
from nmflow.problem.workers import thread_count
from nmflow.solve import Detachable

# Entries that are compared at a time.
_BLOCK = 1 << 20

Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Update:
    """What :meth:`Tracker.update` did.

    Attributes
    ----------
    flipped : int
        Entries of the mask that changed; on the first update, entries kept.
    tiles : int
    at_once : int
        Tiles whose mask the potentials of the last update proved, or found and proved in a few
        steps.
    repaired : int
        All others: solved from finer and finer potentials, or anew.
    seconds : float
    """

    flipped: int
    tiles: int
    at_once: int
    repaired: int
    seconds: float


class Tracker:
    """The exact transposable mask of weights that are solved again and again, as in training.

    Each update starts from the dual potentials of the one before. The mask is always exactly
    that of :func:`nmflow.solve` with ``method="flow"``, whatever the weights were before.

    Parameters
    ----------
    shape : tuple of int
        Of the weights, at least two dimensions.
    n, m : int
        Keep n of every m.
    axes, score, workers
        As for :func:`nmflow.solve`.

    Attributes
    ----------
    mask : ndarray of bool
        A copy of the last update's mask in host memory, read-only; all False before the first.
    nbytes : int
        Memory held, the mask's byte an entry included: 1, 2.2, 1.7 and 1.4 bytes an entry at
        2:4, 4:8, 8:16 and 16:32. On a device 1, 1.6, 1.3 and 1.1 more, once weights were there.

    Notes
    -----
    What is kept is a float32 for each row and column of each full tile of up to 32 x 32, in the
    weights' units, so that their dtype and scale may change. Where every kept score still exceeds
    the sum of its row's and its column's number, and no pruned one does, the mask is still the
    only optimal one: that costs a comparison for each weight. All other tiles are solved, from
    these numbers. Where nearly all weights changed by a hundredth or more, an update may take
    longer than a solve from nothing. Partial tiles, tiles of other sizes than 8, 16 and 32, and
    integers are solved anew each time: at m = 4 nothing that could be remembered is sooner read
    than a mask is found. Not for concurrent updates: a lock makes one wait for the other. A
    tracker never writes to an array that it returned, nor looks at it again. It can be copied and
    pickled, and the copy goes on from the same proof.

    Of weights on a device that PyTorch reads nothing comes to the host but what an
    :class:`Update` tells: the mask stays there, and so do the potentials of CUDA kernels
    (``nmflow[cuda]``; without them tensor operations solve anew each time). ``mask``, ``out`` and
    what is saved are copied from there, without the potentials. JAX's arrays go through the host.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    >>> tracker = nmflow.Tracker(weights.shape, 4, 8)
    >>> mask, update = tracker.update(weights)
    >>> mask, update = tracker.update(weights)
    >>> update.flipped, update.tiles
    (0, 64)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n: int,
        m: int,
        *,
        axes: tuple[int, int] = (-2, -1),
        score: ScoreName = "abs",
        workers: int | None = None,
    ) -> None:
        check_score(score)
        self.pattern = Pattern(n, m, "transposable")
        self.shape = tuple(int(size) for size in shape)
        if len(self.shape) < 2:
            raise NmflowError(f"shape {self.shape}: need at least 2 dimensions; use (out, in)")
        self.axes = normalise_axes(axes, len(self.shape), lambda: f"weights of shape {self.shape}")
        self.score: ScoreName = score
        self._workers, threads = workers, thread_count(workers)
        self._tracked = PlacedBatch(self.pattern, self.shape, self.axes, score, threads)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return (
            f"Tracker(shape={self.shape}, n={self.pattern.n}, m={self.pattern.m},"
            f" axes={self.axes}, score={self.score!r}, workers={self._workers})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(
            type(self), axes=self.axes, score=self.score, workers=self._workers
        )
        return make, (self.shape, self.pattern.n, self.pattern.m), self.state_dict()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """A copy of the last update's mask, read-only."""
        with self._lock:
            mask = np.array(self._tracked.mask, order="C")
        mask.flags.writeable = False
        return mask

    @property
    def prices(self) -> Prices:
        """Prices that the last update found, for :func:`nmflow.certify` of its weights and mask.

        NaN, which leaves the search to it, for tiles that are solved anew each time, and for all of
        weights that were solved on a device.
        """
        with self._lock:
            return self._tracked.prices()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._tracked.nbytes

    @overload
    def update(self, weights: Detachable[Out], out: None = ...) -> tuple[Out, Update]: ...
    @overload
    def update(
        self, weights: NDArray[Any], out: None = ...
    ) -> tuple[NDArray[np.bool_], Update]: ...
    @overload
    def update(self, weights: Any, out: None = ...) -> tuple[Any, Update]: ...
    @overload
    def update(self, weights: Any, out: Out) -> tuple[Out, Update]: ...
    @standard_arithmetic
    def update(self, weights: Any, out: Any = None) -> tuple[Any, Update]:
        """The mask of the weights as they are now.

        Parameters
        ----------
        weights : array_like
            Of the tracker's shape; any framework and dtype that :func:`nmflow.solve` takes, not
            necessarily those of the last update.
        out : ndarray or torch.Tensor of bool, optional
            Of the weights' shape, in host memory and writable: receives the mask and is returned,
            which saves making an array.

        Returns
        -------
        mask : bool array
            ``out``, or a new array of the framework, shape and device of the weights.
        update : Update

        Raises
        ------
        NmflowError
            For another shape, NaN or infinite weights, or an ``out`` that can't hold the mask; the
            tracker stays as it was, and so does ``out``.
        """
        began = time.perf_counter()
        target = None if out is None else writable_mask(out, self.shape, "out")
        with self._lock:
            changes, new_mask = self._tracked.update(weights)
            if target is None:
                mask = new_mask()
            else:
                mask = out
                np.copyto(target, self._tracked.mask)
        return mask, self._report(changes, began)

    @standard_arithmetic
    def refresh(self, weights: Any) -> Update:
        """As :meth:`update`, without making an array: ``mask`` tells the mask when it is needed.

        Takes weights, raises, and returns an :class:`Update`, as that does.
        """
        began = time.perf_counter()
        with self._lock:
            changes, _ = self._tracked.update(weights)
        return self._report(changes, began)

    def write(self, out: Any) -> None:
        """Write the last update's mask into an array.

        Parameters
        ----------
        out : ndarray or torch.Tensor of bool
            Of the weights' shape, in host memory and writable.
        """
        target = writable_mask(out, self.shape, "out")
        with self._lock:
            np.copyto(target, self._tracked.mask)

    def differing(self, mask: Any) -> int:
        """In how many entries a mask differs from the last update's.

        Parameters
        ----------
        mask : ndarray or torch.Tensor of bool
            Of the weights' shape, in host memory and writable.
        """
        other = writable_mask(mask, self.shape, "mask")
        with self._lock:
            own = self._tracked.mask
            step = max(1, _BLOCK * len(own) // max(own.size, 1))
            starts = range(0, len(own), step)
            parts = ((own[i : i + step], other[i : i + step]) for i in starts)
            return sum(int(np.count_nonzero(a != b)) for a, b in parts)

    def _report(self, changes: tuple[int, int], began: float) -> Update:
        flipped, at_once = changes
        tiles = self._tracked.tiles
        return Update(flipped, tiles, at_once, tiles - at_once, time.perf_counter() - began)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that the next update starts from, as plain arrays, for a checkpoint."""
        with self._lock:
            return {"problem": self._problem()} | self._tracked.state()

    @standard_arithmetic
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, of a tracker made with the same arguments.

        Raises
        ------
        NmflowError
            Where it is that of another problem, or incomplete; the tracker stays as it was.
        """
        mine = self.state_dict()
        given = {name: np.asarray(part) for name, part in state.items()}
        kinds = [{(k, x.shape, x.dtype) for k, x in each.items()} for each in (mine, given)]
        wrong = sorted({name for name, *_ in kinds[0] ^ kinds[1]})
        if wrong or not np.array_equal(mine["problem"], given["problem"]):
            raise NmflowError(
                f"state of another tracker than one for weights of shape {self.shape},"
                f" {self.pattern}, axes {self.axes}, score {self.score!r}"
                f" (differs in {', '.join(wrong) or 'problem'}): make the tracker as the saved one"
            )
        with self._lock:
            self._tracked.restore(given)

    def _problem(self) -> NDArray[np.int64]:
        score = ("abs", "square", "raw").index(self.score)
        return np.array([*self.shape, *self.axes, self.pattern.n, self.pattern.m, score], np.int64)
