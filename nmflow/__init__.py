"""nmflow: provably optimal transposable n:m sparsity masks.

>>> import numpy as np, nmflow
>>> weights = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
>>> mask = nmflow.solve(weights, 4, 8)
>>> nmflow.certify(weights, mask, 4, 8).gap
0.0
>>> nmflow.suggest_n(8, sparsity=0.9)  # for weights with nine zeros in ten, anywhere
4
"""

from nmflow.certify import certify
from nmflow.diversity import (
    group_fit_probability,
    log10_mask_diversity,
    mask_diversity,
    suggest_n,
)
from nmflow.errors import MissingExtraError, NmflowError
from nmflow.permute import Permutation, permute
from nmflow.priced import solve_with_prices
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.proof.certificate import Certificate, Violation
from nmflow.solve import methods, solve
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import (
    Entropic,
    Exhaustive,
    Flow,
    Greedy,
    GreedyKeep,
    LocalSearch,
    Lp,
    NetworkSimplex,
)
from nmflow.tracker import Tracker, Update
from nmflow.warming.processes import warmup

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "Entropic",
    "Exhaustive",
    "Flow",
    "Greedy",
    "GreedyKeep",
    "LocalSearch",
    "Lp",
    "Method",
    "MissingExtraError",
    "NetworkSimplex",
    "NmflowError",
    "Pattern",
    "Permutation",
    "Prices",
    "Tracker",
    "Update",
    "Violation",
    "certify",
    "group_fit_probability",
    "log10_mask_diversity",
    "mask_diversity",
    "methods",
    "permute",
    "solve",
    "solve_with_prices",
    "suggest_n",
    "warmup",
]
