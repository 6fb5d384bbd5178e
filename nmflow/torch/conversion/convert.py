"""The public call: a model under masks, with weights that make up for what is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import PatternName
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method as find_solver
from nmflow.torch.conversion.calibrating.calibration import Calibration, CalibrationData
from nmflow.torch.conversion.calibrating.gather import Inputs
from nmflow.torch.conversion.calibrating.order import Stage, stages_of
from nmflow.torch.conversion.calibrating.recorder import Quiet
from nmflow.torch.conversion.driver import Driver
from nmflow.torch.conversion.fitting import Recipe
from nmflow.torch.conversion.methods.registry import (
    MethodChoice,
    ReconstructionChoice,
    find_method,
    find_reconstruction,
)
from nmflow.torch.conversion.preparing import Preparation
from nmflow.torch.conversion.progress import Progress, shown
from nmflow.torch.conversion.report import ConversionReport
from nmflow.torch.conversion.reporting import add_report, report_of
from nmflow.torch.conversion.store import Store
from nmflow.torch.conversion.suggested import pattern_of_m, with_suggested_n
from nmflow.torch.conversion.targets import Target
from nmflow.torch.orders.order import Kind
from nmflow.torch.rotations.rotate import HeadKind
from nmflow.torch.selecting.layout import Layouts
from nmflow.torch.selecting.select import choose_weights
from nmflow.torch.selecting.wanted import Wanted
from nmflow.training.patterns import as_patterns

Unreached = Literal["error", "magnitude"]


def convert(
    model: Any,
    calibration: CalibrationData,
    n: int | Mapping[str, tuple[int, int]] | None,
    m: int | None = None,
    *,
    method: MethodChoice = "alps",
    reconstruction: ReconstructionChoice = "auto",
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    inputs: Inputs = "both",
    solver: str | Method = "flow",
    damping: float = 0.01,
    bias_correction: bool = True,
    keep_zeros: bool = False,
    permute: bool | Collection[Kind] = False,
    rotate: bool | Collection[HeadKind] = False,
    confidence: float = 0.95,
    unreached: Unreached = "error",
    certify: bool = True,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | Progress | None = None,
) -> ConversionReport:
    """Turn a trained model into an n:m sparse one, in place, without training.

    Layer after layer, in the order in which data meets them: what the layer sees of a few hundred
    samples is gathered, its mask is found, and the weights that it keeps are refitted so that its
    outputs change least. Samples need no labels.

    Parameters
    ----------
    model : torch.nn.Module
        On any device. All that :func:`sparsify` masks is converted: linear layers, convolutions
        (in groups too), the projections of ``nn.MultiheadAttention``, ``Conv1D`` of transformers.
    calibration : iterable or callable
        Batches of what the model's forward takes: a tensor, a tuple or list of arguments, or a
        mapping of keyword arguments, in which a two-dimensional ``attention_mask`` tells padding,
        which is left out of account. Or a function that is given the model and runs it; it is
        called again for each stage of layers.
    n, m : int
        As for :func:`sparsify`: keep n of every m, or a mapping of globs to (n, m). With n None
        each weight gets the n that its zeros call for, by :func:`nmflow.suggest_n`: for models that
        are sparse already.
    method : str, method or callable, default "alps"
        How masks are found:

        - ``"magnitude"``, ``"wanda"``, ``"ria"``, ``"obs"``: the mask that keeps most of these
          scores. So does a function of a ``LayerProblem`` that gives scores of the shape of its
          ``weights``.
        - ``"sparsegpt"``: columns of tiles from left to right, errors carried on to the next.
        - ``"alps"``: masks and weights together, by ADMM with the exact mask as projection.
        - ``"adaprune"``: the mask by magnitude, refitted by Adam as published.
    reconstruction : {"auto", "least-squares", "adam", None} or object
        How the weights under a mask are refitted: in closed form (the default, but for
        ``"adaprune"``), by Adam, or not at all.
    pattern, include, exclude, layouts
        As for :func:`sparsify`.
    inputs : {"both", "converted", "dense"}
        What layers are fitted to. ``"both"``: from the inputs that the model has now, with what is
        converted before, to the outputs that the dense model has there, so that errors of earlier
        layers are made up for; where outputs are added to a residual stream, also to what that has
        lost by then. ``"converted"``, as published methods do: the outputs of the dense
        weights on the inputs that the model has now. ``"dense"``: all on the dense model's inputs.
    solver : str or Method, default "flow"
        The method of :func:`nmflow.solve` for masks.
    damping : float, default 0.01
        Added to the diagonal of the second moments of inputs, relative to its mean. It decides
        where there are fewer samples than inputs.
    bias_correction : bool, default True
        Whether biases, where there are any, take over what the mean of inputs loses. Exact: weights
        are then fitted to what varies.
    keep_zeros : bool, default False
        Whether weights that are 0 stay 0. They are the first to be pruned where the pattern lets.
    permute : bool or collection of str, default False
        Whether rows and columns are first put in orders under which masks keep more, as
        :func:`permute` does, by what outputs lose without a weight if the
        others of its row make up for it. The dense model computes the same in these orders,
        in the same time, which is checked on the first batch. One pattern for all weights. Or the
        kinds of orders to search.
    rotate : bool or collection of str, default False
        Whether the heads of a transformer are first turned to bases in which masks cost less, as
        :func:`rotate` does, by the same scores; before rows and columns are put in order. The dense
        model computes the same but for rounding, which is checked likewise. Or the kinds of heads
        to turn.
    confidence : float, default 0.95
        Where n is None: how likely a tile is to fit as it is.
    unreached : {"error", "magnitude"}
        What to do with weights that no sample reaches, such as those of idle experts, and with
        experts that are stacked in one tensor, of which it can't be told what each sees.
    certify : bool, default True
        Whether the report has a certificate of each mask, for the scores it was chosen by.
    resume : path, optional
        A folder for finished layers. A conversion that was interrupted goes on from it, given the
        dense model, the same data and the same options.
    progress : bool or callable, optional
        A bar on standard error (by default on a terminal, if rich is installed), or a function of
        (name, done, total).

    Returns
    -------
    ConversionReport
        A line for each weight; print it.

    Raises
    ------
    NmflowError
        For options that make no sense, calibration that the model refuses, weights that no sample
        reaches, inputs that are not finite. Before the first weight is written the model stays as
        it was; later, and when a run is interrupted, layers that are finished stay converted and
        all others are as they were: the error's ``report`` says which.

    Notes
    -----
    With W the weights of a layer (outputs x features), X what it sees and H = X X', the squared
    error of its outputs under new weights W' is tr((W - W') H (W - W')'), so H is all that
    methods need of the data: 8 features^2 bytes for each layer of a stage, twice that for
    ``inputs="both"``. A stage is the layers that are called with the same tensor, such as query,
    key and value. Weights are calculated in float64, ADMM in float32, on the model's device.

    Blocks that repeat (``nn.ModuleList`` or ``nn.Sequential`` of one class) are run one at a time,
    with the inputs of one block in memory, if the first batch proves that each takes what the one
    before returns and otherwise the same. Other layers take a run of the model up to them for each
    stage. The model runs in evaluation mode; the running statistics of batch norms are taken
    anew from the calibration batches at the end.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor & Soudry, "Accelerated sparse neural training", NeurIPS
    2021, sec. 4: conversion of trained models, by Adam. For methods see their classes. For aims
    from the dense model: Li et al., "GPTAQ: efficient finetuning-free quantization for asymmetric
    calibration", ICML 2025.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8)
    ... )
    >>> samples = [torch.randn(32, 64) for _ in range(8)]
    >>> report = nmflow.torch.convert(model, samples, 4, 8, include="0")
    >>> report.converted[0].certificate.gap
    0.0
    """
    began = time.perf_counter()
    _check_options(inputs, unreached, damping)
    preparation = Preparation.of(permute, rotate, layouts, zeros_count=keep_zeros or n is None)
    chosen = find_method(method)
    recipe = Recipe(
        method=chosen,
        reconstruction=find_reconstruction(reconstruction, chosen),
        solver=find_solver(solver),
        damping=float(damping),
        bias_correction=bias_correction,
        keep_zeros=keep_zeros,
        certify=certify,
        dtype=torch.float64,
    )
    patterns = pattern_of_m(m, pattern) if n is None else as_patterns(n, m, pattern)
    weights, selection = choose_weights(model, patterns, include, exclude, layouts)
    if n is None:
        weights, selection = with_suggested_n(weights, selection, confidence)
    targets = [Target(weight) for weight in weights]
    runs = Calibration(model, calibration)
    store = None
    if resume is not None:
        store = Store(resume, _settings(recipe, inputs, targets, preparation, runs))
    prepared = preparation.done(model, runs, targets, recipe)
    with Quiet(model), shown(progress, len(targets)) as tell:
        driver = Driver(runs, recipe, inputs, store, tell)
        try:
            batch_norms = driver.run(*_in_order(runs, targets, unreached))
        except BaseException as error:
            if not driver.layers:
                prepared.undo()
            add_report(error, report_of(recipe, driver, targets, selection, began, prepared))
            raise
    return report_of(recipe, driver, targets, selection, began, prepared, batch_norms)


def _in_order(
    runs: Calibration, targets: Sequence[Target], unreached: Unreached
) -> tuple[Sequence[Stage], Sequence[Target]]:
    """The stages, and the weights of which it is not known what they see."""
    hidden = [target for target in targets if not target.can_be_seen]
    stages, missed = stages_of(runs, [target for target in targets if target.can_be_seen])
    if (hidden or missed) and unreached == "error":
        raise NmflowError(_not_reached(hidden, missed))
    return stages, [*hidden, *missed]


def _check_options(inputs: str, unreached: str, damping: float) -> None:
    for option, value, kind in (("inputs", inputs, Inputs), ("unreached", unreached, Unreached)):
        if value not in get_args(kind):
            raise NmflowError(f"{option} must be one of {', '.join(get_args(kind))}, got {value!r}")
    if not (isinstance(damping, int | float) and 0 < damping < float("inf")):
        raise NmflowError(f"damping must be a number above 0, such as 0.01, got {damping!r}")


def _not_reached(hidden: Sequence[Target], missed: Sequence[Target]) -> str:
    out = (
        'leave them out with exclude, or convert them by magnitude alone with unreached="magnitude"'
    )
    faults = []
    if missed:
        names = ", ".join(target.name for target in missed)
        faults.append(f"no calibration sample reaches {names}: give more samples, {out}")
    if hidden:
        names = ", ".join(target.name for target in hidden)
        faults.append(f"what each of the experts stacked in {names} sees can't be told: {out}")
    return "\n".join(faults)


def _settings(
    recipe: Recipe,
    inputs: str,
    targets: Sequence[Target],
    preparation: Preparation,
    runs: Calibration,
) -> dict[str, Any]:
    return {
        "method": repr(recipe.method),
        "reconstruction": repr(recipe.reconstruction),
        "solver": repr(recipe.solver),
        "inputs": inputs,
        "damping": recipe.damping,
        "bias_correction": recipe.bias_correction,
        "keep_zeros": recipe.keep_zeros,
        "weights": {target.name: str(target.pattern) for target in targets},
        **preparation.settings(),
        "calibration": runs.digest(),
    }
