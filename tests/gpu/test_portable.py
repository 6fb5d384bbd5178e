"""The portable form finds the engine's mask, bit for bit, and leaves nothing to the host."""

import numpy as np
import pytest
from samples import PATTERNS, side_by_side, tiles_of_every_kind
from tiles import KINDS, cut_and_join, seeded

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
from nmflow.device import levels, paths, tiles  # noqa: E402
from nmflow.device import solve as device  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402


def counted(weights, n, m, score="abs"):
    tensor = weights if isinstance(weights, torch.Tensor) else torch.from_numpy(weights)
    return device.solve_counted(tensor, Pattern(n, m), (-2, -1), score)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_masks_are_the_engines(n, m):
    """1,440 tiles of each pattern, 80 of each kind; half as many of the largest: 10,800 in all."""
    each = 80 if m < 32 else 40
    weights = side_by_side(tiles_of_every_kind(n, m, np.float32, each), 40)
    mask, counts = counted(weights, n, m)
    assert counts.tiles == each * len(KINDS)
    assert np.array_equal(mask.numpy(), nmflow.solve(weights, n, m))


FLOATS = [
    (n, m, dtype) for n, m in ((2, 4), (4, 8)) for dtype in ("float16", "bfloat16", "float64")
]


@pytest.mark.parametrize(("n", "m", "dtype"), [*FLOATS, (8, 16, "float64")])
def test_every_float_is_read_exactly(n, m, dtype):
    numpy_dtype = {"float16": np.float16, "bfloat16": np.float32}.get(dtype, np.float64)
    weights = side_by_side(tiles_of_every_kind(n, m, numpy_dtype, each=8), 12)
    tensor = torch.from_numpy(weights).to(getattr(torch, dtype))
    # What bfloat16 rounds up to infinity.
    tensor = torch.where(torch.isfinite(tensor), tensor, 1.0)
    mask, counts = counted(tensor, n, m)
    assert torch.equal(mask, nmflow.solve(tensor, n, m))
    assert counts.host == 0


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_integers(dtype, score, rng):
    high = 2 if dtype is np.bool_ else np.iinfo(dtype).max
    weights = rng.integers(0, high, (40, 64)).astype(dtype)
    weights[:, ::2] = rng.integers(0, min(high, 3), (40, 32)).astype(dtype)
    if np.issubdtype(dtype, np.signedinteger):
        weights[::3] *= -1
        weights[0, 0] = np.iinfo(dtype).min
    mask, _ = counted(weights, 4, 8, score)
    assert np.array_equal(mask.numpy(), nmflow.solve(weights, 4, 8, score=score))


@pytest.mark.parametrize("score", ["abs", "square", "raw"])
@pytest.mark.parametrize("kind", ["gaussian", "small integers", "40 decades", "zero", "rank one"])
def test_ragged_edges_and_scores(kind, score):
    for n, m in [(2, 4), (4, 8), (5, 7)]:
        weights = cut_and_join(kind, seeded(kind, n, m), m).astype(np.float32)
        weights[weights > 1.5] *= -1
        for cut in [(m - 1, 1), (1, m - 2), (0, 3)]:
            part = np.ascontiguousarray(weights[cut[0] :, cut[1] :])
            mask, _ = counted(part, n, m, score)
            assert np.array_equal(mask.numpy(), nmflow.solve(part, n, m, score=score)), (n, m, cut)


def test_many_partial_tiles(rng):
    """Of which some give units up to the slack node, and some take them from it."""
    for n, m, shape in [(4, 8, (600, 5, 7)), (2, 4, (600, 3, 3)), (3, 4, (800, 4, 3))]:
        weights = rng.integers(-3, 6, shape).astype(np.float32)
        weights[::2] += rng.standard_normal(weights[::2].shape).astype(np.float32)
        mask, counts = counted(weights, n, m, "raw")
        assert np.array_equal(mask.numpy(), nmflow.solve(weights, n, m, score="raw"))
        assert counts.host == 0


def test_paths_mend_prices_that_are_far_too_high(rng):
    """Columns that pay for nothing take units from the slack node, and everything else moves."""
    m, n, count = 8, 3, 200
    q = torch.from_numpy(rng.integers(0, 50, (count, m, m)))
    u = torch.zeros((count, m), dtype=torch.int64)
    v = torch.from_numpy(rng.integers(0, 60, (count, m)))
    some = tiles.Tiles(torch.arange(count), q, None, u, v)
    paths.start(some, n, full=False)
    assert ((some.mask.sum(1) < n) & (some.v > 0)).sum((0, 1)) > count
    paths.augment(some, n, full=False)
    reduced = some.reduced
    assert (reduced[some.mask] >= 0).all()
    assert (reduced[~some.mask] <= 0).all()
    for price, held in [(some.u, some.mask.sum(2)), (some.v, some.mask.sum(1))]:
        assert (price >= 0).all()
        assert (held <= n).all()
        assert (held[price > 0] == n).all()


