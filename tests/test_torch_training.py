"""Masks follow the weights while they train, by the rule and when the policy says."""

import contextlib
import gc
import io
import warnings

import numba
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import SRSTE, Refresh, optimizers  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def net():
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))


def dense_of(layer):
    return layer.parametrizations.weight.original


def mask_of(layer):
    return layer.parametrizations.weight[0].mask


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


def exact(model, n, m):
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    return all(torch.equal(mask_of(one), nmflow.solve(dense_of(one), n, m)) for one in layers)


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


@pytest.mark.parametrize(
    ("policy", "steps", "expected"),
    [
        (3, 7, [(0, 2), (3, 2), (6, 2)]),
        (Refresh(every=2, until=5), 9, [(0, 2), (2, 2), (4, 2), (5, 2)]),
        (Refresh(every=4, begin=6), 12, [(6, 2), (10, 2)]),
        (Refresh(every=2, ramp=6), 9, [(4, 3), (6, 2), (8, 2)]),
        (Refresh(every=3, begin=2, ramp=4, until=7), 9, [(5, 3), (7, 2)]),
        (Refresh(every=2, ramp=8, schedule="cubic"), 9, [(2, 3), (4, 3), (6, 3), (8, 2)]),
        (Refresh(every=2, ramp=8, schedule=lambda share: share**2), 9, [(6, 3), (8, 2)]),
    ],
)
def test_refresh_policies(policy, steps, expected):
    """At which steps there are new masks, and how many of every 4 they keep."""
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=policy)
    optimizer = sgd(model, 0.01)

    def look(refreshed):
        assert refreshed is None or exact(model, refreshed.n, 4)

    train(model, optimizer, handle, steps, look)
    assert [(each.step, each.n) for each in handle.history] == expected
    assert handle.frozen == (getattr(policy, "until", None) is not None)


def test_refreshes_grow_rare_while_masks_hold():
    model = net()
    policy = Refresh(every=2, ramp=4, flip_rate=0.01, longest=6)
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=policy)
    for _ in range(24):
        handle.step()
    assert [each.step for each in handle.history] == [2, 4, 6, 10, 16, 22]
    with torch.no_grad():
        dense_of(model[0]).copy_(torch.randn(16, 8))
    for _ in range(12):
        handle.step()
    assert [each.step for each in handle.history][-3:] == [28, 30, 34]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1"),
        ({"ramp": -1}, "ramp must be at least 0"),
        ({"until": 0}, "until must be at least 1"),
        ({"begin": 5, "ramp": 5, "until": 9}, "until=9 comes before the ramp ends at step 10"),
        ({"flip_rate": 1.5}, "flip_rate must be between 0 and 1"),
        ({"every": 1.5}, "every must be an integer"),
    ],
)
def test_wrong_policies(options, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        Refresh(**options)


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


def test_state_is_saved_and_loaded():
    def made():
        torch.manual_seed(3)
        model = net()
        policy = Refresh(every=2, ramp=4)
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=policy)
        return model, sgd(model, 0.05, momentum=0.9), handle

    model, optimizer, handle = made()
    train(model, optimizer, handle, 5)
    file = io.BytesIO()
    parts = {"model": model, "optimizer": optimizer, "handle": handle}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = dict(zip(parts, made(), strict=True))
    resumed["model"].load_state_dict(state["model"], strict=True)
    resumed["optimizer"].load_state_dict(state["optimizer"])
    resumed["handle"].load_state_dict(state["handle"])
    trackers = [one.state_dict()["layers"]["0.weight"] for one in (handle, resumed["handle"])]
    assert trackers[0].keys() == trackers[1].keys()
    assert all(torch.equal(trackers[0][name], trackers[1][name]) for name in trackers[0])
    assert handle.certify() == resumed["handle"].certify()
    for each in ((model, optimizer, handle), tuple(resumed.values())):
        train(*each, 5)
    ours, theirs = model.state_dict(), resumed["model"].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    pairs = zip(handle.history[-2:], resumed["handle"].history[-2:], strict=True)
    assert all((a.step, a.sad) == (b.step, b.sad) for a, b in pairs)


def test_frozen_state_is_loaded():
    state = nmflow.torch.sparsify(net(), 2, 4, refresh=None).state_dict()
    handle = nmflow.torch.sparsify(net(), 2, 4)
    handle.load_state_dict(state)
    assert handle.frozen


@pytest.mark.parametrize(
    "options",
    [
        {"include": "0"},
        {"score": "square"},
        {"pattern": "rows"},
        {"method": nmflow.Flow(), "pattern": "columns"},
    ],
)
def test_state_of_another_model(options):
    handle = nmflow.torch.sparsify(net(), 2, 4)
    handle.step()
    other = nmflow.torch.sparsify(net(), 2, 4, **options)
    with pytest.raises(nmflow.NmflowError, match="Sparsify the model as the saved one was"):
        handle.load_state_dict(other.state_dict())
    assert handle.state_dict()["clock"]["step"] == 1


def test_state_that_does_not_fit():
    handle = nmflow.torch.sparsify(net(), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="it lacks clock, frozen, kept, layers, problem"):
        handle.load_state_dict({})
    wider = nmflow.torch.sparsify(
        nn.Sequential(nn.Linear(8, 20), net(), nn.Linear(20, 8)), 2, 4, exclude="1.*"
    )
    with pytest.raises(nmflow.NmflowError, match="shape"):
        handle.load_state_dict(wider.state_dict())
    assert handle.refresh().sad == 0


def step_alone(optimizer, times):
    for _ in range(times):
        optimizer.step()


def test_a_loop_that_forgets_step_is_warned_once():
    model = net()
    nmflow.torch.sparsify(model, 2, 4)  # the handle is dropped, too
    gc.collect()
    optimizer = sgd(model)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"stepped twice without handle.step\(\)") as caught:
        optimizer.step()
    assert caught[0].filename == __file__
    step_alone(optimizer, 5)


def test_nobody_else_is_warned():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4)
    two = [sgd(model[0]), sgd(model[2])]
    for _ in range(3):
        for optimizer in two:
            optimizer.step()
        handle.step()
    step_alone(sgd(nn.Linear(8, 8)), 3)
    handle.freeze()
    step_alone(two[0], 3)
    model = net()
    optimizer, handle = sgd(model), nmflow.torch.sparsify(model, 2, 4)
    held = model[0].parametrizations.weight
    handle.remove()
    step_alone(optimizer, 3)
    assert held.original is model[0].weight


def test_dead_models_are_not_watched():
    gc.collect()
    before = len(optimizers._WATCHED)
    model = net()
    nmflow.torch.sparsify(model, 2, 4)
    assert len(optimizers._WATCHED) == before + 2
    del model
    gc.collect()
    assert len(optimizers._WATCHED) == before


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
