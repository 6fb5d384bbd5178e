"""Converts a model's weights one stage after the other, each on what is converted before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from nmflow.proof.certificate import Certificate, Violation
from nmflow.torch.conversion.batch_norm import reestimate
from nmflow.torch.conversion.calibrating.blocks import Block, record
from nmflow.torch.conversion.calibrating.calibration import Calibration, Runs
from nmflow.torch.conversion.calibrating.gather import Gatherer, Inputs
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.calibrating.order import Part, Stage, parts_of
from nmflow.torch.conversion.fitting import Outcome, Recipe, by_magnitude, fit
from nmflow.torch.conversion.progress import Progress
from nmflow.torch.conversion.report import ConvertedLayer, ConvertedStatus
from nmflow.torch.conversion.store import Store, digest
from nmflow.torch.conversion.targets import Target, dense


class Driver:
    """One conversion.

    Parameters
    ----------
    calibration : Calibration
    recipe : Recipe
    inputs : Inputs
    store : Store or None
    progress : callable of (name, done, total)

    Attributes
    ----------
    layers : list of ConvertedLayer
        Finished ones, in their order.
    """

    def __init__(
        self,
        calibration: Calibration,
        recipe: Recipe,
        inputs: Inputs,
        store: Store | None,
        progress: Progress,
    ) -> None:
        self._calibration = calibration
        self._recipe = recipe
        self._inputs = inputs
        self._store = store
        self._progress = progress
        self._gatherer = Gatherer(
            inputs,
            keep_inputs=recipe.needs_inputs,
            may_stop=calibration.by_batches,
        )
        self._total = 0
        self._keep_dense = False
        self.layers: list[ConvertedLayer] = []

    def run(self, stages: Sequence[Stage], unreached: Sequence[Target]) -> int:
        """Convert all; how many batch norms have new statistics.

        Parameters
        ----------
        stages : sequence of Stage
        unreached : sequence of Target
            Converted by magnitude.
        """
        self._total = sum(len(stage.targets) for stage in stages) + len(unreached)
        parts = parts_of(self._calibration, stages)
        done: list[Target] = []
        for number, part in enumerate(parts):
            # The dense model's way to what comes later leads through what is converted by then.
            self._keep_dense = self._inputs != "converted" and number + 1 < len(parts)
            if part.chain is None:
                self._convert(part.stages[0][0], self._calibration, self._calibration, done)
            else:
                self._stream(part, done)
            done += [target for stages in part.stages for each in stages for target in each.targets]
        for target in unreached:
            self._finish(target, by_magnitude(target, self._recipe), "magnitude")
        for target in done:
            target.forget_dense()
        batch_norms: int = reestimate(self._calibration.root, self._calibration)
        return batch_norms

    def _stream(self, part: Part, done: Sequence[Target]) -> None:
        """Convert a chain of blocks, with the inputs of one block in memory at a time."""
        chain, may_stop = part.chain, self._calibration.by_batches
        assert chain is not None
        here = aside = None
        if self._inputs != "dense":
            here = record(chain, self._calibration, may_stop)
        if self._inputs != "converted":
            with dense(done):
                aside = record(chain, self._calibration, may_stop)
        for stages, follows in zip(part.stages, (*chain.blocks[1:], None), strict=True):
            inside: list[Target] = []
            for stage in stages:
                self._convert(stage, _either(here, aside), _either(aside, here), inside)
                inside += stage.targets
            if follows is None:
                break
            if aside is not None:
                with dense(inside):
                    aside = aside.followed_by(follows)
            if here is not None:
                here = here.followed_by(follows)
            if not self._keep_dense:
                for target in inside:
                    target.forget_dense()

    def _convert(
        self, stage: Stage, runs: Runs, dense_runs: Runs, converted: Sequence[Target]
    ) -> None:
        """Convert the weights of a stage, or take them from an earlier run."""
        found = {target.name: self._stored(target) for target in stage.targets}
        moments: dict[str, Moments] = {}
        if None in found.values():
            self._progress(stage.targets[0].name, len(self.layers), self._total)
            moments = self._gatherer.gather(stage, runs, dense_runs, converted)
        for target in stage.targets:
            self._progress(target.name, len(self.layers), self._total)
            stored = found[target.name]
            if stored is None:
                self._finish(target, fit(target, moments[target.name], self._recipe), "converted")
            else:
                target.write(stored["weight"], stored["bias"], self._keeps_dense)
                self.layers.append(layer_from(target, stored["report"], "resumed"))

    @property
    def _keeps_dense(self) -> bool:
        return self._inputs != "converted"

    def _stored(self, target: Target) -> dict[str, Any] | None:
        if self._store is None:
            return None
        return self._store.load(target.name, target.parameter)

    def _finish(self, target: Target, outcome: Outcome, status: ConvertedStatus) -> None:
        """Give the model a weight's new values, on disk first."""
        report = plain_report(outcome)
        dtype = target.parameter.dtype
        weight = outcome.weight.to(dtype)
        bias = None if outcome.bias is None else outcome.bias.to(target.bias.dtype)
        if self._store is not None:
            self._store.save(target.name, digest(target.parameter), weight, bias, report)
        target.write(weight, bias, self._keeps_dense)
        self.layers.append(layer_from(target, report, status))


def _either(runs: Block | None, other: Block | None) -> Block:
    found = other if runs is None else runs
    assert found is not None
    return found


def plain_report(outcome: Outcome) -> dict[str, Any]:
    """What a report says of a layer, as plain values that can be stored."""
    certificate = outcome.certificate
    return {
        "kept_score": outcome.kept_share,
        "masked_error": outcome.masked_error,
        "error": outcome.error,
        "certificate": None if certificate is None else dataclasses.asdict(certificate),
        "samples": outcome.samples,
        "seconds": outcome.seconds,
        "note": outcome.note,
        "history": [dict(row) for row in outcome.history],
    }


def layer_from(target: Target, report: dict[str, Any], status: ConvertedStatus) -> ConvertedLayer:
    """The line of a layer, from what was stored of it."""
    proof = report["certificate"]
    if proof is not None:
        violations = tuple(Violation(**each) for each in proof["violations"])
        proof = Certificate(**proof | {"pattern": target.pattern, "violations": violations})
    values = report | {"certificate": proof, "history": tuple(report["history"])}
    shape = tuple(target.parameter.shape)
    return ConvertedLayer(target.name, shape, status, target.pattern, **values)
