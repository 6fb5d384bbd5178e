"""Masks and scores that users bring along, several patterns at once, and what a refresh costs."""

import sys
import threading
import tracemalloc
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import Refresh, optimizers  # noqa: E402


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))


def masked_of(layer):
    return layer.parametrizations.weight[0]


def dense_of(layer):
    return layer.parametrizations.weight.original


def raw_mask(scores, n=2, m=4):
    return nmflow.solve(scores, n, m, score="raw")


class TestScores:
    def test_a_function_is_called_at_each_refresh(self):
        model = net()
        norms = {"0.weight": torch.rand(8), "2.weight": torch.rand(16)}
        called = []

        def wanda(name, weight):
            called.append(name)
            assert not weight.requires_grad
            return weight.abs() * norms[name]

        handle = nmflow.torch.sparsify(model, 2, 4, scores=wanda, refresh=1, kept_scores=True)
        for step in range(3):
            for layer, name in ((model[0], "0.weight"), (model[2], "2.weight")):
                expected = raw_mask(dense_of(layer).detach().abs() * norms[name])
                assert torch.equal(masked_of(layer).mask, expected), (step, name)
            with torch.no_grad():
                dense_of(model[0]).copy_(torch.randn(16, 8))
            norms["2.weight"] = torch.rand(16)
            handle.step()
        assert called == ["0.weight", "2.weight"] * 4
        certificates = handle.certify()
        assert all(certificate.optimal for certificate in certificates.values())
        shares = handle.kept_shares()
        last = handle.history[-1].layers
        for name, certificate in certificates.items():
            assert last[name].kept_score == pytest.approx(certificate.value)
            assert shares[name] == pytest.approx(last[name].kept_share)

    def test_a_function_is_called_by_the_calling_thread(self):
        """Large weights are solved by several threads otherwise."""
        model, threads = nn.Sequential(*(nn.Linear(600, 600) for _ in range(3))), set()

        def scores(name, weight):
            threads.add(threading.get_ident())
            return weight.square()

        nmflow.torch.sparsify(model, 2, 4, scores=scores, workers=4)
        assert threads == {threading.get_ident()}

    def test_negative_scores_of_a_table(self):
        scores = torch.randn(8, 8)
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4, scores={"weight": scores.numpy()})
        assert torch.equal(masked_of(layer).mask, raw_mask(scores))
        assert "score of the user" in handle.state_dict()["problem"]["weight"]

    def test_copies_solve_by_the_same_scores(self):
        scores = torch.randn(8, 8)
        layer = nn.Linear(8, 8)
        nmflow.torch.sparsify(layer, 2, 4, scores={"weight": scores})
        expected = masked_of(layer).mask.clone()
        with torch.no_grad():
            masked_of(layer).mask.fill_(False)
        nmflow.torch.refresh(layer)
        assert torch.equal(masked_of(layer).mask, expected)

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            (lambda name, w: w[0], r"weight: scores of weight: .* shape \(8, 8\), got \(8,\)"),
            (lambda name, w: 3, r"expected a tensor of shape \(8, 8\), got int"),
            (lambda name, w: w / 0, r"weight: scores of shape \(8, 8\).*inf at index \(0, 0\)"),
            (lambda name, w: w * 1j, "weight: .*complex"),
            ({"wait": torch.ones(8, 8)}, "scores must have one tensor.* wait, weight$"),
        ],
    )
    def test_bad_ones(self, scores, message):
        layer = nn.Linear(8, 8)
        with pytest.raises(nmflow.NmflowError, match=message):
            nmflow.torch.sparsify(layer, 2, 4, scores=scores)
        assert not hasattr(layer, "parametrizations")

    def test_one_of_two_kinds_of_scores(self):
        with pytest.raises(nmflow.NmflowError, match="leave one of the two out"):
            nmflow.torch.sparsify(net(), 2, 4, scores={}, score="square")


