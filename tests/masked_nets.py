"""Small networks to mask, and what is looked at in masked ones."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import nmflow  # noqa: E402


def net(seed=0):
    """Two layers to mask, each 8 by 16."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))


def masked_of(layer, name="weight"):
    """The parametrization of a layer's weight."""
    return layer.parametrizations[name][0]


def mask_of(layer):
    return masked_of(layer).mask


def dense_of(layer):
    return layer.parametrizations.weight.original


def most_kept(weight, m=4):
    """The most non-zeros in any group of m along either axis, counted here."""
    kept = weight.detach() != 0
    rows = kept.unflatten(1, (-1, m)).sum(-1).max()
    columns = kept.T.unflatten(1, (-1, m)).sum(-1).max()
    return int(max(rows, columns))


def exact(model, n, m):
    """Whether all masks are those of a solve."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    return all(torch.equal(mask_of(one), nmflow.solve(dense_of(one), n, m)) for one in layers)


def sgd(model, lr=0.5, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


def train(model, optimizer, handle, steps, look=lambda refreshed: None):
    """Steps on one batch, with a look after each; what the handle returned at each."""
    x = torch.linspace(-1, 1, 32).reshape(4, 8)
    refreshed = []
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - 1).square().sum().backward()
        optimizer.step()
        refreshed.append(handle.step())
        look(refreshed[-1])
    return refreshed


def drift(model, handle, steps, lr=0.3):
    """Steps on random batches, under which masks change."""
    optimizer = sgd(model, lr)
    for _ in range(steps):
        x = torch.randn(32, 8)
        optimizer.zero_grad()
        (model(x) - x.sin()).square().mean().backward()
        optimizer.step()
        handle.step()


class Tied(nn.Module):
    """A bag of words with one weight for reading and writing."""

    def __init__(self, words=16, width=8):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words):
        return self.head(self.embed(words).mean(-2))


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 2))


def snapshot(model):
    return {name: (p, p.detach().clone()) for name, p in model.named_parameters()}


def as_it_was(model, before):
    """No masks, and the same parameters with the same values in the same order."""
    after = dict(model.named_parameters())
    return (
        list(after) == list(before)
        and all(after[name] is parameter for name, (parameter, _) in before.items())
        and all(
            torch.allclose(after[name], values, rtol=0, atol=0, equal_nan=True)
            for name, (_, values) in before.items()
        )
        and not any(type(module).__name__.startswith("Param") for module in model.modules())
    )
