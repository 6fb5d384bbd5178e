"""n:m masks for ``torch.nn.utils.prune``."""

from __future__ import annotations

from typing import Any

from torch.nn.utils import prune

from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.solve import solve
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method
from nmflow.torch.selecting.layout import layouts_of


class NMPruning(prune.BasePruningMethod):
    """Exact n:m masks as a pruning method of ``torch.nn.utils.prune``.

    Parameters
    ----------
    n, m : int
        Keep n of every m.
    layout : Layout, optional
        How the weight is matrices (out, in), which is the default.
    method, pattern, score
        As for :func:`nmflow.solve`.

    Notes
    -----
    After another pruning method, entries it pruned count as 0 and stay pruned.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> layer = torch.nn.Linear(8, 8)
    >>> layer = nmflow.torch.NMPruning.apply(layer, "weight", 4, 8)
    >>> layer.weight_mask.sum(0)
    tensor([4., 4., 4., 4., 4., 4., 4., 4.])
    """

    # So that PyTorch hands over whole tensors.
    PRUNING_TYPE = "global"

    def __init__(
        self,
        n: int,
        m: int,
        layout: Layout | None = None,
        method: str | Method = "flow",
        pattern: PatternName = "transposable",
        score: ScoreName = "abs",
    ) -> None:
        self._pattern = Pattern(n, m, pattern)
        self._layout, self._score = layout or Layout(), score
        self._method = find_method(method)

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask of importance scores, within that of earlier pruning."""
        layout, pattern = self._layout, self._pattern
        mask = solve(
            layout.matrices(t.detach() * default_mask),
            pattern.n,
            pattern.m,
            self._method,
            pattern=pattern.name,
            axes=layout.matrix_axes(t.ndim),
            score=self._score,
        )
        return layout.tensor(mask) * default_mask

    @classmethod
    def apply(
        cls,
        module: Any,
        name: str,
        n: int,
        m: int,
        *,
        importance_scores: Any = None,
        **options: Any,
    ) -> Any:
        """Prune the parameter ``name`` of a module.

        Parameters
        ----------
        module : torch.nn.Module
            A linear, convolution or attention layer.
        name : str
        n, m : int
        importance_scores : Tensor, optional
            By default the weights.
        **options
            method, pattern and score.

        Returns
        -------
        module : torch.nn.Module
            The same, with ``name_mask`` and ``name_orig``.

        Raises
        ------
        NmflowError
            If the module has no such weight.
        """
        layout = layouts_of(module).get(name)
        if layout is None:
            raise NmflowError(
                f"{name!r} of a {type(module).__name__} is no weight of a linear, convolution or"
                " attention layer"
            )
        super().apply(
            module,
            name,
            n,
            m,
            layout=layout,
            importance_scores=importance_scores,
            **options,
        )
        return module