def test_every_layout_and_batch(rng):
    weights = torch.from_numpy(rng.standard_normal((3, 24, 2, 20)).astype(np.float32))
    for tensor, axes in [
        (weights, (1, 3)),
        (weights, (3, 0)),
        (weights.transpose(1, 3), (-2, 1)),
        (weights[:, ::2, 0, 1:], (-2, -1)),
        (weights[:0], (1, 3)),
        (weights[:, :0], (1, 3)),
    ]:
        mask = device.solve(tensor, 2, 4, axes=axes)
        assert mask.is_contiguous()
        assert torch.equal(mask, nmflow.solve(tensor, 2, 4, axes=axes))


def test_n_that_constrains_nothing(rng):
    weights = rng.standard_normal((10, 18)).astype(np.float32)
    for n, m in [(4, 4), (2, 4), (1, 1)]:
        mask, _ = counted(weights, n, m, "raw")
        assert np.array_equal(mask.numpy(), nmflow.solve(weights, n, m, score="raw"))


def test_what_ties_beyond_the_tables_is_solved_on_the_host_and_counted(monkeypatch, rng):
    monkeypatch.setattr(levels, "TABLES", 0)
    weights = rng.integers(0, 2, (64, 64)).astype(np.float32) * np.float32(0.1)
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.from_numpy(weights).to(dtype)
        mask, counts = counted(tensor, 4, 8)
        assert 0 < counts.host <= counts.open <= counts.tiles == 64
        assert torch.equal(mask, nmflow.solve(tensor, 4, 8))


def test_few_tiles_are_open(rng):
    """What the ascent leaves costs more: the shares that its rounds are chosen for."""
    for n, m, most in [(2, 4, 0.12), (4, 8, 0.05), (8, 16, 0.08), (16, 32, 0.25)]:
        _, counts = counted(rng.standard_normal((512, 512)).astype(np.float32), n, m)
        assert counts.open < most * counts.tiles, (n, m, counts)


def test_solve_goes_there_for_tensors_of_an_accelerator(monkeypatch, rng):
    seen, solve_counted = [], device.solve_counted

    def spy(*args):
        seen.append(args)
        return solve_counted(*args)

    module = __import__("sys").modules["nmflow.solve"]
    monkeypatch.setattr("nmflow.device.solve.solve_counted", spy)
    monkeypatch.setattr(
        module, "on_accelerator", lambda array: isinstance(array, torch.Tensor) and "torch"
    )
    weights = torch.from_numpy(rng.standard_normal((16, 24)).astype(np.float32))
    expected = nmflow.solve(weights.numpy(), 2, 4)
    assert torch.equal(nmflow.solve(weights, 2, 4), torch.from_numpy(expected))
    assert len(seen) == 1
    nmflow.solve(weights, 2, 4, pattern="rows")
    nmflow.solve(weights, 2, 4, "greedy")
    assert len(seen) == 1
    # What it can't do goes through the host, and so do errors.
    wide = weights.to(torch.int64)
    assert torch.equal(nmflow.solve(wide, 2, 4), nmflow.solve(wide.to(torch.int32), 2, 4))
    weights[3, 4] = float("nan")
    with pytest.raises(nmflow.NmflowError, match=r"nan at index \(3, 4\)"):
        nmflow.solve(weights, 2, 4)
    with pytest.raises(nmflow.NmflowError, match="need at least 2 dimensions"):
        nmflow.solve(weights[0], 2, 4)
    with pytest.raises(nmflow.NmflowError, match="overflows"):
        nmflow.solve(torch.full((4, 4), 1e300, dtype=torch.float64), 2, 4, score="square")


def test_cpu_tensors_keep_the_engine(monkeypatch, rng):
    monkeypatch.setattr("nmflow.device.solve.solve_counted", None)
    nmflow.solve(torch.from_numpy(rng.standard_normal((16, 24))), 2, 4)


def test_direct_calls_say_what_they_cannot_do():
    with pytest.raises(nmflow.NmflowError, match=r"\(8, 8\) and dtype torch.int64 for 2:4"):
        device.solve(torch.zeros(8, 8, dtype=torch.int64), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="unknown score"):
        device.solve(torch.zeros(8, 8), 2, 4, score="cube")
