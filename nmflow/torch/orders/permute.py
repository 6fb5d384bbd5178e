"""The public call: a model in which rows and columns lie where masks keep more."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, get_args

import numpy as np

from nmflow.errors import NmflowError
from nmflow.permuting.search import Search
from nmflow.permuting.shared import SharedOrder
from nmflow.problem.pattern import Pattern, PatternName, as_integer
from nmflow.problem.scores import ScoreName, check_score
from nmflow.problem.workers import thread_count
from nmflow.torch.orders.checking import (
    TOLERANCE,
    difference,
    outputs_of,
    positional,
    puts_out_stream,
    some_inputs,
)
from nmflow.torch.orders.naming import Found, known_blocks, orders_in_blocks
from nmflow.torch.orders.order import Kind, Order
from nmflow.torch.orders.problem import WeightMatrices, kept_share, matrices_of, shared_order
from nmflow.torch.orders.report import FoundOrder, OrderedLayer, OrderReport
from nmflow.torch.orders.stream import stream_order
from nmflow.torch.orders.tracing import traced_orders
from nmflow.torch.selecting.layout import Layouts
from nmflow.torch.selecting.select import choose_weights
from nmflow.torch.selecting.wanted import Wanted
from nmflow.torch.solving.problem import Scores, as_scorer


def permute(
    model: Any,
    n: int,
    m: int,
    *,
    inputs: Any = None,
    kinds: Collection[Kind] | None = None,
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    score: ScoreName = "abs",
    scores: Scores = None,
    rounds: int = 4,
    seed: int = 0,
    workers: int | None = None,
) -> OrderReport:
    """Put a model's weights, in place, in orders under which n:m masks keep more.

    The model computes what it computed before, in the same time: only orders are taken that it
    lets through, and its outputs are compared before and after.

    Parameters
    ----------
    model : torch.nn.Module
        Dense. A transformer of a family that is known (BERT, RoBERTa, ELECTRA, DistilBERT, GPT-2,
        Llama, Mistral, Qwen2, Qwen3, Gemma, Gemma 2, ViT, T5), or a network that ``torch.fx``
        traces.
    n, m : int
        Keep n of every m.
    inputs : optional
        A batch that the model's forward takes: a tensor, a tuple or list of arguments, or a mapping
        of keyword arguments. By default random ones of the shape that the model says.
    kinds : collection of str, optional
        Which orders to search; by default all that there are. ``"hidden"``: neurons of an MLP (rows
        of up and gate, columns of down). ``"values"``: channels of each value head, with the output
        projection's columns. ``"queries"``: channels of each query head, with those of its key
        head, unless they are rotary. ``"stream"``: one order of the residual stream; where the
        model puts it out only if named here, and what it puts out is then in that order, which
        neither norms nor products of two such outputs see. ``"channels"``: of convolutional
        networks.
    pattern, include, exclude, layouts
        As for :func:`sparsify`: which weights are to be masked.
    score : {"abs", "square", "raw"}
        As for :func:`nmflow.solve`.
    scores : callable or mapping, optional
        Importance scores instead, as for :func:`sparsify`.
    rounds : int, default 4
        At most.
    seed : int, default 0
        The same seed finds the same orders.
    workers : int, optional
        Threads; the orders do not depend on it.

    Returns
    -------
    OrderReport
        Print it. Its ``undo`` puts everything back.

    Raises
    ------
    NmflowError
        For options that make no sense, a model that can't be followed, one that is sparsified
        already, and outputs that differ by more than 1e-5 of their largest entry. The model is then
        as it was.

    Notes
    -----
    Heads are left in their order among themselves: as whole groups of m they are the same tiles
    wherever they lie, so that nothing is gained. Where m does not divide their size, groups reach
    from one head into the next, and exchange channels within each alone.

    The scores of each weight are scaled so that its mask prunes one in all, and the sum of what all
    masks keep never falls. For the search see :func:`nmflow.permute`.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32)
    ... )
    >>> report = nmflow.torch.permute(model, 2, 4)
    >>> report.kept_after > report.kept_before, report.difference <= 1e-5
    (True, True)
    """
    began = time.perf_counter()
    wanted = Pattern(n, m, pattern)
    _check(wanted, kinds, score, scores, rounds, seed)
    threads = thread_count(workers)
    weights, _ = choose_weights(model, wanted, include, exclude, layouts)
    scorer = as_scorer(scores, [weight.name for weight in weights])
    given = some_inputs(model) if inputs is None else inputs
    before = outputs_of(model, given)
    stays = puts_out_stream(before) and "stream" not in (kinds or ())
    found, refused = _orders(model, given, stays)
    matrices = matrices_of(weights, score, scorer)
    orders, shared = _searched(found, kinds, matrices, m, refused)
    if not orders:
        reasons = "; ".join(f"{name}: {why}" for name, why in refused.items()) or "there is none"
        raise NmflowError(f"no order of this {type(model).__name__} is free: {reasons}")
    search = Search([x for each in matrices for x in each.matrices], shared, wanted, seed, threads)
    search.run(rounds)
    moved = tuple(
        FoundOrder(order.name, order.kind, new, gain)
        for order, new, gain in zip(orders, search.found, search.gains, strict=True)
    )
    layers = _layers(matrices, shared, search, wanted)
    worst = _moved_and_checked(model, orders, search, given, before)
    return OrderReport(
        *(wanted, moved, layers, refused, worst, search.rounds),
        seconds=time.perf_counter() - began,
        _moved=tuple(orders),
    )


def _moved_and_checked(
    model: Any, orders: Sequence[Order], search: Search, inputs: Any, before: Any
) -> float:
    """Put the model in its new orders; the difference of its outputs."""
    done: list[tuple[Order, Any]] = []
    try:
        for order, new in zip(orders, search.found, strict=True):
            order.move(new)
            done.append((order, np.argsort(new)))
        of_stream = [back for order, back in done if order.kind == "stream"]
        worst = difference(before, outputs_of(model, inputs), of_stream)
        if not worst <= TOLERANCE:
            raise NmflowError(
                f"outputs of the permuted model differ by {worst:.1e} of their largest entry, more"
                f" than {TOLERANCE:.0e}: the model is as it was before; leave some kinds of orders"
                f" out, such as kinds=['hidden']"
            )
    except BaseException:
        for order, back in done:
            order.move(back)
        raise
    return worst


def _check(
    pattern: Pattern,
    kinds: Collection[Kind] | None,
    score: ScoreName,
    scores: Scores,
    rounds: int,
    seed: int,
) -> None:
    check_score(score)
    if pattern.name == "unstructured":
        raise NmflowError("pattern 'unstructured' keeps the same in every order: name another one")
    if scores is not None and score != "abs":
        raise NmflowError("scores takes the place of score: leave one of the two out")
    if unlike := set(kinds or ()) - set(get_args(Kind)):
        raise NmflowError(
            f"kinds must be of {', '.join(get_args(Kind))}, got {', '.join(sorted(unlike))}"
        )
    if as_integer("rounds", rounds) < 1 or as_integer("seed", seed) < 0:
        raise NmflowError(f"rounds must be at least 1 and seed at least 0, got {rounds} and {seed}")


def _orders(model: Any, inputs: Any, stream_stays: bool) -> Found:
    """All orders of a model, and why there are no others."""
    blocks = known_blocks(model)
    if not blocks:
        args = positional(model, inputs)
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            return traced_orders(model, args)
        finally:
            for module in training:
                module.training = True
    orders, refused = orders_in_blocks(model, blocks)
    if stream_stays:
        refused["residual stream"] = (
            "it is among the model's outputs, whose order is to stay, unless kinds names it"
        )
        return orders, refused
    try:
        orders.append(stream_order(model, blocks))
    except NmflowError as error:
        refused["residual stream"] = str(error)
    return orders, refused


def _searched(
    found: Sequence[Order],
    kinds: Collection[Kind] | None,
    matrices: Sequence[WeightMatrices],
    m: int,
    refused: dict[str, str],
) -> tuple[list[Order], list[SharedOrder]]:
    """The orders that are wanted and that masks depend on."""
    orders, shared = [], []
    for order in found:
        if kinds is not None and order.kind not in kinds:
            continue
        try:
            shared.append(shared_order(order, matrices, m))
            orders.append(order)
        except NmflowError as error:
            refused[order.name] = str(error)
    return orders, shared


def _layers(
    weights: Sequence[WeightMatrices],
    shared: Sequence[SharedOrder],
    search: Search,
    pattern: Pattern,
) -> tuple[OrderedLayer, ...]:
    followed = {side.matrix for order in shared for side in order.sides}
    layers = []
    for each in weights:
        if followed.isdisjoint(each.numbers):
            continue
        now = [search.matrices[number] for number in each.numbers]
        best = Pattern(pattern.n, pattern.m, "unstructured")
        layers.append(
            OrderedLayer(
                each.weight.name,
                kept_share(each.matrices, pattern),
                kept_share(now, pattern),
                kept_share(each.matrices, best),
            )
        )
    return tuple(layers)
