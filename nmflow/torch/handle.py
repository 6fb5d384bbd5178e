"""What :func:`sparsify` returns: refreshes masks, and freezes, bakes, removes, saves them."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Mapping
from typing import Any

from nmflow.errors import NmflowError
from nmflow.proof.certificate import Certificate
from nmflow.torch.masking import model_masks
from nmflow.torch.optimizers import OptimizerWatch
from nmflow.torch.solving.history import History
from nmflow.torch.solving.mask_set import MaskSet
from nmflow.torch.solving.statistics import RefreshStatistics
from nmflow.training.clock import Clock
from nmflow.training.policy import Refresh, as_refresh
from nmflow.training.report import Report
from nmflow.training.rules import SRSTE, StraightThrough


class Handle:
    """The masks of a model in training. Made by :func:`nmflow.torch.sparsify`.

    Attributes
    ----------
    history : list of RefreshStatistics
        The last hundred refreshes by this handle.
    frozen : bool
        Whether masks stay as they are.

    Notes
    -----
    ``copy.deepcopy`` of a handle, or of an object that holds the model and its handle, copies
    both: the copy's handle is that of the copied model. PyTorch doesn't pickle parametrized
    modules: save ``model.state_dict()`` and ``handle.state_dict()``.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> model = torch.nn.Linear(64, 64)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> handle = nmflow.torch.sparsify(model, 4, 8, refresh=2)
    >>> for _ in range(4):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(8, 64)).square().sum().backward()
    ...     optimizer.step()
    ...     refreshed = handle.step()
    >>> [each.step for each in handle.history]
    [0, 2, 4]
    >>> handle.bake()
    """

    def __init__(
        self, masks: MaskSet, report: Report, rule: StraightThrough, refresh: Refresh | None
    ) -> None:
        self._masks = masks
        self._layers = masks.layers
        self._report = report
        self._clock = Clock(refresh or Refresh())
        # Without a policy masks are frozen as soon as all are solved.
        self._fixed = refresh is None
        self._watch = OptimizerWatch(rule.decay if isinstance(rule, SRSTE) else 0.0)
        self._watch.begin(masks.parametrizations())
        self._gone = ""
        self.history = History()
        self.frozen = False

    @property
    def report(self) -> Report:
        """A line for each weight of the model: sparsified, waiting for a mask, or skipped."""
        return self._report if self._gone else self._report.with_statuses(self._masks.statuses())

    def begin(self) -> None:
        """Solve what has no mask yet; freeze where masks are to be found once."""
        self._solve(unsolved_alone=True)

    def step(self) -> RefreshStatistics | None:
        """Count an optimizer step, and refresh the masks when they are due.

        Call it once after each ``optimizer.step()``; with gradient accumulation that is once for
        each accumulated batch. Masks of weights that came to have values since the last step, as
        on the way from the meta device, are solved at once.

        With ``nmflow[cuda]`` it does not wait for a GPU: masks change when the current stream
        gets there, unless a weight is not finite, which the next look at the statistics, call of
        the handle, or step that knows it by then raises.

        Returns
        -------
        RefreshStatistics or None
            None where nothing was solved.

        Raises
        ------
        NmflowError
            As :meth:`refresh`.
        """
        self._check_here(wait=False)
        if self.frozen:
            return None
        self._watch.answered()
        due = self._clock.tick() and not self._fixed
        if due:
            statistics = self._solve(wait=False)
            if self._clock.over and not self._masks.unsolved:
                self.freeze()
            return statistics
        return self._solve(unsolved_alone=True) if self._masks.waits else None

    def refresh(self) -> RefreshStatistics:
        """Solve all masks for the weights as they are now.

        Returns
        -------
        RefreshStatistics
            Also the last of ``history``. Weights on the meta device are not in it, and keep the
            masks that they have; so do weights that a policy leaves dense so far.

        Raises
        ------
        NmflowError
            If weights are NaN or infinite, naming them and the index; all masks stay as they
            were. If masks are frozen, or there is nothing to solve.

        Notes
        -----
        Takes little more than the solves, a thread or, by ``nmflow[cuda]``, a few launches of
        all. Sharded weights every process must ask for, one gathered at a time.
        """
        self._check_here()
        if self.frozen:
            raise NmflowError("masks are frozen: unfreeze() them to go on changing them")
        statistics = self._solve()
        if statistics is None:
            raise NmflowError(
                "nothing to solve: all weights are on the meta device, or the policy leaves them"
                " dense so far"
            )
        return statistics

    def _solve(self, unsolved_alone: bool = False, wait: bool = True) -> RefreshStatistics | None:
        began, step = time.perf_counter(), self._clock.step
        kept = functools.partial(self._clock.policy.kept, step)
        layers = self._masks.solve(kept, step, unsolved_alone, wait)
        # Modules may have been exchanged, and their parametrizations with them.
        self._watch.begin(self._masks.parametrizations())
        statistics = self.history.note(step, layers, began)
        if not unsolved_alone:
            # A look waits for a GPU: where no policy asks, there is none.
            asked = self._clock.policy.flip_rate is not None
            self._clock.refreshed(statistics.flip_rate if statistics and asked else 1.0)
        if self._fixed and not self._masks.unsolved:
            self.freeze()
        return statistics

    def freeze(self) -> None:
        """Keep the masks as they are; pruned entries learn no more, and :meth:`step` does nothing.

        Raises
        ------
        NmflowError
            If a mask was never solved, naming its weight.
        """
        self._check_here()
        if unsolved := self._masks.unsolved:
            raise NmflowError(
                "these masks were never solved and can't be frozen; call refresh() once their"
                f" weights have values: {', '.join(layer.name for layer in unsolved)}"
            )
        self._let_pruned_learn(False)
        self._watch.end()
        self.frozen = True

    def unfreeze(self, refresh: int | Refresh | None = None) -> None:
        """Let the masks follow the weights again; the next :meth:`step` solves them.

        Parameters
        ----------
        refresh : int or Refresh, optional
            A new policy, its steps counted from the beginning; by default the old one, endless.
        """
        self._check_here()
        self._clock.resume(None if refresh is None else as_refresh(refresh))
        self._thaw()
        self._fixed = False

    def _thaw(self) -> None:
        self._let_pruned_learn(True)
        self._watch.begin(self._masks.parametrizations())
        self.frozen = False

    def _let_pruned_learn(self, whether: bool) -> None:
        for layer in self._layers:
            layer.masked.straight_through = whether

    def bake(self) -> None:
        """Write the masked weights into the model's parameters and take the masks off.

        The model computes what it did, pruned entries are 0 in the parameters, and nothing of
        nmflow is left in it. Parameters stay the same objects, so optimizers stay valid. Masks
        are looked for in the model as it is now, with the modules exchanged since.

        Raises
        ------
        NmflowError
            If a mask was never solved or is not n:m when every group of it is counted, weights
            are sharded, or the masks are gone already. The model stays as it was.
        """
        self._check_here()
        model_masks.bake_places(self._masks.look())
        self._watch.end()
        self._gone = "baked"

    def remove(self) -> None:
        """Take the masks off and leave the dense weights as they are.

        Raises
        ------
        NmflowError
            If weights are sharded, or the masks are gone already.
        """
        self._check_here()
        model_masks.remove_places(self._masks.look())
        self._watch.end()
        self._gone = "removed"

    def sparse_state_dict(self) -> dict[str, Any]:
        """:func:`nmflow.torch.sparse_state_dict` of the model."""
        self._check_here()
        return model_masks.sparse_state_dict(self._masks.model)

    def certify(self) -> dict[str, Certificate]:
        """Certificates for the weights as they are: between refreshes a gap opens.

        Returns
        -------
        dict of str to Certificate
            By the names of the weights whose masks are solved.
        """
        self._check_here()
        return self._masks.certify()

    def kept_shares(self) -> dict[str, float]:
        """What share of its weight's score each solved mask keeps."""
        self._check_here()
        return self._masks.kept_shares()

    def state_dict(self) -> dict[str, Any]:
        """All that refreshes go on from; the masks are in the model's ``state_dict()``."""
        self.history.settle()
        clock = self._clock.state_dict()
        own = {"clock": clock, "fixed": self._fixed, "frozen": self.frozen}
        return own | self._masks.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, after the model has loaded its own.

        Raises
        ------
        NmflowError
            If the state is that of another model or pattern; the handle stays as it was.
        """
        self._check_here()
        clock = copy.copy(self._clock)
        clock.load_state_dict(state.get("clock", clock.state_dict()))
        self._masks.load_state_dict(state)
        self._clock = clock
        if state["frozen"]:
            self.freeze()
        elif self.frozen:
            self._thaw()
        self._fixed = bool(state["fixed"])

    def _check_here(self, wait: bool = True) -> None:
        if self._gone:
            raise NmflowError(f"the masks were {self._gone}: sparsify the model for new ones")
        self.history.settle(wait)

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        self.history.settle()
        new = Handle.__new__(Handle)
        memo[id(self)] = new
        # The masks first, which begin with the model: what it holds is then known to all others.
        vars(new).update({name: copy.deepcopy(part, memo) for name, part in vars(self).items()})
        if not (self.frozen or self._gone):
            new._watch.begin(new._masks.parametrizations())
        return new

    def __reduce__(self) -> Any:
        raise NmflowError(
            "a handle belongs to its model, whose parametrized modules PyTorch does not pickle:"
            " save model.state_dict() and handle.state_dict(), or bake() the masks first"
        )

    def __repr__(self) -> str:
        return f"<nmflow.torch.Handle: {self._masks}, step {self._clock.step}>"
