"""What the weights of a stage see, from runs of a model or of one of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from nmflow.torch.conversion.calibrating.addends import Addends
from nmflow.torch.conversion.calibrating.blocks import run
from nmflow.torch.conversion.calibrating.calibration import Call, Runs
from nmflow.torch.conversion.calibrating.features import rows_of
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.calibrating.order import Stage
from nmflow.torch.conversion.calibrating.recorder import Enough, Recorder
from nmflow.torch.conversion.targets import Target, dense

# Which inputs a layer is fitted to: those of the model as it is converted so far, those of the
# dense model, or the former with the dense model's outputs as the aim, and what these are added to.
Inputs = Literal["both", "converted", "dense"]


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
        sums = stage.adds_alone if with_dense else None
        for call, dense_call in zip(runs.calls(), dense_runs.calls(), strict=True):
            if self._inputs == "converted":
                self._add(moments, self._watch(stage, runs, call, None), None)
                continue
            with dense(converted):
                aim = self._watch(stage, dense_runs, dense_call, sums)
            if not aim.addends:
                sums = None
            seen = aim if not with_dense else self._watch(stage, runs, call, sums)
            self._add(moments, seen, aim if with_dense else None)
        shared = moments[stage.watched[-1].name]
        return {target.name: moments.get(target.name, shared) for target in stage.targets}

    @staticmethod
    def _add(moments: dict[str, Moments], seen: _Seen, aim: _Seen | None) -> None:
        for name, calls in seen.rows.items():
            others = [] if aim is None else aim.rows.get(name, [])
            alike = len(others) == len(calls)
            offsets = _offsets(seen, aim) if aim is not None and alike else []
            for number, rows in enumerate(calls):
                offset = offsets[number] if offsets else None
                moments[name].add(rows, others[number] if alike else None, offset)

    def _watch(self, stage: Stage, runs: Runs, call: Call, sums: Target | None) -> _Seen:
        """What the weights of a stage see in one call, in the order in which they do.

        With ``sums`` also what the outputs of that weight are added to.
        """
        seen = _Seen()
        names = {target.name for target in stage.watched}

        def stop() -> None:
            if self._may_stop and stage.once and seen.rows.keys() == names:
                raise Enough

        def sink(target: Target, rows: list[Any], _: Any) -> None:
            seen.rows.setdefault(target.name, []).append(rows)
            if sums is None:
                stop()

        def added(other: Any) -> None:
            plain = recorder.module_of(sums.sites[0]) is sums.sites[0].module if sums else True
            seen.addends.append(rows_of(other, runs.counts() if plain else None).clone())
            stop()

        with Recorder(runs.root, stage.watched, sink, runs.counts) as recorder:
            if sums is None:
                run(call)
            else:
                with Addends(recorder.module_of(sums.sites[0]), added):
                    run(call)
        return seen


class _Seen:
    """What weights see in a call, and what the outputs of one are added to."""

    def __init__(self) -> None:
        self.rows: dict[str, list[list[Any]]] = {}
        self.addends: list[Any] = []


def _offsets(seen: _Seen, aim: _Seen) -> list[Any]:
    """How much more the dense model adds to the outputs of each call than the model does now."""
    shapes = [each.shape for each in seen.addends]
    if not shapes or shapes != [each.shape for each in aim.addends]:
        return []
    (calls,) = seen.rows.values()
    if [len(each) for each in seen.addends] != [len(rows[0]) for rows in calls]:
        return []
    return [there - here for there, here in zip(aim.addends, seen.addends, strict=True)]
