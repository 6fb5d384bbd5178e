"""What an optimizer step does to pruned weights: straight-through and SR-STE."""

import contextlib

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, mask_of, sgd  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import SRSTE  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def test_straight_through():
    """Pruned entries get the gradient of the masked weight too."""
    layer = nn.Linear(8, 8)
    nmflow.torch.sparsify(layer, 2, 4)
    x = torch.randn(4, 8)
    layer(x).square().sum().backward()
    with torch.no_grad():
        expected = 2 * layer(x).T @ x
    torch.testing.assert_close(dense_of(layer).grad, expected)


def one_step(rule, way):
    """Weights before and after an optimizer step, and the mask."""
    torch.manual_seed(5)
    layer, x = nn.Linear(8, 8), torch.randn(4, 8)
    nmflow.torch.sparsify(layer, 2, 4, rule=rule)
    optimizer, before = sgd(layer, fused=way == "fused"), dense_of(layer).detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=way in ("scaled", "fused"))

    def loss(part=x):
        value = layer(part).square().sum()
        scaler.scale(value).backward()
        return value

    if way == "closure":
        optimizer.step(closure=loss)
    elif way == "argument":
        assert optimizer.step(loss) > 0
    else:
        for part in x.chunk(4) if way == "accumulated" else [x]:
            loss(part)
        if way == "clipped":
            nn.utils.clip_grad_norm_(layer.parameters(), 1e-3)
        scaler.step(optimizer)
    return before, dense_of(layer).detach(), mask_of(layer)


@pytest.mark.parametrize(
    "way", ["plain", "accumulated", "clipped", "closure", "argument", "scaled", "fused"]
)
def test_sr_ste(way):
    """Beside straight-through, w loses rate * decay * (1 - mask) * w, once a step."""
    before, expected, mask = one_step("ste", way)
    _, after, _ = one_step(SRSTE(decay=0.1), way)
    torch.testing.assert_close(after, expected - 0.5 * 0.1 * before * ~mask)
    _, after, _ = one_step("sr-ste", way)
    torch.testing.assert_close(after, expected - 0.5 * 2e-4 * before * ~mask, atol=0, rtol=1e-6)


def test_sr_ste_of_shared_and_unused_weights():
    first, second, unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    model = nn.Sequential(first, second, unused)
    nmflow.torch.sparsify(model, 2, 4, rule=SRSTE(decay=0.5))
    before, mask = dense_of(first).detach().clone(), mask_of(first)
    optimizer = sgd(model, 1.0)
    (model[:2](torch.randn(4, 8)).sum() * 0).backward()
    optimizer.step()
    torch.testing.assert_close(dense_of(first).detach(), before - 0.5 * before * ~mask)


class Twice(torch.optim.Optimizer):
    """Wraps an optimizer of the same parameters."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, {})
        self.inner, self.fails = inner, False

    def step(self, closure=None):
        if self.fails:
            raise RuntimeError
        self.inner.step(closure)


def test_sr_ste_of_a_wrapped_optimizer():
    """The term is added once, also after a step that failed half-way."""
    layer = nn.Linear(8, 8)
    nmflow.torch.sparsify(layer, 2, 4, rule=SRSTE(decay=0.5))
    optimizer, before = Twice(sgd(layer, 1.0)), dense_of(layer).detach().clone()
    for optimizer.fails in (True, False):
        optimizer.zero_grad()
        (layer(torch.randn(4, 8)).sum() * 0).backward()
        with pytest.raises(RuntimeError) if optimizer.fails else contextlib.nullcontext():
            optimizer.step()
    expected = before - 0.5 * before * ~mask_of(layer)
    torch.testing.assert_close(dense_of(layer).detach(), expected)


@pytest.mark.parametrize("decay", [float("nan"), "2e-4"])
def test_wrong_decay(decay):
    with pytest.raises(nmflow.NmflowError, match="decay must be a finite number"):
        SRSTE(decay=decay)


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [(torch.optim.SGD, 1 - 0.5 * 0.1), (torch.optim.AdamW, 1 - 0.5 * 0.1)],
)
def test_weight_decay_acts_on_and_off_the_mask(optimizer, factor):
    layer = nn.Linear(8, 8)
    nmflow.torch.sparsify(layer, 2, 4)
    before = dense_of(layer).detach().clone()
    chosen = optimizer(layer.parameters(), lr=0.5, weight_decay=0.1)
    (layer(torch.randn(4, 8)).sum() * 0).backward()
    chosen.step()
    torch.testing.assert_close(dense_of(layer).detach(), before * factor)
