"""Checkpoints: a model's weights in, n:m sparse weights out, in the same format.

Stands on the public calls of ``nmflow``; nothing there knows of it. Read ``prune`` first, the way
of a file; ``layers`` chooses its tensors, ``layer_job`` is done to each of them, a few at a time by
``pipeline``, with ``shares`` to tell what other patterns would keep, and ``verify`` counts what was
written, without the solvers' help. ``formats`` finds the tensors of models of any kind, ``files``
lets a file appear whole or not at all.
``report`` is what comes out, which ``console`` prints and ``picture`` draws.
"""

from nmflow.checkpoint.formats.model import Kind, Model, Seal, Shard
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.formats.tensor import Tensor, decode
from nmflow.checkpoint.layers import Layer, Selection, Skipped, choose_layers
from nmflow.checkpoint.masks import PackedMask, open_masks, read_mask, read_masks
from nmflow.checkpoint.patterns import Patterns, patterns_from, read_patterns
from nmflow.checkpoint.prune import plan_checkpoint, prune_checkpoint
from nmflow.checkpoint.report import (
    Failure,
    LayerReport,
    MaskSample,
    PruneReport,
    VerificationError,
    VerifiedReport,
)
from nmflow.checkpoint.verifying.verify import verify_checkpoint
from nmflow.checkpoint.writing.planning import Plan

__all__ = [
    "Failure",
    "Kind",
    "Layer",
    "LayerReport",
    "MaskSample",
    "Model",
    "PackedMask",
    "Patterns",
    "Plan",
    "PruneReport",
    "Seal",
    "Selection",
    "Shard",
    "Skipped",
    "Tensor",
    "VerificationError",
    "VerifiedReport",
    "choose_layers",
    "decode",
    "open_masks",
    "open_model",
    "patterns_from",
    "plan_checkpoint",
    "prune_checkpoint",
    "read_mask",
    "read_masks",
    "read_patterns",
    "verify_checkpoint",
]
