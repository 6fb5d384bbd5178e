"""Checkpoints: safetensors in, n:m sparse safetensors out.

Stands on the public calls of :mod:`nmflow`; nothing there knows of it.
"""

from nmflow.checkpoint.layers import Layer, Selection, Skipped, choose_layers
from nmflow.checkpoint.prune import prune_checkpoint
from nmflow.checkpoint.report import (
    Failure,
    LayerReport,
    MaskSample,
    PruneReport,
    VerificationError,
)
from nmflow.checkpoint.safetensors_file import Checkpoint, Tensor, open_checkpoint
from nmflow.checkpoint.verify import verify_checkpoint

__all__ = [
    "Checkpoint",
    "Failure",
    "Layer",
    "LayerReport",
    "MaskSample",
    "PruneReport",
    "Selection",
    "Skipped",
    "Tensor",
    "VerificationError",
    "choose_layers",
    "open_checkpoint",
    "prune_checkpoint",
    "verify_checkpoint",
]
