"""Checkpoints: safetensors in, n:m sparse safetensors out.

Stands on the public calls of ``nmflow``; nothing there knows of it. Read ``prune`` first, the way
of a file; ``layers`` chooses its tensors, ``layer_job`` is done to each of them, a few at a time by
``pipeline``, with ``shares`` to tell what other patterns would keep, and ``verify`` counts what was
written, without the solvers' help. ``safetensors_file`` reads bytes, ``files`` lets a file appear
whole or not at all.
``report`` is what comes out, which ``console`` prints and ``picture`` draws.
"""

from nmflow.checkpoint.layers import Layer, Selection, Skipped, choose_layers
from nmflow.checkpoint.prune import prune_checkpoint
from nmflow.checkpoint.report import (
    Failure,
    LayerReport,
    MaskSample,
    PruneReport,
    VerificationError,
    VerifiedReport,
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
    "VerifiedReport",
    "choose_layers",
    "open_checkpoint",
    "prune_checkpoint",
    "verify_checkpoint",
]
