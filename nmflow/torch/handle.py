"""What :func:`sparsify` returns: refreshes masks, and freezes, bakes, removes, saves them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from nmflow.certificate import Certificate
from nmflow.errors import NmflowError
from nmflow.solve import run_all
from nmflow.torch.install import take_off
from nmflow.torch.layer import Layer
from nmflow.torch.optimizers import OptimizerWatch
from nmflow.torch.refresh import Clock, Refresh
from nmflow.torch.report import Report
from nmflow.torch.rules import SRSTE, StraightThrough
from nmflow.torch.statistics import LayerStatistics, RefreshStatistics

# Entries that are worth a thread of their own.
_THREAD_ENTRIES = 1 << 18
_STATE = {"problem", "clock", "kept", "frozen", "layers"}


class Handle:
    """The masks of a model in training. Made by :func:`nmflow.torch.sparsify`.

    Attributes
    ----------
    report : Report
        A line for each weight of the model: sparsified, or skipped and why.
    history : list of RefreshStatistics
        All refreshes by this handle so far.
    frozen : bool
        Whether masks stay as they are.

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
        self,
        layers: list[Layer],
        report: Report,
        rule: StraightThrough,
        refresh: Refresh,
        threads: int,
    ) -> None:
        self._layers = layers
        (self._pattern,) = report.patterns
        self._clock = Clock(refresh)
        self._kept = self._pattern.m
        self._threads = threads
        self._watch = OptimizerWatch(rule.decay if isinstance(rule, SRSTE) else 0.0)
        self._watch.begin(layer.parametrizations for layer in layers)
        self._gone = ""
        self.report = report
        self.history: list[RefreshStatistics] = []
        self.frozen = False

    def step(self) -> RefreshStatistics | None:
        """Count an optimizer step, and refresh the masks when they are due.

        Call it once after each ``optimizer.step()``; with gradient accumulation that is once for
        each accumulated batch.

        Returns
        -------
        RefreshStatistics or None
            None where no refresh was due.

        Raises
        ------
        NmflowError
            As :meth:`refresh`.
        """
        self._check_here()
        self._watch.answered()
        if self.frozen or not self._clock.tick():
            return None
        statistics = self.refresh()
        if self._clock.over:
            self.freeze()
        return statistics

    def refresh(self) -> RefreshStatistics:
        """Solve all masks for the weights as they are now.

        Returns
        -------
        RefreshStatistics
            Also the last of ``history``.

        Raises
        ------
        NmflowError
            If weights are NaN or infinite, naming the layers; all masks stay as they were. If
            masks are frozen.

        Notes
        -----
        Takes time linear in the entries where the method does, as ``flow`` on weights that move
        little. Weights of accelerators are copied to the host. Where weights are sharded, every
        process must call, gathers them and finds the same masks; with ``workers=1`` one layer is
        gathered at a time.
        """
        self._check_here()
        if self.frozen:
            raise NmflowError("masks are frozen: sparsify anew to go on changing them")
        began = time.perf_counter()
        n = self._clock.policy.kept(self._clock.step, self._pattern)
        solved = self._solve_all(n)
        with torch.no_grad():
            for layer, (mask, _) in zip(self._layers, solved, strict=True):
                layer.mask.copy_(mask)
        self._kept = n
        layers = {layer.name: each for layer, (_, each) in zip(self._layers, solved, strict=True)}
        seconds = time.perf_counter() - began
        statistics = RefreshStatistics(self._clock.step, n, self._pattern.m, layers, seconds)
        self._clock.refreshed(statistics.flip_rate)
        self.history.append(statistics)
        return statistics

    def _solve_all(self, n: int) -> list[tuple[Any, LayerStatistics]]:
        solved: dict[str, tuple[Any, LayerStatistics]] = {}
        failed: list[str] = []

        def work(item: tuple[Layer, Any]) -> None:
            layer, matrices = item
            try:
                solved[layer.name] = layer.solve(matrices, n)
            except NmflowError as error:
                failed.append(f"{layer.name}: {error}")

        weights = ((layer, self._matrices(layer)) for layer in self._layers)
        entries = sum(layer.masked.mask.numel() for layer in self._layers)
        run_all(work, weights, min(self._threads, 1 + entries // _THREAD_ENTRIES))
        if failed:
            raise NmflowError(
                f"no masks at step {self._clock.step}, all stay as they were;\n"
                + "\n".join(sorted(failed))
            )
        return [solved[layer.name] for layer in self._layers]

    def freeze(self) -> None:
        """Keep the masks as they are from now on, for fine-tuning under fixed masks.

        Pruned entries get no more gradient, nor SR-STE's term. :meth:`step` does nothing then.
        """
        self._check_here()
        for layer in self._layers:
            layer.masked.straight_through = False
        self._watch.end()
        self.frozen = True

    def bake(self) -> None:
        """Write the masked weights into the model's parameters and take the masks off.

        The model computes what it did, pruned entries are 0 in the parameters, and nothing of
        nmflow is left in it. Parameters stay the same objects, so optimizers stay valid.

        Raises
        ------
        NmflowError
            If weights are sharded, or the masks are gone already.
        """
        self._take_off("baked", write=True)

    def remove(self) -> None:
        """Take the masks off and leave the dense weights as they are.

        Raises
        ------
        NmflowError
            If weights are sharded, or the masks are gone already.
        """
        self._take_off("removed", write=False)

    def _take_off(self, gone: str, write: bool) -> None:
        self._check_here()
        places = [
            (module, tensor, layer.masked)
            for layer in self._layers
            for module, tensor in layer.places
        ]
        take_off(places, write)
        self._watch.end()
        self._gone = gone

    def certify(self) -> dict[str, Certificate]:
        """Certificates of the masks as they are for the weights as they are.

        Between refreshes weights move away from their masks, and a gap opens.

        Returns
        -------
        dict of str to Certificate
            By the names of the weights.
        """
        self._check_here()
        return {
            layer.name: layer.solver.certify(self._matrices(layer), layer.mask, self._kept)
            for layer in self._layers
        }

    @staticmethod
    def _matrices(layer: Layer) -> Any:
        return layer.matrices(layer.parametrizations.original)

    def state_dict(self) -> dict[str, Any]:
        """All that refreshes go on from, as tensors and plain numbers, for a checkpoint.

        The masks themselves are buffers in the model's ``state_dict()``.
        """
        return {
            "problem": str(self._layers[0].solver.problem),
            "clock": self._clock.state_dict(),
            "kept": self._kept,
            "frozen": self.frozen,
            "layers": {layer.name: layer.solver.state_dict() for layer in self._layers},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, after the model has loaded its own.

        Raises
        ------
        NmflowError
            If the state is that of another model or pattern; the handle stays as it was.
        """
        self._check_here()
        lacking = sorted(_STATE - state.keys())
        if lacking:
            raise NmflowError(f"this is no state of a handle: it lacks {', '.join(lacking)}")
        problem, names = self._layers[0].solver.problem, {layer.name for layer in self._layers}
        saved = set(state["layers"])
        if state["problem"] != str(problem) or saved != names:
            raise NmflowError(
                f"the state is one of {state['problem']}, this handle of {problem}; layers that"
                f" one of the two lacks: {sorted(saved ^ names) or 'none'}. Sparsify the model as"
                " the saved one was"
            )
        solvers = [
            layer.solver.loaded(tuple(layer.mask.shape), state["kept"], state["layers"][layer.name])
            for layer in self._layers
        ]
        for layer, solver in zip(self._layers, solvers, strict=True):
            layer.solver = solver
        self._clock.load_state_dict(state["clock"])
        self._kept = int(state["kept"])
        if state["frozen"]:
            self.freeze()

    def _check_here(self) -> None:
        if self._gone:
            raise NmflowError(f"the masks were {self._gone}: sparsify the model for new ones")

    def __repr__(self) -> str:
        count = len(self._layers)
        return f"<nmflow.torch.Handle: {self._pattern}, {count} weights, step {self._clock.step}>"
