"""On a GPU: the engine's masks, on any stream and in graphs (``make test-gpu``)."""

import numpy as np
import pytest
from samples import PATTERNS, side_by_side, tiles_of_every_kind

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.device import kernels  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_masks_of_a_hundred_thousand_tiles(n, m, dtype):
    random = np.random.default_rng(m).standard_normal((320 * m, 320 * m)).astype(np.float32)
    odd = side_by_side(tiles_of_every_kind(n, m, np.float16, each=320), 320)
    weights = torch.from_numpy(np.concatenate([random, odd.astype(np.float32)]))
    weights = weights.to(getattr(torch, dtype))[: -m // 2]
    weights = torch.where(torch.isfinite(weights), weights, 1.0)
    assert torch.equal(nmflow.solve(weights.cuda(), n, m).cpu(), nmflow.solve(weights, n, m))


def test_kernels_are_used_and_captured_in_a_graph():
    weights = torch.randn(1, 256, 256, device="cuda")
    assert kernels.solve_by_kernels(weights, Pattern(8, 16), "abs") is not None
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mask, _ = kernels.solve_by_kernels(weights, Pattern(8, 16), "abs")
    weights.copy_(torch.randn_like(weights))
    graph.replay()
    assert torch.equal(mask.cpu(), nmflow.solve(weights.cpu(), 8, 16))


def test_other_streams_and_compiled_functions():
    weights = torch.randn(512, 512, device="cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        mask = nmflow.solve(weights, 4, 8)
        assert torch.equal(mask.cpu(), nmflow.solve(weights.cpu(), 4, 8))


def test_models_are_refreshed_without_waiting():
    model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(40))).cuda()
    handle = nmflow.torch.sparsify(model, 8, 16, refresh=1)
    for _ in range(3):
        with torch.no_grad():
            for layer in model:
                weight = layer.parametrizations.weight.original
                weight.add_(torch.randn_like(weight), alpha=1e-3)
        torch.cuda.set_sync_debug_mode("error")
        try:
            statistics = handle.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert statistics.layers["0.weight"].sad > 0
        for layer in model:
            dense = layer.parametrizations.weight.original.detach().cpu()
            mask = layer.parametrizations.weight[0].mask.cpu()
            assert torch.equal(mask, nmflow.solve(dense, 8, 16))


def test_trackers_leave_everything_there():
    weights = torch.randn(260, 512, device="cuda")
    tracker = nmflow.Tracker(weights.shape, 8, 16)
    before = torch.zeros_like(weights, dtype=torch.bool)
    for moved in (0, 1e-3, 1e-3):
        weights += moved * torch.randn_like(weights)
        mask, update = tracker.update(weights)
        assert mask.is_cuda
        assert torch.equal(mask.cpu(), nmflow.solve(weights.cpu(), 8, 16))
        assert update.flipped == int((mask != before).sum())
        before = mask
    assert update.at_once > update.tiles / 2
    assert (tracker.mask == mask.cpu().numpy()).all()
