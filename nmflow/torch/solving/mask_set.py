"""The masks of one model: where they are now, which are solved, and solving them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.problem.workers import run_all
from nmflow.proof.certificate import Certificate
from nmflow.torch.masking.install import Place, places_of
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.sharding import is_sharded
from nmflow.torch.solving.joint import Joint, no_masks
from nmflow.torch.solving.layer import Change, Layer, accept_all
from nmflow.torch.solving.statistics import LayerStatistics, share_kept
from nmflow.training.report import Status

# What the state of a handle has, that of its masks included.
_STATE = {"problem", "clock", "kept", "given", "fixed", "frozen", "layers"}
# Entries that are worth a thread of their own.
_THREAD_ENTRIES = 1 << 18


class MaskSet:
    """The masks that one call of :func:`sparsify` put on a model.

    Parameters
    ----------
    model : Module
        Masks are looked for in it whenever they are needed, since modules may be exchanged.
    layers : list of Layer
    threads : int
        Of a solve of all.
    kept_scores : bool
        Whether statistics sum what masks keep.
    """

    def __init__(self, model: Any, layers: list[Layer], threads: int, kept_scores: bool) -> None:
        self.model = model
        self.layers = layers
        self._threads = threads
        self._kept_scores = kept_scores
        # Whether the last solve left out unsolved masks, whose weights had no values.
        self.waits = False

    def __str__(self) -> str:
        patterns = dict.fromkeys(str(layer.pattern) for layer in self.layers)
        return f"{', '.join(patterns)}, {len(self.layers)} weights"

    def look(self) -> list[Place]:
        """Look through the model as it is now; where the masks are."""
        found: dict[Masked, list[Place]] = {layer.masked: [] for layer in self.layers}
        places = places_of(self.model, found)
        for place in places:
            found[place.masked].append(place)
        for layer in self.layers:
            layer.places = found[layer.masked]
        return places

    def parametrizations(self) -> list[Any]:
        """Where PyTorch keeps each dense weight and its mask; one of the places of a shared one."""
        return [layer.parametrizations for layer in self.layers if layer.places]

    @property
    def unsolved(self) -> list[Layer]:
        """Layers of the model without a solved mask."""
        return [layer for layer in self.layers if layer.places and not layer.masked.solved]

    def statuses(self) -> dict[str, tuple[Status, str]]:
        """Of layers that are not simply sparsified: what they are, and why."""
        self.look()
        found: dict[str, tuple[Status, str]] = {}
        for layer in self.layers:
            if not layer.places:
                found[layer.name] = "skipped", "no longer in the model"
            elif not layer.masked.solved:
                where = "" if layer.has_values else "its values are on the meta device: "
                found[layer.name] = "waiting", f"{where}its mask keeps everything so far"
        return found

    def solve(
        self, kept: Callable[[Pattern], int], step: int, unsolved_alone: bool, wait: bool
    ) -> Mapping[str, LayerStatistics]:
        """Solve the masks of all weights that have values, or leave all masks as they are.

        Parameters
        ----------
        kept : callable
            How many of every m the masks of a pattern are to keep.
        step : int
            For the error's text.
        unsolved_alone : bool
            Whether solved masks stay as they are.
        wait : bool
            Whether to wait for devices. Otherwise an :class:`Outcome`, which raises when somebody
            looks at it, is returned where all masks were solved before and none needs the host.

        Returns
        -------
        mapping of str to LayerStatistics
            Of the weights that were solved. A mask that is to keep everything, and does, is none.

        Raises
        ------
        NmflowError
            If a weight can't be solved; with the text of each that can't.
        """
        self.look()
        work = []
        for layer in self.layers:
            n, m = kept(layer.pattern), layer.pattern.m
            dense = n == m > layer.pattern.n and not layer.masked.solved
            stays = unsolved_alone and layer.masked.solved
            if layer.has_values and not dense and not stays:
                work.append((layer, n))
        joint = Joint.of(work)
        others = [item for item in work if item[0].name not in joint.names]
        # A device that has all of it knows by itself whether masks may change.
        apart = bool(others) or not joint.alone
        changes = accept_all(self._propose(others, step, joint)) if apart else []
        outcome = joint.accept(step, self._kept_scores)
        if wait or others or any(not layer.masked.solved for layer, _ in work):
            outcome.look()
        self.waits = any(not layer.has_values for layer in self.unsolved)
        if not others:
            return outcome
        found = {change.layer.name: change.statistics() for change in changes} | dict(outcome)
        return {layer.name: found[layer.name] for layer, _ in work}

    def _propose(self, work: list[tuple[Layer, int]], step: int, joint: Joint) -> list[Change]:
        """Masks of weights that are solved one by one, if those of the others can be solved too."""
        proposed: dict[str, Change] = {}
        failed: list[str] = []

        def propose(item: tuple[Layer, int]) -> None:
            layer, n = item
            try:
                proposed[layer.name] = layer.propose(n, self._kept_scores)
            except NmflowError as error:
                failed.append(str(error))

        entries = sum(layer.mask.numel() for layer, _ in work)
        threads = min(self._threads, 1 + entries // _THREAD_ENTRIES)
        if any(is_sharded(each.weight) or each.masked.problem.scorer for each, _ in work):
            # All processes gather one weight at a time, in the same order; and a user's function
            # is called in the thread of the caller.
            threads = 1
        try:
            run_all(propose, work, threads)
            if failed := [*failed, *joint.failures()]:
                raise no_masks(step, failed)
        except BaseException:
            for change in proposed.values():
                change.proposal.reject()
            raise
        return [proposed[layer.name] for layer, _ in work]

    def compile(self, stages: Callable[[Pattern], set[int]]) -> None:
        """Compile now what solves of later stages will need, so that training does not wait."""
        done = set()
        for layer in self.layers:
            key = (layer.masked.problem, layer.mask.device, layer.weight.dtype)
            if layer.has_values and key not in done:
                done.add(key)
                layer.solver.compile(layer.weight.dtype, stages(layer.pattern))

    def certify(self) -> dict[str, Certificate]:
        """Certificates of the solved masks for the weights as they are."""
        return {
            layer.name: layer.solver.certify(layer.values(), layer.mask, layer.masked.kept)
            for layer in self._solved()
        }

    def kept_shares(self) -> dict[str, float]:
        """What share of its weight's score each solved mask keeps."""
        return {
            layer.name: share_kept(layer.values(), layer.mask, layer.masked.problem.solver_score)
            for layer in self._solved()
        }

    def _solved(self) -> list[Layer]:
        self.look()
        return [layer for layer in self.layers if layer.masked.solved and layer.has_values]

    def problems(self) -> dict[str, str]:
        """What each mask is to be."""
        return {
            layer.name: f"{layer.masked.problem}, shape {tuple(layer.mask.shape)}"
            for layer in self.layers
        }

    def state_dict(self) -> dict[str, Any]:
        """What solves go on from, as tensors and plain numbers."""
        return {
            "problem": self.problems(),
            "kept": {layer.name: layer.masked.kept for layer in self.layers},
            "given": {layer.name: layer.masked.given for layer in self.layers},
            "layers": {layer.name: layer.solver.state_dict() for layer in self.layers},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, or raise and stay as it was."""
        if lacking := sorted(_STATE - state.keys()):
            raise NmflowError(f"this is no state of a handle: it lacks {', '.join(lacking)}")
        if state["frozen"] and any(layer.mask.is_meta for layer in self.layers):
            raise NmflowError("masks on the meta device can't be frozen: load the model first")
        mine, saved = self.problems(), dict(state["problem"])
        unlike = [name for name in mine | saved if mine.get(name) != saved.get(name)]
        if unlike:
            name, none = unlike[0], "not masked"
            raise NmflowError(
                f"the state is one of other masks; the first of {len(unlike)} differences is"
                f" {name}: {saved.get(name, none)} there, {mine.get(name, none)} here. Sparsify"
                " the model as the saved one was"
            )
        solvers = [
            layer.solver.loaded(layer.mask, state["kept"][layer.name], part)
            for layer, part in ((layer, state["layers"][layer.name]) for layer in self.layers)
        ]
        for layer, solver in zip(self.layers, solvers, strict=True):
            layer.solver = solver
            layer.masked.kept = int(state["kept"][layer.name])
            layer.masked.given = bool(state["given"][layer.name])
