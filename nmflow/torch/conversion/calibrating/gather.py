"""What the weights of a stage see, from runs of a model or of one of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from nmflow.torch.conversion.calibrating.blocks import run
from nmflow.torch.conversion.calibrating.calibration import Call, Runs
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.calibrating.order import Stage
from nmflow.torch.conversion.calibrating.recorder import Enough, Recorder
from nmflow.torch.conversion.targets import Target, dense

# Which inputs a layer is fitted to: those of the model as it is converted so far, those of the
# dense model, or the former with the dense model's outputs as the aim.
Inputs = Literal["both", "converted", "dense"]

_Seen = dict[str, list[list[Any]]]


class Gatherer:
    """Runs stages and adds up what their weights see.

    Parameters
    ----------
    inputs : Inputs
    keep_inputs : bool
        Whether samples themselves are kept.
    may_stop : bool
        Whether a run may end once the stage is over.
    """

    def __init__(self, inputs: Inputs, keep_inputs: bool, may_stop: bool) -> None:
        self._inputs = inputs
        self._keep_inputs = keep_inputs
        self._may_stop = may_stop

    def gather(
        self, stage: Stage, runs: Runs, dense_runs: Runs, converted: Sequence[Target]
    ) -> dict[str, Moments]:
        """Moments of each weight of a stage.

        Parameters
        ----------
        stage : Stage
        runs, dense_runs : Runs
            Of the model as it is converted so far, and with what the dense one hands on.
        converted : sequence of Target
            Whose dense values are to be put in place while ``dense_runs`` run.
        """
        with_dense = self._inputs == "both"
        moments = {t.name: Moments(with_dense, self._keep_inputs) for t in stage.watched}
        for call, dense_call in zip(runs.calls(), dense_runs.calls(), strict=True):
            if self._inputs == "converted":
                self._add(moments, self._watch(stage, runs, call), None)
                continue
            with dense(converted):
                aim = self._watch(stage, dense_runs, dense_call)
            seen = aim if self._inputs == "dense" else self._watch(stage, runs, call)
            self._add(moments, seen, aim if with_dense else None)
        shared = moments[stage.watched[-1].name]
        return {target.name: moments.get(target.name, shared) for target in stage.targets}

    @staticmethod
    def _add(moments: dict[str, Moments], seen: _Seen, aim: _Seen | None) -> None:
        for name, calls in seen.items():
            others = [] if aim is None else aim.get(name, [])
            for number, rows in enumerate(calls):
                other = others[number] if len(others) == len(calls) else None
                moments[name].add(rows, other)

    def _watch(self, stage: Stage, runs: Runs, call: Call) -> _Seen:
        """What the weights of a stage see in one call, in the order in which they do."""
        seen: _Seen = {}
        names = {target.name for target in stage.watched}

        def sink(target: Target, rows: list[Any], _: Any) -> None:
            seen.setdefault(target.name, []).append(rows)
            if self._may_stop and stage.once and seen.keys() == names:
                raise Enough

        with Recorder(runs.root, stage.watched, sink, runs.counts):
            run(call)
        return seen
