"""Small models to convert, with inputs, and what is looked at once they are."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh())


def samples(features=16, batches=4, size=32, seed=1, shape=()):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=generator)
    return [
        torch.randn(size, *shape, features, generator=generator) @ mix / features**0.5
        for _ in range(batches)
    ]


class Block(nn.Module):
    """Reads what it is given beside the states, as attention does its mask."""

    def __init__(self, width=16):
        super().__init__()
        self.first = nn.Linear(width, 2 * width)
        self.gate = nn.Linear(width, 2 * width)
        self.second = nn.Linear(2 * width, width)

    def forward(self, states, scale=None):
        inner = torch.tanh(self.first(states)) * torch.sigmoid(self.gate(states))
        return (states + self.second(inner) * scale,)


class Stack(nn.Module):
    """Blocks in a chain, between layers that are in none."""

    def __init__(self, depth=3, width=16, seed=0, other_scales=False):
        super().__init__()
        torch.manual_seed(seed)
        self.before = nn.Linear(width, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.after = nn.Linear(width, width)
        self.other_scales = other_scales

    def forward(self, inputs):
        states, scale = self.before(inputs), torch.ones(1)
        for number, block in enumerate(self.blocks):
            (states,) = block(states, scale=scale + number * self.other_scales)
        return self.after(states)


class Experts(nn.Module):
    """Two experts, of which the second waits for positive sums."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Linear(16, 16)
        self.experts = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])

    def forward(self, inputs):
        states = self.stem(inputs)
        second = inputs.sum(-1) > 0
        outputs = torch.zeros_like(states)
        for expert, which in zip(self.experts, (~second, second), strict=True):
            if which.any():
                outputs[which] = expert(states[which])
        return outputs


class Crossed(nn.Module):
    """A chain of blocks, with another layer called between two of them."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = nn.ModuleList([nn.Linear(16, 16) for _ in range(3)])
        self.beside = nn.Linear(16, 16)

    def forward(self, inputs):
        first = self.blocks[0](inputs)
        aside = self.beside(torch.tanh(first))
        return self.blocks[2](self.blocks[1](first)) + aside


def difference(model, other, inputs):
    """Squared difference of outputs, relative to what varies of them."""
    with torch.no_grad():
        mine = torch.cat([model(each) for each in inputs])
        theirs = torch.cat([other(each) for each in inputs])
    varies = theirs - theirs.mean(tuple(range(theirs.ndim - 1)))
    return float((mine - theirs).square().sum() / varies.square().sum())


def converted(model, batches, *args, **options):
    """A converted copy, and its report."""
    new = copy.deepcopy(model)
    return new, nmflow.torch.convert(new, batches, *args, **options)


def is_transposable(weight, n, m):
    kept = (weight.detach() != 0).numpy()
    return nmflow.certify(kept.astype("f4"), kept, n, m).feasible