class TestGivenMasks:
    def test_fixed(self):
        model = net()
        masks = {"0.weight": raw_mask(torch.randn(16, 8))}
        handle = nmflow.torch.sparsify(model, 2, 4, masks=masks, refresh=None)
        assert handle.frozen
        assert torch.equal(masked_of(model[0]).mask, masks["0.weight"])
        expected = nmflow.solve(dense_of(model[2]).detach(), 2, 4)
        assert torch.equal(masked_of(model[2]).mask, expected)
        assert list(handle.history[0].layers) == ["2.weight"]
        handle.bake()

    def test_of_a_function_until_the_first_refresh(self):
        layer = nn.Linear(8, 8)
        first = raw_mask(torch.randn(8, 8))
        handle = nmflow.torch.sparsify(layer, 2, 4, masks=lambda name, w: first, refresh=2)
        assert handle.step() is None
        assert torch.equal(masked_of(layer).mask, first)
        assert handle.step().sad > 0
        assert handle.certify()["weight"].optimal

    def test_sparser_than_asked(self):
        layer = nn.Linear(8, 8)
        mask = torch.zeros(8, 8, dtype=torch.bool)
        nmflow.torch.sparsify(layer, 2, 4, masks={"weight": mask}, refresh=None).bake()
        assert not layer.weight.any()

    @pytest.mark.parametrize(
        ("masks", "message"),
        [
            ({"0": torch.ones(2)}, "masks for no weight that is masked: 0; .* such as weight"),
            ({"weight": torch.ones(8, 4, dtype=torch.bool)}, r"of shape \(8, 8\), got torch.bool"),
            ({"weight": torch.ones(8, 8)}, "expected a bool tensor .* got torch.float32"),
            ({"weight": torch.ones(8, 8) > 0}, "weight is not 2:4 transposable: 16 row groups"),
        ],
    )
    def test_bad_ones(self, masks, message):
        layer = nn.Linear(8, 8)
        with pytest.raises(nmflow.NmflowError, match=message):
            nmflow.torch.sparsify(layer, 2, 4, masks=masks)
        assert not hasattr(layer, "parametrizations")


class TestManyPatterns:
    def test_by_name(self):
        model = nn.ModuleDict({"mlp": net(), "attention": nn.Linear(16, 16), "rest": net()})
        patterns = {"mlp.0*": (1, 4), "mlp*": (2, 4), "attention.weight": (4, 8)}
        handle = nmflow.torch.sparsify(model, patterns, refresh=1)
        held = {name: mask.sum(1).unique().tolist() for name, mask in model.named_buffers()}
        assert list(held.values()) == [[2], [8], [8]]
        certificates = handle.certify()
        assert {name: str(each.pattern) for name, each in certificates.items()} == {
            "mlp.0.weight": "1:4 transposable",
            "mlp.2.weight": "2:4 transposable",
            "attention.weight": "4:8 transposable",
        }
        statistics = handle.step()
        assert statistics.patterns == ("1:4", "2:4", "4:8")
        assert (statistics.n, statistics.m) == (None, None)
        assert "no pattern is given" in str(handle.report)

    def test_ramps_each_to_its_own(self):
        patterns = {"0": (1, 4), "2": (4, 8)}
        handle = nmflow.torch.sparsify(net(), patterns, refresh=Refresh(every=1, ramp=3))
        stages = []
        for _ in range(4):
            statistics = handle.step()
            stages.append([(each.n, each.m) for each in statistics.layers.values()])
        assert stages == [[(3, 4), (7, 8)], [(2, 4), (6, 8)], [(1, 4), (4, 8)], [(1, 4), (4, 8)]]

    @pytest.mark.parametrize(
        ("n", "m", "message"),
        [
            ({"0": (2, 4)}, 4, "so m must be left out"),
            ({"0": 2}, None, r"n must map globs to pairs \(n, m\)"),
            ({"0": (4, 2)}, None, "1 <= n <= m"),
            (2, None, "m is missing"),
        ],
    )
    def test_bad_ones(self, n, m, message):
        with pytest.raises(nmflow.NmflowError, match=message):
            nmflow.torch.sparsify(net(), n, m)


