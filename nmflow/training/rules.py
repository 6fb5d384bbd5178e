"""Gradient rules: what training does to the weights that a mask prunes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nmflow.errors import NmflowError


@dataclass(frozen=True, slots=True)
class StraightThrough:
    """The gradient of the masked weight goes to the dense one as it is, pruned entries included.

    So what was pruned goes on learning, and a later refresh may keep it. (Bengio, Léonard &
    Courville, "Estimating or propagating gradients through stochastic neurons for conditional
    computation", arXiv:1308.3432.)
    """


@dataclass(frozen=True, slots=True)
class SRSTE(StraightThrough):
    """Straight-through, with a pull towards zero on pruned entries: SR-STE.

    An optimizer step sees the gradient g + decay * (1 - mask) * w. The term is added once for
    each step, before it, so that neither gradient accumulation, nor shared weights, nor gradient
    clipping, nor the factor of a ``GradScaler`` changes it.

    Attributes
    ----------
    decay : float, default 2e-4
        The authors' lambda.

    References
    ----------
    Zhou, Ma, Zhu, Liu, Zhang, Yuan, Sun & Li, "Learning N:M fine-grained structured sparse
    neural networks from scratch", ICLR 2021.
    """

    decay: float = 2e-4

    def __post_init__(self) -> None:
        if not (isinstance(self.decay, int | float) and math.isfinite(self.decay)):
            raise NmflowError(f"decay must be a finite number, got {self.decay!r}; try 2e-4")


_RULES = {"ste": StraightThrough, "sr-ste": SRSTE}


def as_rule(rule: str | StraightThrough) -> StraightThrough:
    """The rule that a name or an object stands for."""
    if isinstance(rule, StraightThrough):
        return rule
    if isinstance(rule, str) and rule in _RULES:
        return _RULES[rule]()
    raise NmflowError(f"unknown rule {rule!r}: choose 'ste', 'sr-ste', or SRSTE(decay=...)")
