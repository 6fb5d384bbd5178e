"""Masks and scores that users bring along, and several patterns at once."""

import threading

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, masked_of, net, sgd, train  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import Refresh  # noqa: E402


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

    def test_a_table_and_a_ramp(self):
        policy = nmflow.torch.Refresh(every=1, ramp=2)
        scores = {"weight": torch.randn(8, 8)}
        handle = nmflow.torch.sparsify(nn.Linear(8, 8), 2, 4, scores=scores, refresh=policy)
        assert [handle.step().n for _ in range(2)] == [3, 2]

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


class TestZeros:
    def pruned(self, pattern="transposable"):
        model = net()
        for layer in (model[0], model[2]):
            mask = nmflow.solve(layer.weight.detach(), 2, 4, pattern=pattern)
            with torch.no_grad():
                layer.weight.copy_(torch.where(mask, layer.weight, -0.0))
        return model

    @pytest.mark.parametrize("pattern", ["transposable", "rows"])
    def test_fine_tuning_keeps_the_zeros(self, pattern):
        model = self.pruned(pattern)
        before = [layer.weight.detach().clone() for layer in (model[0], model[2])]
        handle = nmflow.torch.sparsify(model, 2, 4, pattern=pattern, masks="zeros", refresh=None)
        assert handle.frozen
        assert not handle.history
        optimizer = sgd(model, lr=0.1, weight_decay=0.01, momentum=0.9)
        train(model, optimizer, handle, 5)
        handle.bake()
        for layer, old in zip((model[0], model[2]), before, strict=True):
            assert torch.equal(layer.weight == 0, old == 0)
            assert not torch.equal(layer.weight, old)

    def test_groups_may_hold_fewer(self):
        model = self.pruned()
        with torch.no_grad():
            model[0].weight[0] = 0
        nmflow.torch.sparsify(model, 2, 4, masks="zeros", refresh=None).bake()
        assert not model[0].weight[0].any()

    def test_until_the_first_refresh(self):
        model = self.pruned()
        handle = nmflow.torch.sparsify(model, 2, 4, masks="zeros", refresh=1)
        assert torch.equal(masked_of(model[0]).mask, dense_of(model[0]) != 0)
        with torch.no_grad():
            dense_of(model[0]).copy_(torch.randn(16, 8))
        assert handle.step().layers["0.weight"].sad > 0

    def test_zeros_that_are_not_nm(self):
        model = self.pruned("rows")
        with torch.no_grad():
            model[2].weight[5, 8:12] = 1
        with pytest.raises(
            nmflow.NmflowError,
            match=r"the zeros of 2\.weight are not 2:4 rows: 1 row groups hold more than 2 of 4;"
            r" the first, row 5, columns 8 to 11, holds 4\. Ask for a larger n",
        ):
            nmflow.torch.sparsify(model, 2, 4, pattern="rows", masks="zeros", refresh=None)
        assert not hasattr(model[0], "parametrizations")
        asked = {"pattern": "rows", "masks": "zeros", "refresh": None}
        nmflow.torch.sparsify(model, 2, 4, **asked, exclude="2").bake()

    def test_other_words_and_no_values(self):
        with pytest.raises(nmflow.NmflowError, match="unknown masks 'zero'; did you mean 'zeros'"):
            nmflow.torch.sparsify(net(), 2, 4, masks="zero")
        layer = nn.Linear(8, 8, device="meta")
        with pytest.raises(nmflow.NmflowError, match="weight is on the meta device"):
            nmflow.torch.sparsify(layer, 2, 4, masks="zeros", refresh=None)


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
        patterns = {"0": (1, 4), "2": (2, 4)}
        handle = nmflow.torch.sparsify(net(), patterns, refresh=Refresh(every=1, ramp=3))
        stages = []
        for _ in range(4):
            statistics = handle.step()
            stages.append([(each.n, each.m) for each in statistics.layers.values()])
        # The first stage of 2:4 would keep everything, so there is nothing to solve.
        assert stages == [[(3, 4)], [(2, 4), (3, 4)], [(1, 4), (2, 4)], [(1, 4), (2, 4)]]

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
