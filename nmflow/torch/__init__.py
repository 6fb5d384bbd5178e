"""Training PyTorch models under exact n:m masks that follow the weights.

>>> import torch, nmflow.torch
>>> model = torch.nn.Linear(64, 64)
>>> handle = nmflow.torch.sparsify(model, 4, 8)
>>> handle.certify()["weight"].gap
0.0
"""

from nmflow.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtraError("nmflow.torch", "torch") from None

from nmflow.torch import operator as _operator  # noqa: F401  (torch.ops.nmflow.solve)
from nmflow.torch.accelerating.accelerate import AcceleratedLayer, accelerate
from nmflow.torch.accelerating.examine import ExaminedLayer, examine
from nmflow.torch.accelerating.sparse_linear import SparseLinear
from nmflow.torch.conversion.convert import convert
from nmflow.torch.conversion.methods.adam import Adam
from nmflow.torch.conversion.methods.alps import ALPS
from nmflow.torch.conversion.methods.least_squares import LeastSquares
from nmflow.torch.conversion.methods.one_shot import OBS, RIA, Magnitude, Wanda
from nmflow.torch.conversion.methods.problem import LayerProblem
from nmflow.torch.conversion.methods.registry import AdaPrune
from nmflow.torch.conversion.methods.sparsegpt import SparseGPT
from nmflow.torch.conversion.report import ConversionReport, ConvertedLayer
from nmflow.torch.dynamic.training import DynamicSparseTraining
from nmflow.torch.handle import Handle
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.masked_weight import MaskedWeight
from nmflow.torch.masking.model_masks import bake, refresh, remove, sparse_state_dict
from nmflow.torch.orders.permute import permute
from nmflow.torch.orders.report import FoundOrder, OrderedLayer, OrderReport
from nmflow.torch.pruning import NMPruning
from nmflow.torch.rotations.report import FoundRotation, RotatedLayer, RotationReport
from nmflow.torch.rotations.rotate import rotate
from nmflow.torch.solving.statistics import LayerStatistics, RefreshStatistics
from nmflow.torch.sparsify import sparsify
from nmflow.training.policy import Refresh
from nmflow.training.report import LayerReport, Report
from nmflow.training.rules import SRSTE, StraightThrough

__all__ = [
    "ALPS",
    "OBS",
    "RIA",
    "SRSTE",
    "AcceleratedLayer",
    "AdaPrune",
    "Adam",
    "ConversionReport",
    "ConvertedLayer",
    "DynamicSparseTraining",
    "ExaminedLayer",
    "FoundOrder",
    "FoundRotation",
    "Handle",
    "LayerProblem",
    "LayerReport",
    "LayerStatistics",
    "LeastSquares",
    "Magnitude",
    "Masked",
    "MaskedWeight",
    "NMPruning",
    "OrderReport",
    "OrderedLayer",
    "Refresh",
    "RefreshStatistics",
    "Report",
    "RotatedLayer",
    "RotationReport",
    "SparseGPT",
    "SparseLinear",
    "StraightThrough",
    "Wanda",
    "accelerate",
    "bake",
    "convert",
    "examine",
    "permute",
    "refresh",
    "remove",
    "rotate",
    "sparse_state_dict",
    "sparsify",
]
