"""The one place where the stages meet: weights -> scores -> tiles -> solver -> mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from nmflow.device.dlpack import borrowed
from nmflow.errors import NmflowError
from nmflow.problem.arrays import on_accelerator
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.tiling import Window, windows
from nmflow.problem.workers import run_or_raise_first, thread_count
from nmflow.sharded.whole import masks_of_pieces, pieces_of
from nmflow.solvers import registry
from nmflow.solvers.interface import Method
from nmflow.units.batch import batch_in_units
from nmflow.units.constraints import constraints_in_units
from nmflow.units.unit import ENTRY, as_unit

Mask_co = TypeVar("Mask_co", covariant=True)


class Detachable(Protocol[Mask_co]):
    """A tensor, perhaps a parameter, to type checkers: its mask is what detaching it gives."""

    def detach(self) -> Mask_co:
        """The values alone."""
        ...


def methods() -> tuple[Method, ...]:
    """All methods, with what each guarantees.

    Returns
    -------
    tuple of Method
        Each with ``name``, ``exact``, ``guarantee``, ``complexity``, ``source`` and ``extra``.
    """
    return tuple(registry.METHODS.values())


@overload
def solve(
    weights: Detachable[Mask_co],
    n: int,
    m: int,
    method: str | Method = ...,
    *,
    pattern: PatternName = ...,
    axes: tuple[int, int] = ...,
    score: ScoreName = ...,
    columns: tuple[int, int] | None = ...,
    within: Any = ...,
    keep: Any = ...,
    at_most: bool = ...,
    workers: int | None = ...,
    unit: tuple[int, int] = ...,
) -> Mask_co: ...


@overload
def solve(
    weights: NDArray[Any],
    n: int,
    m: int,
    method: str | Method = ...,
    *,
    pattern: PatternName = ...,
    axes: tuple[int, int] = ...,
    score: ScoreName = ...,
    columns: tuple[int, int] | None = ...,
    within: Any = ...,
    keep: Any = ...,
    at_most: bool = ...,
    workers: int | None = ...,
    unit: tuple[int, int] = ...,
) -> NDArray[np.bool_]: ...


@overload
def solve(
    weights: Any,
    n: int,
    m: int,
    method: str | Method = ...,
    *,
    pattern: PatternName = ...,
    axes: tuple[int, int] = ...,
    score: ScoreName = ...,
    columns: tuple[int, int] | None = ...,
    within: Any = ...,
    keep: Any = ...,
    at_most: bool = ...,
    workers: int | None = ...,
    unit: tuple[int, int] = ...,
) -> Any: ...


@standard_arithmetic
def solve(
    weights: Any,
    n: int,
    m: int,
    method: str | Method = "flow",
    *,
    pattern: PatternName = "transposable",
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
    columns: tuple[int, int] | None = None,
    within: Any = None,
    keep: Any = None,
    at_most: bool = False,
    workers: int | None = None,
    unit: tuple[int, int] = (1, 1),
) -> Any:
    """The n:m mask that keeps the largest total score.

    Every m x m tile of the result keeps exactly n entries in each row and each column, so both
    the weights and their transpose obey n:m sparsity. Where m does not divide the shape, each
    group of a partial tile keeps at most n.

    Parameters
    ----------
    weights : array_like, at least two dimensions
        numpy, PyTorch, JAX or CuPy array, or anything with ``__dlpack__`` (on a GPU if PyTorch
        reads it) or ``__array__``; float16, bfloat16, float32, float64 or integer. Never modified.
    n, m : int
        Keep n of every m, 1 <= n <= m. (n counts what is kept; Hubara et al. count zeros.)
    method : str or Method, default "flow"
        A name from :func:`methods`, or a method object with options, such as ``Flow()``.
    pattern : {"transposable", "rows", "columns", "unstructured"}
        ``rows`` and ``columns`` are n:m along the last and the first of ``axes`` alone;
        ``unstructured`` keeps round(n/m * size) of each matrix. Those three are solved exactly by
        selection, the earlier of equal scores first, whichever exact method is named.
    axes : pair of int, default (-2, -1)
        The two axes that span the matrices; all others are batch. Convolution weights
        (out, in, height, width) take ``axes=(0, 1)``.
    score : {"abs", "square", "raw"}
        ``|w|`` (the paper's), ``w**2``, or the values as importance scores, negative ones allowed.
    columns : (int, int), optional
        n':m' along columns, where it is not n:m there too: ``solve(weights, 2, 4, columns=(4, 8))``
        is 2:4 along rows and 4:8 along columns, in tiles of m' x m. Both ratios must be equal.
    within : bool array_like of the shape of ``weights``, optional
        What may be kept, such as what a sparser model holds.
    keep : bool array_like of the shape of ``weights``, optional
        What must be kept.
    at_most : bool
        What becomes of a tile that has no mask with exactly n in every row and column, because of
        ``within`` and ``keep``, or because the ratios of ``columns`` differ: it raises, or it keeps
        at most n, and no negative score that need not be kept, as partial tiles do.
    workers : int, optional
        Threads; by default as many as there are cores. The mask does not depend on it.
    unit : pair of int, default (1, 1)
        Rows and columns (along the first and the last of ``axes``) of blocks of entries that are
        kept or dropped whole; n and m count such units, and matrices begin with one. ``solve(w, 2,
        4, unit=(2, 2))`` is pair-wise 4:8 both ways, ``unit=(1, 2)`` pair-wise 4:8 along rows and
        2:4 along columns. What takes which: :mod:`nmflow.hardware`.

    Returns
    -------
    mask : bool array
        Of the framework, shape and device of ``weights``; True where an entry is kept. Lazy, or
        sharded, where they are.

    Raises
    ------
    NmflowError
        For what makes no sense, saying what and where. Constraints are for ``flow`` alone.

    Notes
    -----
    With scores s, a tile's mask x solves the integral linear programme::

        maximise    sum_ij s_ij x_ij
        subject to  sum_j x_ij = n for all i,  sum_i x_ij = n for all j,  0 <= x_ij <= 1,

    a min-cost flow on the complete bipartite graph of rows and columns (Hubara et al.,
    "Accelerated Sparse Neural Training", NeurIPS 2021). ``within`` lowers upper bounds to 0 and
    ``keep`` raises lower bounds to 1, with which the flow stays integral. :func:`nmflow.certify`
    proves a mask optimal by the programme's dual.

    A unit's score is the sum of its entries' scores, and the mask that of the sums, ties included.
    Sums are exact wherever float64 holds them, which it does for float16, bfloat16 and float32
    weights of a usual range, and else the float64 nearest to the exact sum; of integers always
    exact, in 64 bits. Units at the lower and right edge may be partial, and score what they have.
    They take one more pass over the weights and 8 bytes each.

    Arrays in pieces are solved piece by piece, and the mask is that of the whole array. Of a Dask
    array it is lazy, in the same chunks (``workers`` threads for each, by default one); wrong
    options raise at once, NaN when it is computed, with its index in the whole. Chunks that cut
    tiles are moved along the two axes; ``"unstructured"`` makes those one chunk each, so that a
    matrix has to fit a worker's memory. Of a DTensor it is one of the same placements: all
    processes of the mesh call together, rows of tiles that lie across shards are exchanged, and an
    error of one is raised by all. ``Partial`` values are refused.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> weights = np.random.default_rng(0).standard_normal((8, 8))
    >>> mask = nmflow.solve(weights, 2, 4)
    >>> mask.sum(axis=0), mask.sum(axis=1)
    (array([4, 4, 4, 4, 4, 4, 4, 4]), array([4, 4, 4, 4, 4, 4, 4, 4]))
    """
    chosen = registry.find_method(method)
    wanted = Pattern(n, m, pattern, columns, at_most)
    threads = thread_count(workers)
    if wanted.name != "transposable" and not chosen.exact:
        raise NmflowError(
            f"pattern {wanted.name!r} is solved exactly by selection, and method {chosen.name!r}"
            " is approximate: leave the method out, or use pattern='transposable'"
        )
    block = as_unit(unit)
    if (pieces := pieces_of(weights)) is not None:
        options = {"axes": axes, "score": score, "workers": workers, "unit": block}
        return masks_of_pieces(pieces, solve, wanted, chosen, within, keep, options)
    weights, back = borrowed(weights)
    framework = on_accelerator(weights) or ""
    plain = within is None and keep is None and wanted.columns is None and block == ENTRY
    if plain and chosen.name == "flow" and framework in _SOLVERS_THERE:
        found = _SOLVERS_THERE[framework]()(weights, wanted, axes, score)
        if found is not None:
            return back(found)
    entries = MatrixBatch.of(weights, wanted, axes, score)
    constraints = constraints_in_units(Constraints.of(within, keep, entries), entries, block)
    batch = batch_in_units(entries, block, threads)
    mask = np.empty(batch.shape, np.bool_)
    if wanted.name == "transposable":
        _solve_tiles(batch, mask, chosen, constraints, threads)
    elif constraints is None:
        from nmflow.solvers.selection import select_mask

        for index in range(batch.shape[0]):
            mask[index] = select_mask(batch.scores((slice(index, index + 1),))[0], wanted)
    else:
        from nmflow.solvers.constrained_selection import select_within

        for index in range(batch.shape[0]):
            mask[index] = select_within(batch, index, constraints)
    return back(batch.restore(mask))


def _torch_solver() -> _SolverThere:
    from nmflow.device.solve import solve_there

    return solve_there


def _jax_solver() -> _SolverThere:
    from nmflow.lax.solve import solve_there

    return solve_there


_SolverThere = Callable[[Any, Pattern, Any, ScoreName], Any]
"""Weights that are not in host memory -> their mask; None for what has to go through the host."""
_SOLVERS_THERE: dict[str, Callable[[], _SolverThere]] = {
    "torch": _torch_solver,
    "jax": _jax_solver,
}


def _solve_tiles(
    batch: MatrixBatch,
    mask: NDArray[np.bool_],
    method: Method,
    constraints: Constraints | None,
    threads: int,
) -> None:
    pattern = batch.pattern
    if constraints is None and pattern.columns is None:
        solve_window = method.window_solver()

        def work(window: Window) -> None:
            solve_window(batch, window, mask, pattern.n, method)
    else:
        solve_constrained_window = method.constrained_solver()

        def work(window: Window) -> None:
            solve_constrained_window(batch, window, mask, constraints)

    every = windows(batch.shape, pattern.tile, method.window_entries)
    run_or_raise_first(work, every, threads)
