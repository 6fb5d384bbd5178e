"""Orders of plain networks: what is followed, and what stays."""

import copy

import pytest

torch = pytest.importorskip("torch")

from networks import at_random, convolutional, images, is_as_it_was, mlp, state  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import NmflowError  # noqa: E402


@torch.no_grad()
def unlike(model, dense, inputs):
    before, after = dense(inputs), model(inputs)
    return float((before - after).abs().max() / before.abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_mlps(dtype, tolerance):
    model = mlp(dtype)
    dense, inputs = copy.deepcopy(model), torch.randn(7, 16, dtype=dtype)
    report = nmflow.torch.permute(model, 2, 4)
    assert [(order.name, order.kind, len(order.order)) for order in report.orders] == [
        ("0", "hidden", 32),
        ("3", "hidden", 24),
    ]
    assert report.refused == {"5": "the model puts them out"}
    assert report.gap_closed > 0.05
    assert unlike(model, dense, inputs) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_convolutional_networks(dtype, tolerance):
    """The stem's channels are those of both blocks, around which there are ways."""
    model = convolutional(dtype)
    dense, before = copy.deepcopy(model), state(model)
    report = nmflow.torch.permute(model, 2, 4, inputs=images(dtype))
    sizes = {order.name: len(order.order) for order in report.orders}
    assert sizes == {
        "stem": 16,
        "blocks.0.conv1": 32,
        "blocks.1.expand": 32,
        "blocks.1.reduce": 8,
    }
    assert unlike(model, dense, images(dtype, seed=3)) <= tolerance
    assert report.gap_closed > 0.05
    norm = "blocks.0.bn1.running_mean"
    assert not torch.equal(model.state_dict()[norm], before[norm])
    report.undo()
    assert is_as_it_was(model, before)


class Net(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, between):
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.second = nn.Linear(32, 16)
        self.third = nn.Linear(16, 16)
        self.between = between

    def forward(self, states):
        return self.third(functional.relu(self.second(self.between(self.first(states)))))


class Sorted(nn.Module):
    def forward(self, states):
        return states.cumsum(1)


class Sliced(nn.Module):
    def forward(self, states):
        return torch.cat([states[:, 16:], states[:, :16]], 1)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(32))

    def forward(self, states):
        return states * self.scale


class Viewed(nn.Module):
    def forward(self, states):
        return states.view(-1, 2, 16).sum(1).repeat(1, 2)


@pytest.mark.parametrize("between", [Sorted(), Sliced(), Scaled(), Viewed(), nn.Softmax(1)])
def test_what_may_depend_on_the_order_stays(between):
    model = at_random(Net(between))
    dense = copy.deepcopy(model)
    report = nmflow.torch.permute(model, 2, 4)
    assert [order.name for order in report.orders] == ["second"]
    assert "first" in report.refused
    assert torch.equal(model.first.weight, dense.first.weight)
    assert unlike(model, dense, torch.randn(5, 16)) <= 1e-5


def test_shared_layers_have_one_order():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again = nn.Linear(16, 16), nn.Linear(16, 16)
            self.last = nn.Linear(16, 16)

        def forward(self, states):
            return self.last(self.again(self.again(self.first(states)).relu()).relu())

    model = at_random(Twice())
    dense = copy.deepcopy(model)
    report = nmflow.torch.permute(model, 2, 4)
    assert len(report.orders) == 1
    assert unlike(model, dense, torch.randn(5, 16)) <= 1e-5


def test_grouped_convolutions_stay():
    layers = [nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 1, groups=2), nn.Conv2d(32, 16, 1)]
    model = at_random(nn.Sequential(*layers, nn.Conv2d(16, 4, 1)))
    report = nmflow.torch.permute(model, 2, 4, inputs=images())
    assert [order.name for order in report.orders] == ["2"]
    assert report.refused["0"] == "1 convolves in groups"


def test_channels_flattened_with_places_stay():
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 16), nn.ReLU()]
    model = at_random(nn.Sequential(*layers, nn.Linear(16, 8)))
    report = nmflow.torch.permute(model, 2, 4, inputs=images())
    assert [order.name for order in report.orders] == ["3"]
    assert report.refused["0"] == "they are flattened together with other axes"


def test_what_cannot_be_traced_is_refused():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, states):
            return self.layer(states) if states.sum() > 0 else states

    model = at_random(Branching())
    with pytest.raises(NmflowError, match=r"a Branching can't be traced by torch\.fx"):
        nmflow.torch.permute(model, 2, 4)


def test_sparsified_models_are_refused():
    model = mlp()
    nmflow.torch.sparsify(model, 2, 4)
    with pytest.raises(NmflowError, match="sparsified already"):
        nmflow.torch.permute(model, 2, 4)


def test_parametrized_layers_are_refused():
    model = mlp()
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(NmflowError, match="goes through a parametrization"):
        nmflow.torch.permute(model, 2, 4)


def test_meta_device():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).to("meta")
    with pytest.raises(NmflowError, match="meta device"):
        nmflow.torch.permute(model, 2, 4)


def test_nothing_to_order():
    with pytest.raises(NmflowError, match="no order of this Linear is free"):
        nmflow.torch.permute(nn.Linear(16, 16), 2, 4)


def test_inputs_that_the_model_refuses():
    with pytest.raises(NmflowError, match="the model refuses the inputs"):
        nmflow.torch.permute(mlp(), 2, 4, inputs=torch.randn(3, 15))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ["neurons"]}, "kinds must be of hidden"),
        ({"pattern": "unstructured"}, "keeps the same in every order"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"scores": {}, "score": "square"}, "takes the place of score"),
        ({"scores": lambda name, weight: weight[0]}, "expected a tensor of shape"),
        ({"scores": lambda name, weight: weight * float("nan")}, "not finite"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(NmflowError, match=words):
        nmflow.torch.permute(mlp(), 2, 4, **options)


def test_half_precision_is_checked_in_float32():
    model = mlp(torch.bfloat16)
    report = nmflow.torch.permute(model, 2, 4, inputs=torch.randn(4, 16).bfloat16())
    assert report.difference <= 1e-5
    assert model[0].weight.dtype == torch.bfloat16


def test_scores_of_the_user_decide():
    """Scores that are large in alternate rows: neurons of both kinds are brought together."""
    large = torch.zeros(32, 16)
    large[:16, ::2] = 1
    large[16:, 1::2] = 1
    scores = {"0.weight": large, "3.weight": torch.ones(24, 32), "5.weight": torch.ones(16, 24)}
    report = nmflow.torch.permute(mlp(), 2, 4, scores=scores, rounds=9)
    first = report.layers[0]
    assert (first.kept_before, first.kept_after) == (0.5, 1.0)


def test_training_mode_stays():
    model = mlp().train()
    nmflow.torch.permute(model, 2, 4, rounds=1)
    assert all(module.training for module in model.modules())
