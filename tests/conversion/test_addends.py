"""What outputs are added to, and what is made up for by it."""

import pytest

torch = pytest.importorskip("torch")

from conversion.models import converted, difference, samples  # noqa: E402
from torch import nn  # noqa: E402

from nmflow.torch.conversion.calibrating import gather  # noqa: E402
from nmflow.torch.conversion.calibrating.addends import Addends  # noqa: E402


def told(layer, run):
    """What is told while something runs."""
    found = []
    with torch.no_grad(), Addends(layer, lambda other: found.append(other.clone())):
        run()
    run()
    return found


def test_the_other_operand_of_the_first_sum_is_told():
    layer, x, other = nn.Linear(4, 6), torch.randn(2, 3, 4), torch.randn(2, 3, 6)
    dropout = nn.Dropout(0.5).eval()
    for run in (
        lambda: layer(x) + other,
        lambda: other + layer(x),
        lambda: (other + dropout(layer(x))) + 1,
        lambda: other.clone().add_(layer(x)),
        lambda: layer(x).add_(other),
        lambda: layer(x.flatten(0, 1)).view(2, 3, 6) + other.view(2, 3, 6),
    ):
        (found,) = told(layer, run)[:1]
        assert torch.equal(found.reshape(2, 3, 6), other)


@pytest.mark.parametrize(
    "run",
    [
        lambda layer, x: layer(x) + 1,
        lambda layer, x: layer(x) + torch.ones(6),
        lambda layer, x: layer(x) * 2 + torch.ones(2, 3, 6),
        lambda layer, x: torch.add(layer(x), torch.ones(2, 3, 6), alpha=2),
        lambda layer, x: torch.ones(2, 3, 6) + torch.ones(2, 3, 6),
        lambda layer, x: torch.tanh(layer(x)),
    ],
)
def test_other_sums_are_not(run):
    layer, x = nn.Linear(4, 6), torch.randn(2, 3, 4)
    assert told(layer, lambda: run(layer, x)) == []


class Residual(nn.Module):
    """Blocks that write into a stream, each after a norm."""

    def __init__(self, depth=4, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.ups = nn.ModuleList([nn.Linear(width, 2 * width) for _ in range(depth)])
        self.downs = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(depth)])

    def forward(self, states):
        for up, down in zip(self.ups, self.downs, strict=True):
            inner = nn.functional.layer_norm(states, states.shape[-1:])
            states = states + down(torch.tanh(up(inner)))
        return states


def test_writers_make_up_for_what_the_stream_has_lost(monkeypatch):
    model, batches = Residual(), samples(batches=24, shape=(2,), seed=5)
    new, report = converted(model, batches, 2, 4, method="wanda")
    with_stream = difference(new, model, batches)
    assert [layer.name for layer in report.converted][:2] == ["ups.0.weight", "downs.0.weight"]
    monkeypatch.setattr(gather, "_offsets", lambda *_: [])
    without = difference(converted(model, batches, 2, 4, method="wanda")[0], model, batches)
    assert with_stream < 0.8 * without


class Biased(nn.Module):
    """A second writer behind one without a bias, whose loss has a mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(16, 16, bias=False)
        self.second = nn.Linear(16, 16)

    def forward(self, states):
        states = states + self.first(states)
        return states + self.second(torch.tanh(states))


def test_a_bias_makes_up_for_the_mean_of_what_the_stream_has_lost():
    model, batches = Biased(), [each + 3 for each in samples(batches=16)]
    new, _ = converted(model, batches, 2, 4, method="magnitude", reconstruction=None)
    inputs = torch.cat(batches)
    with torch.no_grad():
        lost = (new(inputs) - model(inputs)).mean(0)
        before = (new.first(inputs) - model.first(inputs)).mean(0)
    assert before.abs().max() > 0.5
    torch.testing.assert_close(lost, torch.zeros(16), rtol=0, atol=1e-4)


def test_the_first_writer_has_lost_nothing_before_it():
    model, batches = Residual(depth=1), samples(batches=8)
    new, _ = converted(model, batches, 2, 4, method="wanda", include="downs*")
    same, _ = converted(model, batches, 2, 4, method="wanda", include="downs*", inputs="converted")
    torch.testing.assert_close(new.downs[0].weight, same.downs[0].weight, rtol=1e-4, atol=1e-5)
