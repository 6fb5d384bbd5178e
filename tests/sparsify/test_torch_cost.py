"""What a refresh and a forward pass cost, and what they share memory with."""

import sys
import tracemalloc

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, masked_of  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


class TestCostOfARefresh:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
    @pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
    def test_memory(self, dtype, n, m):
        """numpy's memory, which is what masks are found in, stays below half the weight's."""
        layer = nn.Linear(2048, 2048, bias=False, dtype=dtype)
        handle = nmflow.torch.sparsify(layer, n, m, workers=1)
        with torch.no_grad():
            dense_of(layer).add_(torch.randn(2048, 2048, dtype=dtype), alpha=1e-3)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        handle.refresh()
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert peak < layer.weight.numel() * layer.weight.element_size() / 2

    @pytest.mark.parametrize("pattern", ["transposable", "rows", "columns", "unstructured"])
    @pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
    def test_blocks_change_nothing(self, monkeypatch, pattern, n, m):
        """Weights larger than a block: the masks and flips of a solve, and the way back."""
        monkeypatch.setattr(nmflow.torch.solving.solver, "_BLOCK", 1000)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(50, 70), nn.Conv2d(20, 40, 3, groups=2), nn.Linear(9, 9))
        handle = nmflow.torch.sparsify(model, n, m, pattern=pattern, workers=1)
        before = [masked_of(layer).mask.clone() for layer in model]
        with torch.no_grad():
            for layer in model:
                dense_of(layer).copy_(torch.randn_like(layer.weight))
            dense_of(model[2])[8, 8] = torch.nan
        with pytest.raises(nmflow.NmflowError, match=r"2\.weight"):
            handle.refresh()
        after = [masked_of(layer).mask for layer in model]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        with torch.no_grad():
            dense_of(model[2])[8, 8] = 0
        statistics = handle.refresh()
        changes = zip(before, after, statistics.layers.values(), strict=True)
        assert all(one.sad == (a != b).sum() for a, b, one in changes)
        expected = nmflow.solve(dense_of(model[0]).detach(), n, m, pattern=pattern)
        assert torch.equal(masked_of(model[0]).mask, expected)

    def test_flips_where_others_wrote_the_mask(self):
        layer = nn.Linear(64, 64)
        handle = nmflow.torch.sparsify(layer, 4, 8)
        assert handle.refresh().sad == 0
        with torch.no_grad():
            masked_of(layer).mask[0, :4] = ~masked_of(layer).mask[0, :4]
        assert handle.refresh().sad == 4
        assert handle.certify()["weight"].optimal

    def test_the_masked_weight_shares_memory_with_nothing_alive(self):
        layer = nn.Linear(8, 8)
        nmflow.torch.sparsify(layer, 2, 4)
        first = layer.weight
        values = first.detach().clone()
        with torch.no_grad():
            dense_of(layer).add_(1)
        second = layer.weight
        assert torch.equal(first, values)
        assert not torch.equal(first, second)

    def test_a_backward_pass_uses_the_weight_of_its_forward_pass(self):
        layer = nn.Linear(8, 8, bias=False)
        nmflow.torch.sparsify(layer, 2, 4)
        x = torch.ones(1, 8, requires_grad=True)
        expected = layer.weight.detach().sum(0)
        y = layer(x)
        with torch.no_grad():
            dense_of(layer).add_(1)
        for _ in range(3):
            layer(x.detach()).sum().backward()
        y.sum().backward()
        torch.testing.assert_close(x.grad[0], expected)


def test_importing_the_adapter_loads_nothing_of_frameworks_beside_torch():
    names = {"transformers", "lightning", "peft", "accelerate", "diffusers", "jax"}
    import subprocess

    code = f"import sys, nmflow.torch; print(sorted({names!r} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "[]"


def test_an_interrupt_while_masks_change_leaves_each_whole(monkeypatch):
    """The first has changed; the others, written ahead or not, are as before."""
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)))
    handle = nmflow.torch.sparsify(model, 2, 4, workers=1)
    before = [masked_of(layer).mask.clone() for layer in model]
    with torch.no_grad():
        for layer in model:
            dense_of(layer).copy_(torch.randn(16, 16))
    accept, calls = nmflow.torch.solving.layer.Change.accept, []

    def interrupted(change):
        calls.append(change)
        if len(calls) == 2:
            raise KeyboardInterrupt
        accept(change)

    monkeypatch.setattr(nmflow.torch.solving.layer.Change, "accept", interrupted)
    with pytest.raises(KeyboardInterrupt):
        handle.refresh()
    changed = [not torch.equal(a, masked_of(b).mask) for a, b in zip(before, model, strict=True)]
    assert changed == [True, False, False]


def test_a_pass_in_inference_mode_leaves_nothing_that_training_trips_over():
    layer = nn.Linear(8, 8)
    nmflow.torch.sparsify(layer, 2, 4)
    with torch.inference_mode(), torch.enable_grad():
        layer(torch.ones(1, 8))
    layer(torch.ones(1, 8)).sum().backward()
    assert dense_of(layer).grad is not None
