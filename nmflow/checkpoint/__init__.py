"""Checkpoints: a model's weights in, n:m sparse weights out, in the same format.

Stands on the public calls of ``nmflow``; nothing there knows of it. Read ``prune`` first, then
``writing``, the way of a model: ``layers`` chooses its tensors, ``patterns`` says what each gets,
``bands`` cuts them, and ``layer_job`` is done to each band, a few at a time by ``pipeline``, with
``shares`` to tell what other patterns would keep; ``verifying`` counts what was written, without
the solvers' help. ``formats`` finds the tensors of models of any kind, ``masks`` are a format of
their own, and ``files`` lets a file appear whole or not at all.
``report`` is what comes out, which ``console`` prints and ``picture`` draws; ``page`` is HTML of
it. ``examining`` looks at models that exist already, whoever made them, and ``cluster`` has the
work of ``prune`` done by a Dask cluster.
"""

from nmflow.checkpoint.cluster import ClusterError
from nmflow.checkpoint.examining.checking import Asked, check_model
from nmflow.checkpoint.examining.counting import Found
from nmflow.checkpoint.examining.inspecting import InspectReport, LayerFound, inspect_model
from nmflow.checkpoint.examining.report import CheckReport, LayerChecked
from nmflow.checkpoint.formats.model import Kind, Model, Seal, Shard
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.formats.tensor import Tensor, decode
from nmflow.checkpoint.layers import Layer, Selection, Skipped, choose_layers
from nmflow.checkpoint.masks import PackedMask, open_masks, read_mask, read_masks
from nmflow.checkpoint.page.page import report_page
from nmflow.checkpoint.page.view import ShownLayer, View
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
    "Asked",
    "CheckReport",
    "ClusterError",
    "Failure",
    "Found",
    "InspectReport",
    "Kind",
    "Layer",
    "LayerChecked",
    "LayerFound",
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
    "ShownLayer",
    "Skipped",
    "Tensor",
    "VerificationError",
    "VerifiedReport",
    "View",
    "check_model",
    "choose_layers",
    "decode",
    "inspect_model",
    "open_masks",
    "open_model",
    "patterns_from",
    "plan_checkpoint",
    "prune_checkpoint",
    "read_mask",
    "read_masks",
    "read_patterns",
    "report_page",
    "verify_checkpoint",
]
