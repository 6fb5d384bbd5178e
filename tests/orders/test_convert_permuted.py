"""Conversion of permuted models: errors fall, outputs stay, and failures put everything back."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks import at_random, convolutional, images, is_as_it_was, mlp, state  # noqa: E402
from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import NmflowError  # noqa: E402
from nmflow.torch.conversion import diagonals, ordering  # noqa: E402


def wide():
    layers = [nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)]
    return at_random(nn.Sequential(*layers))


def batches(features=32, count=4):
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(features, features, generator=generator)
    sizes = torch.logspace(-1, 1, features)
    return [torch.randn(64, features, generator=generator) @ mix * sizes for _ in range(count)]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "alps"])
def test_layers_lose_less(method):
    errors = []
    for permute in (False, True):
        options = {"method": method, "reconstruction": None, "permute": permute}
        report = nmflow.torch.convert(wide(), batches(), 2, 4, **options)
        errors.append(report.error)
        assert (report.orders is not None) == permute
    # Magnitudes are not what orders are chosen by.
    assert method == "magnitude" or errors[1] < 0.97 * errors[0]


@pytest.mark.parametrize("room", [1 << 30, 1])
@pytest.mark.parametrize("centred", [False, True])
def test_scores_are_what_outputs_lose_without_a_weight(monkeypatch, centred, room):
    model, data, given = wide(), batches(), {}
    monkeypatch.setattr(ordering, "permute", lambda *_, **options: given.update(options))
    monkeypatch.setattr(diagonals, "_MOMENT_BYTES", room)
    options = {"method": "magnitude", "permute": True, "bias_correction": centred}
    nmflow.torch.convert(model, data, 2, 4, **options)
    seen = torch.relu(torch.cat(data) @ wide()[0].weight.T + wide()[0].bias).double()
    seen -= seen.mean(0) * centred
    weight = wide()[2].weight.detach()
    moments = seen.T @ seen / len(seen)
    moments += 0.01 * moments.diagonal().mean() * torch.eye(64)
    found = given["scores"]("2.weight", weight)[:3, :5]
    for i, j in np.ndindex(*found.shape):
        # The others make up for it: least squares of what it gives, by what they give.
        rest = torch.arange(64) != j
        cross = moments[rest, j]
        lost = moments[j, j] - cross @ torch.linalg.solve(moments[rest][:, rest], cross)
        assert found[i, j].item() == pytest.approx(weight[i, j].item() ** 2 * lost.item(), rel=1e-4)
    assert torch.equal(given["inputs"][0], data[0])


def test_masks_are_exact_and_reported():
    report = nmflow.torch.convert(wide(), batches(), 2, 4, permute=True)
    assert all(layer.certificate.gap == 0 for layer in report.converted)
    assert report.orders.difference <= 1e-5
    assert report.orders.kept_after > report.orders.kept_before
    told = report.as_dict()["orders"]
    assert [order["kind"] for order in told["orders"]] == ["hidden", "hidden"]
    assert "permuted first, 2:4 transposable: 2 orders of 3 weights" in str(report)
    assert nmflow.torch.convert(wide(), batches(), 2, 4).as_dict()["orders"] is None


def test_orders_do_not_depend_on_how_data_is_given():
    models = [wide() for _ in range(3)]
    data = batches()

    def function(model):
        for batch in data:
            model(batch)

    for model, given in zip(models, (data, function, [{"input": x} for x in data]), strict=True):
        nmflow.torch.convert(model, given, 2, 4, method="wanda", permute=True)
    assert is_as_it_was(models[1], state(models[0]))
    assert is_as_it_was(models[2], state(models[0]))


def test_convolutions():
    model = convolutional()
    report = nmflow.torch.convert(model, [images(), images(seed=1)], 2, 4, permute=True)
    assert {order.kind for order in report.orders.orders} == {"channels"}
    assert all(layer.certificate.gap == 0 for layer in report.converted)


def test_resumed(tmp_path):
    data, first, second = batches(), wide(), wide()
    nmflow.torch.convert(first, data, 2, 4, permute=True, resume=tmp_path)
    report = nmflow.torch.convert(second, data, 2, 4, permute=True, resume=tmp_path)
    assert {layer.status for layer in report.converted} == {"resumed"}
    assert is_as_it_was(second, state(first))
    with pytest.raises(NmflowError, match="was begun with permute = True, not False"):
        nmflow.torch.convert(wide(), data, 2, 4, resume=tmp_path)


def test_a_failure_before_the_first_layer_puts_orders_back():
    model, data = wide(), batches()
    before = state(model)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nmflow.torch.convert(model, data, 2, 4, permute=True, progress=interrupt)
    assert is_as_it_was(model, before)


def test_a_later_failure_leaves_a_model_that_computes_alike():
    model, data = wide(), batches()
    dense = copy.deepcopy(model)

    def interrupt(_, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        nmflow.torch.convert(model, data, 2, 4, permute=True, progress=interrupt)
    report = caught.value.report
    assert [layer.name for layer in report.converted] == ["0.weight"]
    undone = copy.deepcopy(model)
    report.orders.undo()
    assert torch.equal(model[4].weight, dense[4].weight)
    assert not torch.equal(undone[4].weight, dense[4].weight)


def test_several_patterns_are_refused():
    model = wide()
    before, patterns = state(model), {"0": (2, 4), "*": (1, 4)}
    with pytest.raises(NmflowError, match="permute needs one pattern"):
        nmflow.torch.convert(model, batches(), patterns, permute=True)
    assert is_as_it_was(model, before)


def test_models_without_free_orders_are_refused():
    with pytest.raises(NmflowError, match="no order of this Linear is free"):
        nmflow.torch.convert(nn.Linear(16, 16), [torch.randn(4, 16)], 2, 4, permute=True)


def test_nothing_but_what_is_converted_decides():
    report = nmflow.torch.convert(
        mlp(), [torch.randn(64, 16)], 2, 4, include=["0", "3"], permute=True
    )
    assert [layer.name for layer in report.orders.layers] == ["0.weight", "3.weight"]
