"""The public call: an optimizer whose parameters train under masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nmflow.errors import MissingExtraError, NmflowError
from nmflow.jax.given import Masks, check_masks
from nmflow.jax.refreshing import Scores
from nmflow.jax.selecting import Layouts, Selection, Wanted
from nmflow.problem.pattern import PatternName
from nmflow.problem.scores import ScoreName, check_score
from nmflow.training.patterns import as_patterns
from nmflow.training.policy import Refresh, as_refresh
from nmflow.training.rules import StraightThrough, as_rule

if TYPE_CHECKING:
    from nmflow.jax.transformation import SparsifyTransformation


def sparsify(
    tx: Any,
    n: int | Mapping[str, tuple[int, int]],
    m: int | None = None,
    *,
    pattern: PatternName = "transposable",
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    rule: str | StraightThrough = "ste",
    refresh: int | Refresh | None = 40,
    score: ScoreName = "abs",
    scores: Scores = None,
    masks: Masks = None,
    keep_zeros: bool = False,
) -> SparsifyTransformation:
    """Let parameters train under exact n:m masks that follow them, all inside ``jit``.

    The optimizer is wrapped: its state then holds the masks, and its ``update`` finds them anew
    when they are due. The model computes with :func:`apply_masks` of the parameters, which stay
    dense, and is exported with :func:`sparse_params`.

    Parameters
    ----------
    tx : optax.GradientTransformation
        All that changes updates: masks are found for the parameters that its updates lead to.
        What repeats or skips updates goes around: ``optax.MultiSteps(sparsify(tx, 4, 8), 4)``,
        ``optax.apply_if_finite(sparsify(tx, 4, 8), 3)``.
    n, m : int
        Keep n of every m. Or, instead of both, a mapping of globs to (n, m), such as
        ``{"*mlp*": (2, 4), "*attention*": (4, 8)}``: the first that matches a parameter's path, or
        its module's, counts, and parameters that none matches stay dense.
    pattern, score
        As for :func:`nmflow.solve`.
    include, exclude : str, callable, or iterable of these, optional
        Which to mask and not to: globs over paths as the report prints them
        (``encoder/Dense_0/kernel``) or over those of modules, or functions of (path, leaf). By
        default all that can be, but for embeddings, heads, norms, routers, adapters, recurrent
        layers and whatever is not called ``kernel`` or ``weight``.
    layouts : mapping, optional
        Axes (out, in) of parameters of your own, by globs: ``{"*/w": (1, 0)}``.
    rule : {"ste", "sr-ste"} or rule object
        What pruned entries learn: :class:`StraightThrough`, or :class:`SRSTE` with its decay.
    refresh : int, Refresh or None, default 40
        Optimizer steps between refreshes, a policy, or None for masks that are found by ``init``
        and frozen. After the last refresh of a policy (``until``) masks are frozen too.
    scores : callable, optional
        Importance scores instead of ``score``: a function of (path, parameter) that is traced,
        and gives floats of the parameter's shape. Negative ones are allowed.
    masks : mapping, callable or "zeros", optional
        Masks to begin with, by path or as a function of (path, parameter) that may give None;
        others are solved. ``"zeros"`` keeps what is not 0, for parameters that are n:m already
        (each group may hold fewer than n). With ``refresh=None`` they stay, which is how to
        fine-tune a pruned model; any other policy moves on from them.
    keep_zeros : bool, default False
        Whether no mask, now or later, keeps what is 0 in the parameters as ``init`` gets them, such
        as those of a model that is sparse already. Tiles that can't be filled without hold at most
        n in each row and column.

    Returns
    -------
    SparsifyTransformation
        An ``optax.GradientTransformationExtraArgs``. Print its ``report(params)``.

    Raises
    ------
    NmflowError
        For options that make no sense; by ``init`` for a glob that matches nothing, naming the
        nearest, for parameters with nothing to mask, and for ``masks`` that are not n:m, naming
        parameter and group (where ``init`` is traced nothing can be counted).
    MissingExtraError
        Without optax.

    Notes
    -----
    *Axes.* A ``kernel`` is (in, out), that of a convolution (height, width, in, out), of any number
    of kernel positions, and of Flax's attention (in, heads, size) or (heads, size, out): tiles lie
    over (out, in), and each kernel position and head has tiles of its own. A ``weight`` is (out,
    in) or (out, in, height, width), as Equinox has it. So the last two axes of HWIO are masked, and
    the first two of OIHW. Grouped convolutions of Flax don't say so: leave them out.

    *Steps.* An update counts as one. Masks are found at step 0 by ``init`` and, where a refresh is
    due, for the parameters as the update leaves them: the masks in the state are those of
    ``nmflow.solve`` for them, bit for bit. Where a parameter is NaN or infinite its mask stays.

    *Frozen* masks get masked gradients, and parameters are exactly 0 where pruned from the first
    update under them on: then ``apply_masks`` changes nothing.

    *SR-STE* adds decay * (1 - mask) * w to the gradient before ``tx`` sees it: clip gradients
    outside, ``optax.chain(optax.clip_by_global_norm(1), sparsify(tx, 4, 8, rule="sr-ste"))``, to
    leave it as it is.

    *Compiling.* Refreshes are compiled into the step, once for each shape of parameter and each n
    that a ramp passes; parameters of one shape are solved together.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor & Soudry, "Accelerated sparse neural training: a provable
    and efficient method to find N:M transposable masks", NeurIPS 2021. For SR-STE see
    :class:`SRSTE`.

    Examples
    --------
    >>> import jax, optax, nmflow.jax
    >>> keys = jax.random.split(jax.random.key(0))
    >>> params = {"up": {"kernel": jax.random.normal(keys[0], (32, 64))},
    ...           "head": {"kernel": jax.random.normal(keys[1], (64, 8))}}
    >>> tx = nmflow.jax.sparsify(optax.adamw(1e-3), 4, 8, refresh=2)
    >>> print(tx.report(params))
    4:8 transposable: 1 sparsified, 1 SKIPPED
      head/kernel   64 x 8  SKIPPED: head (dense unless included)
      up/kernel    32 x 64  sparsified
    2,048 of 2,560 parameters are masked (80 %)
    >>> state = tx.init(params)
    >>> def loss(params, state):
    ...     masked = nmflow.jax.apply_masks(params, state)
    ...     return ((masked["up"]["kernel"] @ masked["head"]["kernel"]) ** 2).mean()
    >>> @jax.jit
    ... def step(params, state):
    ...     updates, state = tx.update(jax.grad(loss)(params, state), state, params)
    ...     return optax.apply_updates(params, updates), state
    >>> for _ in range(4):
    ...     params, state = step(params, state)
    >>> int(nmflow.jax.statistics(state).refreshes)
    3
    >>> tx.certify(params, state)["up/kernel"].gap
    0.0
    """
    check_score(score)
    if scores is not None and score != "abs":
        raise NmflowError("scores takes the place of score: leave one of the two out")
    patterns = as_patterns(n, m, pattern)
    gradient_rule = as_rule(rule)
    policy = None if refresh is None else as_refresh(refresh)
    check_masks(masks, policy)
    try:
        from nmflow.jax.transformation import Plan, SparsifyTransformation
    except ModuleNotFoundError as missing:
        if missing.name != "optax":
            raise
        raise MissingExtraError("nmflow.jax.sparsify", "jax") from None
    selection = Selection(patterns, include, exclude, layouts)
    score = score if scores is None else "raw"
    return SparsifyTransformation(
        tx, Plan(selection, gradient_rule, policy, score, scores, masks, keep_zeros)
    )
