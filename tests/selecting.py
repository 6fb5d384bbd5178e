"""What is chosen of a model of layers by name."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.torch.selecting.select import choose_weights  # noqa: E402

P = Pattern(2, 4)


def chosen(model, *options, **more):
    weights, _ = choose_weights(model, P, *options, **more)
    return [weight.name for weight in weights]


def notes(model, *options, **more):
    _, report = choose_weights(model, P, *options, **more)
    return {line.name: line.note for line in report.skipped}


class Net(nn.Module):
    """Layers by the names given."""

    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


def linear(outputs=8, inputs=8):
    return nn.Linear(inputs, outputs)
