"""Masks follow the weights while they train, until they are frozen."""

import warnings

import numba
import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, exact, mask_of, net, sgd, train  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import SRSTE  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def test_masks_follow_the_weights():
    model = net()
    optimizer = sgd(model, 0.05)  # made before: its parameters stay the model's
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=3)
    start = [mask_of(model[0]).clone(), mask_of(model[2]).clone()]
    refreshed = train(model, optimizer, handle, 7)
    assert [bool(each) for each in refreshed] == [False, False, True] * 2 + [False]
    assert [each.step for each in handle.history] == [0, 3, 6]
    handle.refresh()
    assert exact(model, 2, 4)
    assert all(certificate.gap == 0 for certificate in handle.certify().values())
    assert any(not torch.equal(a, mask_of(b)) for a, b in zip(start, model[::2], strict=True))
    assert handle.history[-1].step == 7


def test_statistics():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, kept_scores=True)
    first = handle.history[0]
    assert [first.sad, first.flip_rate] == [64, 0.5]
    old = [mask_of(layer).clone() for layer in model[::2]]
    with torch.no_grad():
        dense_of(model[0]).copy_(torch.randn(16, 8))
    new = handle.refresh()
    changed = int((old[0] != mask_of(model[0])).sum())
    assert changed
    layers = list(new.layers.values())
    assert list(new.layers) == ["0.weight", "2.weight"]
    assert [one.sad for one in layers] == [changed, 0]
    assert [one.flip_rate for one in layers] == [changed / 128, 0]
    assert (new.sad, new.flip_rate) == (changed / 2, changed / 256)
    scores = [layer.weight.detach().abs().sum().item() for layer in model[::2]]
    assert new.kept_score == pytest.approx(sum(scores))
    whole = dense_of(model[0]).detach().abs().sum().item()
    assert layers[0].kept_share == pytest.approx(scores[0] / whole)
    assert 0.5 < new.kept_share < 1
    assert sum(one.seconds for one in layers) > 0
    assert new.seconds > 0
    assert str(new).startswith("step 0: 2:4, flip rate ")


def test_frozen_masks():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, rule=SRSTE(decay=0.5), refresh=1)
    optimizer = sgd(model, 0.1)
    train(model, optimizer, handle, 2)
    handle.freeze()
    masks = [mask_of(layer).clone() for layer in model[::2]]
    pruned = [dense_of(layer)[~mask_of(layer)].clone() for layer in model[::2]]
    kept = model[0].weight.detach().clone()
    assert train(model, optimizer, handle, 3) == [None] * 3
    for layer, mask, values in zip(model[::2], masks, pruned, strict=True):
        assert torch.equal(mask_of(layer), mask)
        assert torch.equal(dense_of(layer)[~mask], values)
    assert not torch.equal(model[0].weight, kept)
    with pytest.raises(nmflow.NmflowError, match="masks are frozen"):
        handle.refresh()
    assert len(handle.history) == 3


def test_masks_found_once():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=None)
    assert handle.frozen
    assert exact(model, 2, 4)
    train(model, sgd(model), handle, 3)


def test_diverged_weights_keep_their_masks():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=1)
    masks = [mask_of(layer).clone() for layer in model[::2]]
    sane = dense_of(model[2]).detach().clone()
    with torch.no_grad():
        dense_of(model[0]).copy_(torch.randn(16, 8))
        dense_of(model[2])[1, 2] = float("inf")
    with pytest.raises(nmflow.NmflowError, match=r"no masks at step 1(.|\n)*2.weight: .* inf at"):
        handle.step()
    assert all(
        torch.equal(mask_of(layer), mask) for layer, mask in zip(model[::2], masks, strict=True)
    )
    assert len(handle.history) == 1
    with torch.no_grad():
        dense_of(model[2]).copy_(sane)
    assert handle.step().step == 2
    assert exact(model, 2, 4)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="so many tiles need the compiler")
def test_threads_share_the_layers():
    models = []
    for workers in (1, 4):
        torch.manual_seed(1)
        models.append(nn.Sequential(*(nn.Linear(256, 512) for _ in range(6))))
        nmflow.torch.sparsify(models[-1], 2, 4, workers=workers)
    masks = [[mask_of(layer) for layer in model] for model in models]
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))
    assert exact(models[1], 2, 4)


def test_nothing_warns_without_reason():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=1)
        train(model, sgd(model), handle, 3)
    assert not caught
