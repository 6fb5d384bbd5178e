"""Dynamic sparse training: the published formulas written out, and the way to n:m."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")

from masked_nets import net  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.models import Layout  # noqa: E402
from nmflow.torch import DynamicSparseTraining  # noqa: E402
from nmflow.torch.dynamic.step import slope, step  # noqa: E402
from nmflow.torch.dynamic.thresholded import threshold_shape  # noqa: E402


def thresholds_of(layer):
    return layer.parametrizations.weight[0].threshold


def dense_of(layer):
    return layer.parametrizations.weight.original


def trained(layer, thresholds, alpha=0.1):
    """A model of one layer with thresholds of these values."""
    dst = DynamicSparseTraining(layer, alpha=alpha)
    with torch.no_grad():
        dst.parameters()[0].copy_(thresholds.reshape(dst.parameters()[0].shape))
    return dst


def published_slope(x):
    if abs(x) <= 0.4:
        return 2 - 4 * abs(x)
    return 0.4 if abs(x) <= 1 else 0.0


class TestFormulas:
    def test_slope(self):
        at = torch.tensor([-2, -1.001, -1, -0.7, -0.4, -0.1, 0, 0.2, 0.4, 0.41, 1, 1.01, 9.0])
        x = at.double().requires_grad_()
        step(x).sum().backward()
        expected = [published_slope(each) for each in at.double().tolist()]
        assert x.grad.tolist() == pytest.approx(expected, abs=1e-15)
        assert torch.equal(slope(at.double()), x.grad)
        assert step(x).tolist() == [float(each >= 0) for each in at]
        assert step(at.bfloat16()).dtype == slope(at.bfloat16()).dtype == torch.bfloat16

    @pytest.mark.parametrize("seed", range(3))
    def test_gradients_of_a_linear_layer(self, seed):
        """Entry by entry, in Python's floats."""
        torch.manual_seed(seed)
        layer = nn.Linear(6, 4, bias=False).double()
        weights = torch.randn(4, 6, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(weights)
        thresholds = torch.rand(4, dtype=torch.float64)
        trained(layer, thresholds)
        x, incoming = torch.randn(5, 6).double(), torch.randn(5, 4).double()
        layer(x).backward(incoming)
        passed = incoming.T @ x  # of the loss, by the weight that the layer computes with
        for i in range(4):
            of_threshold = 0.0
            for j in range(6):
                w, g = float(weights[i, j]), float(passed[i, j])
                seen = float(layer.weight[i, j].detach())
                q = abs(w) - float(thresholds[i])
                kept = 1.0 if q >= 0 else 0.0
                of_mask = g * w * published_slope(q)
                of_weight = g * kept + of_mask * math.copysign(1, w)
                assert float(dense_of(layer).grad[i, j]) == pytest.approx(of_weight, rel=1e-12)
                assert seen == w * kept
                of_threshold -= of_mask
            assert float(thresholds_of(layer).grad[i]) == pytest.approx(of_threshold, rel=1e-12)

    def test_penalty(self):
        model = net()
        dst = DynamicSparseTraining(model, alpha=0.25)
        with torch.no_grad():
            for each in dst.parameters():
                each.uniform_(-1, 3)
        penalty = dst.penalty()
        values = [t for each in dst.parameters() for t in each.detach().flatten().tolist()]
        assert float(penalty.detach()) == pytest.approx(
            0.25 * sum(math.exp(-t) for t in values), rel=1e-6
        )
        penalty.backward()
        for each in dst.parameters():
            torch.testing.assert_close(each.grad, -0.25 * torch.exp(-each.detach()))
        dst.alpha = 0
        assert dst.penalty().detach() == 0

    def test_penalty_of_half_precision_is_not_rounded_there(self):
        dst = DynamicSparseTraining(nn.Linear(16, 300).bfloat16(), alpha=1.0)
        assert dst.penalty().dtype == torch.float32
        assert dst.penalty().detach() == 300
        assert dst.parameters()[0].dtype == torch.bfloat16

    @pytest.mark.parametrize(("kept", "starts_anew"), [(0, True), (1, False), (5, False)])
    def test_thresholds_start_anew_where_less_than_a_hundredth_is_kept(self, kept, starts_anew):
        layer = nn.Linear(10, 10)
        with torch.no_grad():
            layer.weight.fill_(0.5)
            layer.weight.view(-1)[:kept] = 2
        trained(layer, torch.ones(10))
        result = layer(torch.ones(10))
        assert bool((thresholds_of(layer) == 0).all()) is starts_anew
        nonzero = int(torch.count_nonzero(layer.weight))
        assert nonzero == (100 if starts_anew else kept)
        result.sum().backward()
        assert torch.isfinite(thresholds_of(layer).grad).all()

    def test_other_weights_keep_their_thresholds(self):
        model = net()
        dst = DynamicSparseTraining(model, alpha=1.0)
        with torch.no_grad():
            dst.parameters()[0].fill_(9)
            dst.parameters()[1].fill_(0.01)
        model(torch.ones(8))
        assert (dst.parameters()[0] == 0).all()
        assert (dst.parameters()[1] > 0).all()

    def test_what_is_not_a_number_is_not_hidden(self):
        layer = nn.Linear(4, 4)
        dst = trained(layer, torch.full((4,), 0.1))
        with torch.no_grad():
            dense_of(layer)[1, 2] = math.nan
        assert torch.isnan(layer.weight[1, 2])
        assert dst.sparsity()["weight"] < 1


class TestLayers:
    @pytest.mark.parametrize(
        ("shape", "layout", "expected"),
        [
            ((8, 4), Layout(), (8, 1)),
            ((4, 8), Layout((1, 0)), (1, 8)),
            ((8, 4, 3, 3), Layout(groups=2), (8, 1, 1, 1)),
            ((3, 8, 4), Layout((1, 2)), (3, 8, 1)),
            ((3, 8, 4), Layout((-1, -2)), (3, 1, 4)),
        ],
    )
    def test_one_threshold_for_each_row(self, shape, layout, expected):
        assert threshold_shape(shape, layout) == expected

    def test_a_filter_is_a_row(self):
        conv = nn.Conv2d(2, 3, 3, bias=False)
        dst = trained(conv, torch.tensor([0.0, 0.1, 0.2]))
        dense, kept = dense_of(conv), conv.weight != 0
        for i, threshold in enumerate([0.0, 0.1, 0.2]):
            assert torch.equal(kept[i], dense[i].abs() >= threshold)
        assert dst.sparsity() == {"weight": int((~kept).sum()) / 54}
        conv(torch.randn(1, 2, 5, 5)).square().sum().backward()
        assert thresholds_of(conv).grad.shape == (3, 1, 1, 1)

    def test_conv1d_of_transformers(self):
        conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
        model = nn.Sequential(conv1d(6, 4))
        dst = DynamicSparseTraining(model, alpha=1.0)
        (threshold,) = dst.parameters()
        assert threshold.shape == (1, 6)
        with torch.no_grad():
            threshold[0, 2] = 9
        assert torch.equal((model[0].weight == 0).all(0), torch.arange(6) == 2)

    def test_the_same_weights_are_chosen_as_by_sparsify(self):
        model = nn.Sequential()
        model.add_module("embed", nn.Embedding(16, 8))
        model.add_module("body", nn.Linear(8, 16))
        model.add_module("lm_head", nn.Linear(16, 16))
        dst = DynamicSparseTraining(copy.deepcopy(model), alpha=1.0)
        assert [layer.name for layer in dst.report.sparsified] == ["body.weight"]
        assert str(dst.report).startswith("1 sparsified, 2 SKIPPED")
        chosen = DynamicSparseTraining(model, alpha=1.0, include="*", exclude="body")
        assert list(chosen.sparsity()) == ["embed.weight", "lm_head.weight"]

    def test_a_shared_weight_has_one_threshold_a_row(self):
        model = net()
        model.append(nn.Linear(16, 8))
        model[3].weight = model[2].weight
        dst = DynamicSparseTraining(model, alpha=1.0)
        assert len(dst.parameters()) == 2
        assert thresholds_of(model[2]) is thresholds_of(model[3])
        dst.bake()
        assert model[2].weight is model[3].weight


class TestTraining:
    def run(self, model, dst, optimizer, steps):
        torch.manual_seed(1)
        x = torch.randn(64, 8)
        target = x[:, :2] @ torch.tensor([[1.0, -1], [0.5, 2]])
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (model(x)[:, :2] - target).square().mean()
            (loss + dst.penalty()).backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    def test_becomes_sparse_and_learns(self):
        model = net()
        dst = DynamicSparseTraining(model, alpha=0.003)
        assert set(dst.sparsity().values()) == {0.0}
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        before = [each.detach().clone() for each in dst.parameters()]
        losses = self.run(model, dst, optimizer, 200)
        assert losses[-1] < losses[0] / 20
        assert min(dst.sparsity().values()) > 0.4
        for each, old in zip(dst.parameters(), before, strict=True):
            assert (each != old).all()
        dst.bake()
        share = float((torch.cat([model[0].weight, model[2].weight.T]) == 0).float().mean())
        n = nmflow.suggest_n(8, share, pattern="rows")
        assert 1 <= n < 8
        handle = nmflow.torch.sparsify(model, n, 8, pattern="rows", refresh=None)
        assert all(certificate.gap == 0 for certificate in handle.certify().values())

    def test_more_penalty_is_sparser(self):
        shares = []
        for alpha in (0.0, 0.003, 0.1):
            model = net()
            dst = DynamicSparseTraining(model, alpha=alpha)
            self.run(model, dst, torch.optim.Adam(model.parameters(), lr=0.02), 30)
            shares.append(dst.sparsity()["0.weight"])
        assert shares == sorted(shares)
        assert shares[0] < shares[2]

    def test_optimizers_made_before_are_told_of_the_thresholds(self):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        dst = DynamicSparseTraining(model, alpha=0.1)
        optimizer.add_param_group({"params": dst.parameters(), "weight_decay": 0})
        self.run(model, dst, optimizer, 3)
        assert all((each != 0).any() for each in dst.parameters())
        assert [id(each) for each in optimizer.param_groups[0]["params"][::2]] == [
            id(dense_of(model[0])),
            id(dense_of(model[2])),
        ]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_compiled(self):
        model = net()
        dst = DynamicSparseTraining(model, alpha=0.1)
        with torch.no_grad():
            dst.parameters()[0].fill_(0.2)
            dst.parameters()[1].fill_(9)
        x = torch.randn(4, 8)
        twin = copy.deepcopy(model)
        compiled = torch.compile(twin, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), model(x))
        assert (thresholds_of(twin[2]) == 0).all()
        compiled(x).sum().backward()
        model(x).sum().backward()
        assert torch.equal(thresholds_of(twin[0]).grad, thresholds_of(model[0]).grad)


