"""The masks of one weight, each found from where the last left off where the method can.

A solve proposes: the masks of all weights change, or all are as they were. Where another copy of a
mask would be too large it is written at once, with a note of what to put back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nmflow.certify import certify
from nmflow.models import Layout
from nmflow.problem.arrays import on_accelerator
from nmflow.solve import solve
from nmflow.torch.solving.problem import Problem
from nmflow.tracker import Tracker

# Entries of a block: its mask stays in the cache until it is compared with the old one.
_BLOCK = 1 << 20
# In the state of a solver.
_ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new mask, in force once it is accepted; until then nobody may look at the old one.

    Attributes
    ----------
    flipped : int
        Entries that change.
    accept : callable
        Put the mask in force.
    reject : callable
        Leave it as it was.
    """

    flipped: int
    accept: Callable[[], None]
    reject: Callable[[], None]


class Solver:
    """Masks of a weight of one shape.

    Attributes
    ----------
    tracker : Tracker or None
    allowed : bool Tensor of the weight's shape, or None
        What may be kept, where that is not everything.
    potentials : int32 Tensor, or None
        What the last solve by kernels left on their device for the next one.
    """

    def __init__(self, problem: Problem, layout: Layout) -> None:
        self.problem = problem
        self.layout = layout
        self.tracker: Tracker | None = None
        self.allowed: Any = None
        self.potentials: Any = None
        # The mask that the tracker's last one was written to, and its version at that time.
        self._written: tuple[Any, int] | None = None

    def propose(self, values: Any, mask: Any, n: int) -> Proposal:
        """The best mask that keeps n of every m.

        Parameters
        ----------
        values : Tensor
            Whole, of the weight's shape, on any device: see :meth:`Problem.values`.
        mask : bool Tensor
            The mask in force, which the proposal changes in place.
        n : int
        """
        pattern = self.problem.pattern
        matrices, target = self.layout.matrices(values), self.layout.matrices(mask)
        if n == pattern.m:
            most = torch.ones_like(mask) if self.allowed is None else self.allowed.to(mask.device)
            flipped = int(torch.count_nonzero(mask != most))
            return Proposal(flipped, lambda: _copy(mask, most), _nothing)
        # What kernels can't do on an accelerator is solved anew there: a tracker would keep another
        # mask, and nothing to start from.
        if self.problem.tracked and not on_accelerator(matrices):
            return self._track(matrices, target, mask, n)
        if self.problem.whole or mask.device.type != "cpu":
            new = self._solve(matrices, n, ...).to(mask.device)
            flipped = int(torch.count_nonzero(new != target))
            return Proposal(flipped, lambda: _copy(target, new), _nothing)
        return self._solve_blocks(matrices, target, n)

    def _track(self, matrices: Any, target: Any, mask: Any, n: int) -> Proposal:
        tracker = self._tracker_of(tuple(matrices.shape), n)
        update = tracker.refresh(matrices)
        if self._written is not None and _unchanged(mask, *self._written):
            flipped = update.flipped
        else:
            flipped = tracker.differing(target.cpu())

        def accept() -> None:
            _copy(target, tracker)
            self._written = (mask, mask._version)

        return Proposal(flipped, accept, self._forget)

    def _forget(self) -> None:
        """The tracker has gone on, and the mask has not."""
        self._written = None

    def _solve_blocks(self, matrices: Any, target: Any, n: int) -> Proposal:
        """Solve and write block by block, with a note of each of what flipped there."""
        flipped = 0
        notes: list[tuple[tuple[slice, ...], NDArray[np.uint8]]] = []

        def reject() -> None:
            for box, note in notes:
                old = target[box].numpy()
                flips = np.unpackbits(note, count=old.size).reshape(old.shape)
                old ^= flips.view(np.bool_)

        try:
            for box in self._blocks(tuple(matrices.shape)):
                new, old = self._solve(matrices[box], n, box).numpy(), target[box].numpy()
                flips = new ^ old
                count = int(np.count_nonzero(flips))
                if count:
                    notes.append((box, np.packbits(flips)))
                    old[...] = new
                    flipped += count
        except BaseException:
            reject()
            raise
        return Proposal(flipped, _nothing, reject)

    def _blocks(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """Boxes of whole groups, cut across the rows."""
        axis = self._axes(len(shape))[0]
        m, rows = self.problem.pattern.m * self.problem.unit[0], shape[axis]
        entries = int(np.prod(shape)) // max(rows, 1)
        step = max(m, _BLOCK // max(entries, 1) // m * m)
        for start in range(0, rows, step):
            yield (*[slice(None)] * axis, slice(start, start + step))

    def _solve(self, matrices: Any, n: int, box: Any) -> Any:
        """The best mask of a box of the matrices."""
        problem = self.problem
        return solve(
            matrices,
            n,
            problem.pattern.m,
            problem.method,
            pattern=problem.pattern.name,
            axes=self._axes(matrices.ndim),
            score=problem.solver_score,
            # Weights are solved side by side, each in one thread.
            workers=1,
            **self._constraints(box),
        )

    def _constraints(self, box: Any) -> dict[str, Any]:
        """What masks have to obey, as :func:`solve` and :func:`certify` want it."""
        unit = {"unit": self.problem.unit}
        if self.allowed is None:
            return unit
        return unit | {"within": self.layout.matrices(self.allowed)[box], "at_most": True}

    def _axes(self, ndim: int) -> tuple[int, int]:
        """The axes (out, in) of matrices of so many dimensions."""
        return self.layout.matrix_axes(ndim - (self.layout.groups > 1))

    def batch_of(self, tensor: Any, view: bool = False) -> Any:
        """A tensor of the weight's shape as a batch of matrices (B, R, C).

        Raises
        ------
        RuntimeError
            If it has to be a ``view``, and the tensor lies so that there is none.
        """
        matrices = self.layout.matrices(tensor)
        moved = matrices.movedim(self._axes(matrices.ndim), (-2, -1))
        shape = (math.prod(moved.shape[:-2]), *moved.shape[-2:])
        return moved.view(shape) if view else moved.reshape(shape)

    def certify(self, values: Any, mask: Any, n: int) -> Any:
        """The certificate of any mask of theirs."""
        problem, matrices = self.problem, self.layout.matrices(values)
        # Prices of other values, or of another n, prove less, and nothing that is wrong.
        tracker = self.tracker
        return certify(
            matrices,
            self.layout.matrices(mask),
            n,
            problem.pattern.m,
            pattern=problem.pattern.name,
            axes=self._axes(matrices.ndim),
            score=problem.solver_score,
            prices=None if tracker is None else tracker.prices,
            **self._constraints(...),
        )

    def state_dict(self) -> dict[str, Any]:
        """The tracker's, as tensors, or what is allowed; empty without either."""
        if self.allowed is not None:
            return {_ALLOWED: self.allowed.cpu()}
        if self.tracker is None:
            return {}
        return {name: torch.from_numpy(part) for name, part in self.tracker.state_dict().items()}

    def loaded(self, mask: Any, n: int, state: Mapping[str, Any]) -> Solver:
        """A solver of such masks that goes on from :meth:`state_dict`."""
        solver = Solver(self.problem, self.layout)
        if _ALLOWED in state:
            solver.allowed = state[_ALLOWED].to(torch.bool)
        elif state:
            shape = tuple(self.layout.matrices(mask).shape)
            arrays = {name: part.cpu().numpy() for name, part in state.items()}
            solver._tracker_of(shape, n).load_state_dict(arrays)
        return solver

    def __getstate__(self) -> dict[str, Any]:
        # A copy's mask has a history of its own.
        return vars(self) | {"_written": None}

    def compile(self, dtype: Any, kept: set[int]) -> None:
        """Compile now what solves with these n will need."""
        m, (height, width) = self.problem.pattern.m, self.problem.unit
        side = max(m, 16) if self.problem.tracked else m
        for n in sorted(kept - {m}):
            solver = Solver(self.problem, Layout())
            tile = torch.zeros(side * height, 2 * side * width, dtype=dtype)
            mask = torch.ones_like(tile, dtype=torch.bool)
            for _ in range(2):
                solver.propose(tile, mask, n).accept()

    def _tracker_of(self, shape: tuple[int, ...], n: int) -> Tracker:
        if self.tracker is None or self.tracker.pattern.n != n:
            m, score = self.problem.pattern.m, self.problem.solver_score
            axes = self._axes(len(shape))
            self.tracker = Tracker(shape, n, m, axes=axes, score=score, workers=1)
            self._written = None
        return self.tracker


def _unchanged(mask: Any, written: Any, version: int) -> bool:
    """Whether a mask is still as it was written."""
    return mask is written and not mask.is_inference() and mask._version == version


@torch.no_grad()
def _copy(target: Any, source: Any) -> None:
    """Write a tensor's or a tracker's mask into a mask of a model."""
    if isinstance(source, Tracker) and target.device.type == "cpu":
        source.write(target)
    else:
        target.copy_(torch.tensor(source.mask) if isinstance(source, Tracker) else source)


def _nothing() -> None:
    """A mask that stays as it is needs nothing."""
