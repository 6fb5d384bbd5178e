"""Conversion of models with turned heads: errors fall, and failures put everything back."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from networks import is_as_it_was, state  # noqa: E402
from test_families import TEXT, build  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import NmflowError  # noqa: E402


def bert():
    return build("BertModel", "BertConfig", TEXT)


def batches(count=4):
    generator = torch.Generator().manual_seed(1)
    return [{"input_ids": torch.randint(3, 50, (8, 9), generator=generator)} for _ in range(count)]


def test_layers_lose_less():
    errors = []
    for rotate in (False, True):
        report = nmflow.torch.convert(bert(), batches(), 2, 4, rotate=rotate)
        errors.append({layer.name: layer.error for layer in report.converted})
        assert (report.rotations is not None) == rotate
    dense, turned = errors
    changes = [math.log(turned[name] / dense[name]) for name in dense if ".attention." in name]
    assert math.fsum(changes) / len(changes) < -0.1
    told = report.as_dict()["rotations"]
    assert {each["kind"] for each in told["rotations"]} == {"queries", "values"}
    assert "heads turned" in str(report)
    assert all(layer.certificate.gap == 0 for layer in report.converted)


def test_squares_count_by_what_layers_see(monkeypatch):
    from nmflow.torch.conversion import ordering

    given = {}

    def rotated(model, weights, inputs, kinds, features):
        given.update(features)
        raise KeyboardInterrupt

    monkeypatch.setattr(ordering, "rotate_weights", rotated)
    model, seen = bert(), []
    layer = model.encoder.layer[0].attention.self.value
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, 1)))
    with torch.no_grad():
        for batch in batches():
            model(**batch)
    hook.remove()
    with pytest.raises(KeyboardInterrupt):
        nmflow.torch.convert(model, batches(), 2, 4, rotate=True)
    rows = torch.cat(seen).double()
    moments = torch.cov(rows.T, correction=0)
    moments += 0.01 * moments.diagonal().mean() * torch.eye(32)
    found = given["encoder.layer.0.attention.self.value.weight"]
    assert torch.allclose(found, 1 / torch.linalg.inv(moments).diagonal(), rtol=1e-3)


def test_permuted_as_well():
    model = bert()
    report = nmflow.torch.convert(model, batches(), 2, 4, rotate=["values"], permute=["hidden"])
    assert {each.kind for each in report.rotations.rotations} == {"values"}
    assert {each.kind for each in report.orders.orders} == {"hidden"}


def test_resumed(tmp_path):
    options = {"rotate": True, "resume": tmp_path}
    first, second = bert(), bert()
    nmflow.torch.convert(first, batches(), 2, 4, **options)
    report = nmflow.torch.convert(second, batches(), 2, 4, **options)
    assert {layer.status for layer in report.converted} == {"resumed"}
    assert is_as_it_was(second, state(first))
    with pytest.raises(NmflowError, match="was begun with rotate = True, not False"):
        nmflow.torch.convert(bert(), batches(), 2, 4, resume=tmp_path)


@pytest.mark.parametrize("permute", [False, True])
def test_a_failure_before_the_first_layer_puts_all_back(permute):
    model = bert()
    before = state(model)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nmflow.torch.convert(
            model, batches(), 2, 4, rotate=True, permute=permute, progress=interrupt
        )
    assert is_as_it_was(model, before)


def test_orders_that_can_not_be_found_put_heads_back():
    model = bert()
    before = state(model)
    with pytest.raises(NmflowError, match="no order"):
        nmflow.torch.convert(model, batches(), 2, 4, rotate=True, permute=["channels"])
    assert is_as_it_was(model, before)


@pytest.mark.parametrize(("n", "options"), [(2, {"keep_zeros": True}), (None, {})])
def test_zeros_are_not_filled(n, options):
    with pytest.raises(NmflowError, match="rotate fills the zeros"):
        nmflow.torch.convert(bert(), batches(), n, 4, rotate=True, **options)