class TestTakingOff:
    def test_bake_leaves_exact_zeros_and_plain_modules(self):
        model = net()
        names = list(dict(model.named_parameters()))
        parameters = list(model.parameters())
        dst = DynamicSparseTraining(model, alpha=1.0)
        with torch.no_grad():
            for each in dst.parameters():
                each.fill_(0.15)
        x = torch.randn(3, 8)
        before, shares = model(x), dst.sparsity()
        dst.bake()
        assert torch.equal(model(x), before)
        assert list(dict(model.named_parameters())) == names
        assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
        assert type(model[0]) is nn.Linear
        for name, share in shares.items():
            weight = model.get_parameter(name)
            zeros = weight == 0
            assert 0 < share == int(zeros.sum()) / zeros.numel() < 1
            assert not torch.signbit(weight[zeros]).any()
            assert (weight[~zeros].abs() >= 0.15).all()

    def test_remove_leaves_dense_weights(self):
        model = net()
        dense = copy.deepcopy(model.state_dict())
        dst = DynamicSparseTraining(model, alpha=1.0)
        with torch.no_grad():
            dst.parameters()[0].fill_(0.2)
        dst.remove()
        assert list(model.state_dict()) == list(dense)
        assert all(torch.equal(model.state_dict()[name], dense[name]) for name in dense)

    def test_state_and_copies(self):
        model = net()
        dst = DynamicSparseTraining(model, alpha=0.5)
        with torch.no_grad():
            dst.parameters()[0].fill_(0.2)
        other = net(seed=3)
        again = DynamicSparseTraining(other, alpha=0.5)
        other.load_state_dict(model.state_dict())
        assert again.sparsity() == dst.sparsity()
        copied, copied_dst = copy.deepcopy((model, dst))
        copied_dst.bake()
        assert not hasattr(copied[0], "parametrizations")
        assert torch.equal(copied[0].weight, model[0].weight)
        assert dst.sparsity() == again.sparsity()
        dst.bake()

    @pytest.mark.parametrize("end", ["bake", "remove"])
    def test_they_are_gone_then(self, end):
        dst = DynamicSparseTraining(net(), alpha=1.0)
        getattr(dst, end)()
        for call in (dst.bake, dst.remove, dst.penalty, dst.parameters, dst.sparsity):
            with pytest.raises(nmflow.NmflowError, match=r"thresholds were (baked|removed)"):
                call()

    def test_writes_mean_the_dense_weight(self):
        layer = nn.Linear(4, 4)
        trained(layer, torch.full((4,), 0.01))
        nn.init.constant_(layer.weight, 0.75)
        with torch.no_grad():
            thresholds_of(layer).fill_(0.5)
        assert (dense_of(layer) == 0.75).all()
        layer.weight = torch.full((4, 4), 0.25).index_fill(0, torch.tensor([1]), 2)
        assert torch.equal((layer.weight != 0).any(1), torch.arange(4) == 1)
        with pytest.raises(nmflow.NmflowError, match="would be lost"):
            layer.weight += torch.ones(4, 4)


