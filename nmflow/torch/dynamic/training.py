"""What users call: thresholds on a model's weights, their penalty, and the sparse weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.torch.dynamic.thresholded import Thresholded
from nmflow.torch.masking.install import Place, check_removable, install, places_of, take_off
from nmflow.torch.selecting.layout import Layouts
from nmflow.torch.selecting.select import Weight, choose_weights
from nmflow.torch.selecting.wanted import Wanted
from nmflow.training.report import Report

# Any weight of two dimensions will do: no group has to fit into it.
_ANY = Pattern(1, 1, "rows")


class DynamicSparseTraining:
    """Let a model find out in training how sparse each row of its weights can be.

    Each row of a weight (an output neuron, a filter) gets a trainable threshold t, and the model
    then computes with w * step(abs(w) - t) wherever it used w, through
    ``torch.nn.utils.parametrize``. Thresholds start at zero, where nothing is pruned; the penalty
    pushes them up, and the loss down where weights are needed. Weights that were pruned can come
    back. What is sparse in the end follows no pattern: see the example for the way to n:m.

    Parameters
    ----------
    model : torch.nn.Module
        Which weights are chosen, and how they are read as rows, is as for :func:`sparsify`.
    alpha : float
        Weight of the penalty, 0 or more: the larger, the sparser. The penalty is a sum over all
        rows of all weights, so a small alpha goes far beside a mean loss: 1e-5 is a beginning.
    include, exclude, layouts
        As for :func:`sparsify`.

    Attributes
    ----------
    alpha : float
        May be changed at any time.

    Raises
    ------
    NmflowError
        For an alpha that makes no sense, a glob that matches nothing, a model with nothing to
        prune, with masks already, sharded or on the meta device. The model stays as it was.

    Notes
    -----
    Backwards the derivative of the step is taken for 2 - 4 abs(x) where abs(x) <= 0.4, for 0.4
    from there to 1, and for 0 beyond. So weights learn where they are kept, and, like thresholds,
    where they are near their threshold. As published, the thresholds of a weight are set back to
    zero when less than 1 % of it is kept, as soon as the weight is next computed.

    The thresholds are parameters of the model: they are in ``model.parameters()`` from then on, in
    its ``state_dict()`` and in its copies. Decay of weights draws thresholds to zero; give them a
    group of their own without it.

    ``copy.deepcopy`` of an object that holds the model and this takes both along.

    References
    ----------
    Liu, Xu, Shi, Cheung & So, "Dynamic sparse training: find efficient sparse network from scratch
    with trainable masked layers", ICLR 2020.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Linear(32, 8))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> dst = nmflow.torch.DynamicSparseTraining(model, alpha=0.01)
    >>> optimizer.add_param_group({"params": dst.parameters()})
    >>> for _ in range(40):
    ...     optimizer.zero_grad()
    ...     loss = (model(torch.randn(64, 16)) - 1).square().mean() + dst.penalty()
    ...     loss.backward()
    ...     optimizer.step()
    >>> sparsity = min(dst.sparsity().values())
    >>> dst.bake()

    From there to n:m: what few weights are too many in their group goes by an exact mask.

    >>> n = nmflow.suggest_n(8, sparsity)
    >>> handle = nmflow.torch.sparsify(model, n, 8, refresh=None)
    """

    def __init__(
        self,
        model: Any,
        *,
        alpha: float,
        include: Wanted = None,
        exclude: Wanted = None,
        layouts: Layouts = None,
    ) -> None:
        self.alpha = alpha
        self._penalty_weight()
        self._model = model
        self._gone = ""
        weights, report = choose_weights(model, _ANY, include, exclude, layouts)
        self._report = _without_pattern(report)
        self._check_values(weights)
        self._steps = [
            Thresholded(weight.name, weight.parameter, weight.layout) for weight in weights
        ]
        try:
            for thresholded, weight in zip(self._steps, weights, strict=True):
                for site in weight.sites:
                    install(thresholded, site.module, site.tensor)
        except BaseException:
            take_off(self._places())
            raise

    @property
    def report(self) -> Report:
        """A line for each weight of the model: sparsified, or skipped and why."""
        return self._report

    def parameters(self) -> list[Any]:
        """The thresholds, one parameter for each weight, for the optimizer.

        An optimizer that was made with ``model.parameters()`` before has to be told of them, by
        ``optimizer.add_param_group({"params": dst.parameters()})``; one that is made afterwards
        has them already.

        Returns
        -------
        list of Parameter
            Of shape (out, 1), or (out, 1, 1, 1) for a convolution: as broadcasts to the weight.
        """
        self._check_here()
        return [each.threshold for each in self._steps]

    def penalty(self) -> Any:
        """``alpha`` times the sum of exp(-t) over all thresholds t; to be added to the loss.

        Returns
        -------
        Tensor
            A scalar of float32, or float64 where a weight is, on the first weight's device.

        Raises
        ------
        NmflowError
            If ``alpha`` is no number of 0 or more, or the thresholds are gone.
        """
        self._check_here()
        alpha = self._penalty_weight()
        device = self._steps[0].threshold.device
        sums = [
            (-each.threshold.to(torch.promote_types(each.threshold.dtype, torch.float32)))
            .exp()
            .sum()
            .to(device)
            for each in self._steps
        ]
        return alpha * sum(sums[1:], sums[0])

    @torch.no_grad()
    def sparsity(self) -> dict[str, float]:
        """The share of zeros in each weight that the model computes with, by its name."""
        self._check_here()
        places = {place.masked: place for place in self._places()}
        return {
            each.name: (kept.numel() - int(torch.count_nonzero(kept))) / kept.numel()
            for each, place in places.items()
            if (kept := each(place.weight)).numel()
        }

    def bake(self) -> None:
        """Write the sparse weights into the model's parameters and take the thresholds off.

        The model computes what it did, what is pruned is +0 in the parameters, and nothing of
        nmflow is left in it. Parameters stay the same objects.

        Raises
        ------
        NmflowError
            If weights are sharded, go through another parametrization afterwards, or the
            thresholds are gone already. The model stays as it was.
        """
        places = self._removable()
        with torch.no_grad():
            for each, weight in {place.masked: place.weight for place in places}.items():
                weight.copy_(each.baked(weight))
        take_off(places)
        self._gone = "baked"

    def remove(self) -> None:
        """Take the thresholds off and leave the dense weights as they are.

        Raises
        ------
        NmflowError
            As :meth:`bake`.
        """
        take_off(self._removable())
        self._gone = "removed"

    def _removable(self) -> list[Place]:
        self._check_here()
        places = self._places()
        check_removable(places)
        return places

    def _places(self) -> list[Place]:
        return places_of(self._model, self._steps, Thresholded)

    def _penalty_weight(self) -> float:
        try:
            alpha = float(self.alpha)
        except (TypeError, ValueError):
            alpha = math.nan
        if isinstance(self.alpha, bool) or not 0 <= alpha < math.inf:
            raise NmflowError(
                f"alpha weighs the penalty, and must be a number of 0 or more, got {self.alpha!r}"
            )
        return alpha

    def _check_here(self) -> None:
        if self._gone:
            raise NmflowError(
                f"the thresholds were {self._gone}: make a new DynamicSparseTraining for new ones"
            )

    @staticmethod
    def _check_values(weights: list[Weight]) -> None:
        for weight in weights:
            if weight.parameter.is_meta:
                raise NmflowError(
                    f"{weight.name} is on the meta device, where thresholds have no values: come"
                    " back once the weights are there"
                )

    def __repr__(self) -> str:
        count = len(self._steps)
        return f"<nmflow.torch.DynamicSparseTraining: {count} weights, alpha {self.alpha}>"


def _without_pattern(report: Report) -> Report:
    layers = tuple(replace(layer, pattern=None) for layer in report.layers)
    return replace(report, layers=layers)
