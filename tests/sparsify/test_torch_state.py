"""State dicts: of a handle, to go on from, and of a model without its masks."""

import io

import pytest

torch = pytest.importorskip("torch")


from masked_nets import drift, most_kept, net, sgd, train  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import Refresh  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


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
    with pytest.raises(nmflow.NmflowError, match="it lacks clock, fixed, frozen, given, kept"):
        handle.load_state_dict({})
    wider = nmflow.torch.sparsify(
        nn.Sequential(nn.Linear(8, 20), net(), nn.Linear(20, 8)), 2, 4, exclude="1.*"
    )
    with pytest.raises(nmflow.NmflowError, match="shape"):
        handle.load_state_dict(wider.state_dict())
    assert handle.refresh().sad == 0


def test_a_state_without_its_clock_changes_nothing():
    handle = nmflow.torch.sparsify(net(), 4, 8, refresh=2)
    state = handle.state_dict()
    del state["clock"]["next"]
    handle.step()
    before = handle.state_dict()
    with pytest.raises(nmflow.NmflowError, match="the state's clock lacks next"):
        handle.load_state_dict(state)
    assert handle.state_dict()["clock"] == before["clock"]


@pytest.mark.parametrize("refresh", [None, Refresh(every=3, until=3)])
def test_a_run_that_was_unfrozen_goes_on_unfrozen(refresh):
    def made():
        return nmflow.torch.sparsify(net(), 2, 4, refresh=refresh)

    handle = made()
    for _ in range(4):
        handle.step()
    assert handle.frozen
    handle.unfreeze()
    handle.step()
    resumed = made()
    resumed.load_state_dict(handle.state_dict())
    for _ in range(90):
        assert bool(handle.step()) == bool(resumed.step())
    assert not resumed.frozen
    assert len(resumed.history) > 2


def test_masks_of_the_user_are_still_so_after_loading():
    """They may hold less than n, and are baked all the same."""
    layers = [nn.Linear(8, 8) for _ in range(2)]
    mask = torch.zeros(8, 8, dtype=torch.bool)
    given = {"masks": {"weight": mask}, "refresh": None}
    handle = nmflow.torch.sparsify(layers[0], 2, 4, **given)
    resumed = nmflow.torch.sparsify(layers[1], 2, 4)
    layers[1].load_state_dict(layers[0].state_dict())
    resumed.load_state_dict(handle.state_dict())
    resumed.bake()
    assert not layers[1].weight.any()


class TestPlainStateDict:
    def test_it_loads_into_the_model_without_masks(self):
        model = nn.Sequential(net(), nn.MultiheadAttention(8, 2))
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=2)
        drift(model[0], handle, 3)
        state = handle.sparse_state_dict()
        plain = nn.Sequential(net(1), nn.MultiheadAttention(8, 2))
        assert set(state) == set(plain.state_dict())
        plain.load_state_dict(state)
        assert most_kept(plain[0][0].weight) == most_kept(plain[1].in_proj_weight) == 2
        x = torch.randn(3, 8)
        assert torch.equal(plain[0](x), model[0](x))
        handle.bake()
        assert all(torch.equal(a, state[name]) for name, a in model.state_dict().items())

    def test_of_a_layer_as_a_whole_model(self):
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4)
        assert set(handle.sparse_state_dict()) == {"weight", "bias"}

    def test_of_shared_weights(self):
        model = net()
        model.append(nn.Linear(8, 16))
        model[3].weight = model[0].weight
        handle = nmflow.torch.sparsify(model, 2, 4)
        state = handle.sparse_state_dict()
        assert torch.equal(state["0.weight"], state["3.weight"])
