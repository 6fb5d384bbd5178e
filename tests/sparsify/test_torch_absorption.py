"""Kept entries that take up what is pruned beside them."""

import pytest

torch = pytest.importorskip("torch")

from masked_nets import masked_of  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def test_mean_absorption():
    """Kept entries take up the mean, over the entries of their tile, of what is pruned there."""
    conv = nn.Conv1d(6, 9, 2)
    nmflow.torch.sparsify(conv, 2, 4, mean_absorption=True)
    dense, mask = conv.parametrizations.weight.original.detach(), masked_of(conv).mask
    for position in range(2):
        for row in range(0, 9, 4):
            for column in range(0, 6, 4):
                tile = (slice(row, row + 4), slice(column, column + 4), position)
                absorbed = dense[tile] + (dense[tile] * ~mask[tile]).mean()
                torch.testing.assert_close(conv.weight[tile], absorbed * mask[tile])
    conv.weight.sum().backward()
    assert (conv.parametrizations.weight.original.grad == 1).all()


@pytest.mark.parametrize(
    ("pattern", "shape"), [("rows", (1, 4)), ("columns", (4, 1)), ("unstructured", (8, 8))]
)
def test_mean_absorption_of_other_patterns(pattern, shape):
    layer = nn.Linear(8, 8, dtype=torch.bfloat16)
    handle = nmflow.torch.sparsify(layer, 2, 4, pattern=pattern, mean_absorption=True)
    dense = layer.parametrizations.weight.original.detach()
    corner = tuple(slice(size) for size in shape)
    mean = (dense * ~masked_of(layer).mask)[corner].float().mean()
    expected = (dense[corner] + mean) * masked_of(layer).mask[corner]
    torch.testing.assert_close(layer.weight[corner].float(), expected.float(), atol=1e-2, rtol=1e-2)
    expected = layer.weight.detach().clone()
    handle.bake()
    assert torch.equal(layer.weight, expected)
