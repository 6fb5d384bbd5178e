"""The one place where the stages meet: weights -> scores -> tiles -> solver -> mask."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import on_accelerator
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.tiling import Window, windows
from nmflow.problem.workers import run_all, thread_count
from nmflow.solvers import registry
from nmflow.solvers.interface import Method

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
    workers: int | None = ...,
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
    workers: int | None = ...,
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
    workers: int | None = ...,
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
    workers: int | None = None,
) -> Any:
    """The n:m mask that keeps the largest total score.

    Every m x m tile of the result keeps exactly n entries in each row and each column, so both
    the weights and their transpose obey n:m sparsity. Where m does not divide the shape, each
    group of a partial tile keeps at most n.

    Parameters
    ----------
    weights : array_like, at least two dimensions
        numpy, PyTorch, JAX or CuPy array, or anything with ``__dlpack__`` or ``__array__``; of
        dtype float16, bfloat16, float32, float64 or integer. Never modified.
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
    workers : int, optional
        Threads; by default as many as there are cores. The mask does not depend on it.

    Returns
    -------
    mask : bool array
        Of the framework, shape and device of ``weights``; True where an entry is kept.

    Raises
    ------
    NmflowError
        For weights, n, m, method or options that make no sense, saying what and where.

    Notes
    -----
    With scores s, a tile's mask x solves the integral linear programme::

        maximise    sum_ij s_ij x_ij
        subject to  sum_j x_ij = n for all i,  sum_i x_ij = n for all j,  0 <= x_ij <= 1,

    a min-cost flow on the complete bipartite graph of rows and columns (Hubara et al.,
    "Accelerated Sparse Neural Training", NeurIPS 2021). :func:`nmflow.certify` proves
    a mask optimal by the programme's dual.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> weights = np.random.default_rng(0).standard_normal((8, 8))
    >>> mask = nmflow.solve(weights, 2, 4)
    >>> mask.sum(axis=0), mask.sum(axis=1)
    (array([4, 4, 4, 4, 4, 4, 4, 4]), array([4, 4, 4, 4, 4, 4, 4, 4]))
    """
    chosen = registry.find_method(method)
    wanted = Pattern(n, m, pattern)
    threads = thread_count(workers)
    if wanted.name != "transposable" and not chosen.exact:
        raise NmflowError(
            f"pattern {wanted.name!r} is solved exactly by selection, and method {chosen.name!r}"
            " is approximate: leave the method out, or use pattern='transposable'"
        )
    if chosen.name == "flow" and wanted.name == "transposable" and on_accelerator(weights):
        from nmflow.device.solve import solve_counted

        if (found := solve_counted(weights, wanted, axes, score)) is not None:
            return found[0]
    batch = MatrixBatch.of(weights, wanted, axes, score)
    mask = np.empty(batch.shape, np.bool_)
    if wanted.name == "transposable":
        _solve_tiles(batch, mask, chosen, wanted, threads)
    else:
        from nmflow.solvers.selection import select_mask

        for index in range(batch.shape[0]):
            mask[index] = select_mask(batch.scores((slice(index, index + 1),))[0], wanted)
    return batch.restore(mask)


def _solve_tiles(
    batch: MatrixBatch, mask: NDArray[np.bool_], method: Method, pattern: Pattern, threads: int
) -> None:
    solve_window = method.window_solver()

    def work(window: Window) -> None:
        solve_window(batch, window, mask, pattern.n, method)

    run_all(work, windows(batch.shape, pattern.m, method.window_entries), threads)
