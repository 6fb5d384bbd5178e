"""The weight of a masked layer: what is written to it, and infinite pruned entries."""

import copy
import io

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, masked_of  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


class TestWrites:
    """The weight of a masked layer is computed: what is written to it must not be lost."""

    @pytest.fixture
    def layer(self):
        torch.manual_seed(0)
        layer = nn.Linear(8, 8)
        nmflow.torch.sparsify(layer, 2, 4)
        return layer

    @pytest.mark.parametrize(
        "merge",
        [
            lambda weight, delta: weight.data.add_(delta),
            lambda weight, delta: weight.add_(delta),
            lambda weight, delta: weight.__iadd__(delta),
            lambda weight, delta: weight.__setitem__((slice(None), 0), delta[0]),
            lambda weight, delta: setattr(weight, "data", weight + delta),
            lambda weight, delta: weight.data.addmm_(delta, delta),
            lambda weight, delta: weight.mul_(delta),
        ],
    )
    def test_merges_are_refused(self, layer, merge):
        before = layer.weight.detach().clone()
        with torch.no_grad(), pytest.raises(nmflow.NmflowError, match="the write would be lost"):
            merge(layer.weight, torch.randn(8, 8))
        assert torch.equal(layer.weight, before)

    @pytest.mark.parametrize(
        "initialise",
        [nn.init.zeros_, nn.init.xavier_uniform_, nn.init.trunc_normal_, nn.init.kaiming_normal_],
    )
    def test_initialisations_go_to_the_dense_weight(self, layer, initialise):
        plain = torch.empty(8, 8)
        torch.manual_seed(3)
        initialise(plain)
        torch.manual_seed(3)
        initialise(layer.weight)
        assert torch.equal(dense_of(layer), plain)
        assert torch.equal(layer.weight, plain * masked_of(layer).mask)
        layer.weight.data.fill_(2.0)
        assert (dense_of(layer) == 2).all()

    def test_copies_and_assignments_go_to_the_dense_weight(self, layer):
        value = torch.randn(8, 8)
        with torch.no_grad():
            layer.weight.copy_(value)
        assert torch.equal(dense_of(layer), value)
        layer.weight = 2 * value
        assert torch.equal(dense_of(layer), 2 * value)
        assert torch.equal(layer.weight, 2 * value * masked_of(layer).mask)

    def test_frozen_masks_refuse_what_they_would_take_away(self):
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4, refresh=None)
        value = torch.randn(8, 8)
        for assign in (lambda: setattr(layer, "weight", value), lambda: layer.weight.copy_(value)):
            with torch.no_grad(), pytest.raises(nmflow.NmflowError, match="masks are frozen, and"):
                assign()
        layer.weight = value * masked_of(layer).mask
        handle.unfreeze()
        layer.weight = value

    def test_tying_a_weight_to_itself_changes_nothing(self, layer):
        before = dense_of(layer).detach().clone()
        layer.weight = layer.weight
        assert torch.equal(dense_of(layer), before)

    def test_of_another_layer_the_values_are_taken(self, layer):
        other = nn.Linear(8, 8)
        nmflow.torch.sparsify(other, 2, 4)
        masked = other.weight.detach().clone()
        layer.weight = other.weight
        assert torch.equal(dense_of(layer), masked)
        with torch.no_grad():
            dense_of(layer).zero_()
        assert torch.equal(other.weight, masked)

    def test_it_computes_as_a_plain_tensor(self, layer):
        weight = layer.weight
        assert isinstance(weight, nmflow.torch.MaskedWeight)
        assert type(weight + 1) is type(weight.T) is type(weight.detach()) is torch.Tensor
        assert type(copy.deepcopy(weight)) is torch.Tensor
        file = io.BytesIO()
        torch.save(weight, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=True), weight)


class TestInfinitePrunedEntries:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("mean_absorption", [False, True])
    def test_they_stay_out(self, dtype, mean_absorption):
        layer = nn.Linear(8, 8, dtype=dtype)
        handle = nmflow.torch.sparsify(layer, 2, 4, refresh=None, mean_absorption=mean_absorption)
        masked, pruned = masked_of(layer), ~masked_of(layer).mask
        with torch.no_grad():
            dense_of(layer)[pruned] = -torch.inf if not mean_absorption else -1.0
        layer(torch.ones(1, 8, dtype=dtype)).sum().backward()
        assert torch.isfinite(layer.weight).all()
        assert torch.isfinite(dense_of(layer).grad).all()
        assert not torch.signbit(layer.weight[~masked.mask]).any()
        handle.bake()
        assert torch.isfinite(layer.weight).all()
        assert (layer.weight[pruned] == 0).all()

    def test_of_a_decay(self):
        layer = nn.Linear(8, 8, bias=False)
        handle = nmflow.torch.sparsify(layer, 2, 4, rule=nmflow.torch.SRSTE(0.1))
        kept = masked_of(layer).mask
        with torch.no_grad():
            dense_of(layer)[kept] = torch.inf
        dense_of(layer).grad = torch.zeros(8, 8)
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
        assert torch.isfinite(dense_of(layer).grad).all()
        handle.remove()