class TestPolicies:
    def test_masks_follow_again_after_unfreezing(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=Refresh(every=3, until=3))
        for _ in range(4):
            handle.step()
        assert handle.frozen
        handle.unfreeze()
        with torch.no_grad():
            dense_of(model[0]).copy_(torch.randn(16, 8))
        assert handle.step().sad > 0
        assert [bool(handle.step()) for _ in range(6)] == [False, False, True] * 2
        model(torch.ones(1, 8)).sum().backward()
        assert (dense_of(model[0]).grad[~masked_of(model[0]).mask] != 0).any()
        handle.freeze()
        handle.unfreeze(refresh=2)
        assert [bool(handle.step()) for _ in range(4)] == [True, False, True, False]

    def test_an_earlier_state_thaws_what_froze_since(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=Refresh(every=2, until=4))
        handle.step()
        early = handle.state_dict()
        for _ in range(4):
            handle.step()
        assert handle.frozen
        handle.load_state_dict(early)
        assert not handle.frozen
        assert [bool(handle.step()) for _ in range(4)] == [True, False, True, False]
        assert handle.frozen

    @pytest.mark.parametrize("schedule", ["quartic", 3])
    def test_unknown_schedules(self, schedule):
        with pytest.raises(nmflow.NmflowError, match="choose linear, cubic, or a function"):
            Refresh(ramp=4, schedule=schedule)

    def test_a_schedule_that_leaves_its_range(self):
        policy = Refresh(every=1, ramp=4, schedule=lambda share: 2 * share)
        handle = nmflow.torch.sparsify(net(), 2, 4, refresh=Refresh(every=100))
        handle.unfreeze(policy)
        for _ in range(2):
            handle.step()
        with pytest.raises(nmflow.NmflowError, match=r"schedule\(0.75\) must be .* got 1.5"):
            handle.step()

    def test_stages_are_known_beforehand(self):
        policy = Refresh(every=3, begin=2, ramp=10)
        pattern = nmflow.Pattern(2, 8)
        assert policy.stages(pattern) == {policy.kept(step, pattern) for step in (2, 5, 8, 11, 12)}

    def test_history_is_bounded(self):
        handle = nmflow.torch.sparsify(net(), 2, 4, refresh=1)
        for _ in range(150):
            handle.step()
        assert [each.step for each in handle.history] == list(range(51, 151))


class TestOptimizers:
    def test_others_are_looked_at_once(self, monkeypatch):
        handle = nmflow.torch.sparsify(net(), 2, 4)
        other = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
        optimizer.step()
        looks = []

        class Counted(list):
            def __iter__(self):
                looks.append(1)
                return super().__iter__()

        for group in optimizer.param_groups:
            group["params"] = Counted(group["params"])
        looks_of_a_step = []
        for _ in range(3):
            looks.clear()
            optimizers._before(optimizer, (optimizer,), {})
            optimizers._after(optimizer, (optimizer,), {})
            looks_of_a_step.append(len(looks))
        assert looks_of_a_step == [0, 0, 0]
        del handle

    def test_parameters_that_come_later_are_seen(self):
        model = net()
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=1.0)
        handle = nmflow.torch.sparsify(model, 2, 4, rule=nmflow.torch.SRSTE(0.5))
        optimizer.step()
        optimizer.add_param_group({"params": list(model.parameters())})
        before, pruned = dense_of(model[0]).detach().clone(), ~masked_of(model[0]).mask
        dense_of(model[0]).grad = torch.zeros(16, 8)
        optimizer.step()
        torch.testing.assert_close(dense_of(model[0]).detach(), before - 0.5 * before * pruned)
        del handle

    def test_sr_ste_says_when_no_optimizer_is_reached(self):
        handle = nmflow.torch.sparsify(net(), 2, 4, rule="sr-ste")
        with pytest.warns(
            UserWarning, match="SR-STE's decay of pruned weights is not applied"
        ) as w:
            handle.step()
        assert w[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            handle.step()

    def test_sr_ste_says_nothing_where_one_is(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, rule="sr-ste")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                optimizer.step()
                handle.step()


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
