"""How weights of a live model are matrices: stacks of experts, layers of the user's own."""

import pytest

torch = pytest.importorskip("torch")

from selecting import Net, P, chosen, linear, notes  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.models import Layout  # noqa: E402
from nmflow.torch.selecting.select import choose_weights  # noqa: E402


class Experts(nn.Module):
    """A mixture in two stacked weights, [experts, in, out] where turned."""

    def __init__(self, turned=False, count=4, hidden=8, inner=12):
        super().__init__()
        up, down = (count, 2 * inner, hidden), (count, hidden, inner)
        if turned:
            up, down = (count, hidden, 2 * inner), (count, inner, hidden)
        self.gate_up_proj = nn.Parameter(torch.randn(up))
        self.down_proj = nn.Parameter(torch.randn(down))


def mixture(**options):
    return Net(mlp=Net(gate=linear(4), experts=Experts(**options)))


def groups_of(kept, axis, m=4):
    return kept.movedim(axis, -1).unflatten(-1, (-1, m)).sum(-1)


@pytest.mark.parametrize("turned", [False, True])
def test_stacked_experts_are_masked_one_by_one(turned):
    model = mixture(turned=turned)
    handle = nmflow.torch.sparsify(model, 2, 4, pattern="rows")
    assert [line.name for line in handle.report.sparsified] == [
        "mlp.experts.gate_up_proj",
        "mlp.experts.down_proj",
    ]
    for name in ("gate_up_proj", "down_proj"):
        kept = getattr(model.mlp.experts, name) != 0
        inputs, outputs = (1, 2) if turned else (2, 1)
        assert (groups_of(kept, inputs) == 2).all()
        assert (groups_of(kept, outputs) != 2).any()
    assert "router" in str(handle.report)


def test_stacks_that_cannot_be_told_are_left_loudly():
    model = mixture(hidden=8, inner=8)
    del model.mlp.experts.gate_up_proj
    model.mlp.up = linear()
    assert chosen(model) == ["mlp.up.weight"]
    assert "[experts, out, in] or" in notes(model)["mlp.experts.down_proj"]
    assert "layouts= can say" in notes(model)["mlp.experts.down_proj"]
    given = {Experts: [("down_proj", (1, 2))]}
    assert chosen(model, layouts=given) == ["mlp.experts.down_proj", "mlp.up.weight"]


def test_layers_of_the_users_own():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(12, 8))

    class Sub(Mine):
        pass

    model = Net(mine=Sub(), up=linear())
    assert chosen(model) == ["up.weight"]
    for axes in ((1, 0), (-1, -2)):
        weights, _ = choose_weights(model, P, layouts={Mine: ("kernel", axes)})
        assert [(weight.name, weight.layout) for weight in weights] == [
            ("mine.kernel", Layout((1, 0))),
            ("up.weight", Layout()),
        ]


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        ([], r"got \[\], but it must map a module class"),
        ({"Linear": ("weight", (0, 1))}, "'Linear' is no class of modules"),
        ({int: ("weight", (0, 1))}, "<class 'int'> is no class of modules"),
        ({nn.Linear: "weight"}, "Linear has 'weight'"),
        ({nn.Linear: ("weight", 0)}, "Linear has .'weight', 0."),
        ({nn.Linear: ("weight", (0, 0))}, "Linear has .'weight', .0, 0.."),
        ({nn.Linear: ("weight", (0, 1.0))}, "Linear has .'weight', .0, 1.0.."),
        ({nn.Linear: [("weight", (0, 1)), 5]}, "Linear has 5"),
        ({nn.Linear: ("weight", (0, 2))}, r"weight of shape \(8, 8\) has no axes .* = \(0, 2\)"),
        ({nn.Linear: ("weight", (1, -1))}, r"weight of shape \(8, 8\) has no axes .* = \(1, -1\)"),
    ],
)
def test_layouts_that_make_no_sense(layouts, message):
    with pytest.raises(nmflow.NmflowError, match=f"layouts: {message}"):
        choose_weights(linear(), P, layouts=layouts)


def test_layers_that_compute_in_a_forward_of_their_own():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    class Same(nn.Conv2d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(nn.functional.pad(x, (1, 1, 1, 1)), weight, bias)

    class Plain(nn.Linear):
        pass

    model = nn.Sequential(Standardized(8, 8, 3), Same(8, 8, 3), Plain(8, 8))
    # Hooks replace the forward of the object, which says nothing of the class.
    model[2].forward = model[2].forward
    _, report = choose_weights(model, P)
    says = "computes in a forward of its own ({}): check that it multiplies by its weight as it is"
    assert [line.note for line in report.layers] == [
        says.format("Standardized"),
        says.format("Same"),
        "",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:transformers")
@pytest.mark.parametrize("pattern", ["rows", "columns"])
def test_transformers_conv1d_is_masked_the_right_way_round(pattern):
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    layer = pytorch_utils.Conv1D(12, 8)
    nmflow.torch.sparsify(layer, 2, 4, pattern=pattern)
    inputs, outputs = groups_of(layer.weight != 0, 0), groups_of(layer.weight != 0, 1)
    assert (inputs == 2).all() == (pattern == "rows")
    assert (outputs == 2).all() == (pattern == "columns")