class TestWrongInput:
    @pytest.mark.parametrize("alpha", [-1, math.nan, math.inf, "much", None, True])
    def test_alpha(self, alpha):
        model = net()
        with pytest.raises(nmflow.NmflowError, match=r"alpha weighs the penalty.*got"):
            DynamicSparseTraining(model, alpha=alpha)
        assert not hasattr(model[0], "parametrizations")
        dst = DynamicSparseTraining(model, alpha=1)
        dst.alpha = alpha
        with pytest.raises(nmflow.NmflowError, match="alpha"):
            dst.penalty()

    def test_globs_and_models(self):
        with pytest.raises(nmflow.NmflowError, match="matches no module"):
            DynamicSparseTraining(net(), alpha=1, include="nowhere")
        with pytest.raises(nmflow.NmflowError, match="nothing to sparsify"):
            DynamicSparseTraining(nn.Sequential(nn.Tanh()), alpha=1)
        with pytest.raises(nmflow.NmflowError, match="on the meta device"):
            DynamicSparseTraining(nn.Linear(8, 8, device="meta"), alpha=1)

    def test_not_twice_and_not_beside_masks(self):
        model = net()
        nmflow.torch.sparsify(model, 2, 4, pattern="rows")
        with pytest.raises(nmflow.NmflowError, match="is sparsified already"):
            DynamicSparseTraining(model, alpha=1)
        model = net()
        DynamicSparseTraining(model, alpha=1)
        with pytest.raises(nmflow.NmflowError, match="parametrization of its own, Thresholded"):
            DynamicSparseTraining(model, alpha=1)
        with pytest.raises(nmflow.NmflowError, match="parametrization of its own, Thresholded"):
            nmflow.torch.sparsify(model, 2, 4)
