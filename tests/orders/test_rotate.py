"""Heads in other bases: outputs stay, masks keep more, what is sparse in some basis is found."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from networks import is_as_it_was, mlp, state  # noqa: E402
from test_families import FAMILIES, GPT2, GROUPED, ROTARY, TEXT, build, inputs_of, outputs  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import NmflowError  # noqa: E402
from nmflow.torch.orders.problem import kept_share  # noqa: E402

BERT = ("BertModel", "BertConfig", TEXT)
ATTENTION = "encoder.layer.0.attention"


def squares(weight):
    return weight.detach().double().square().float().numpy()


def orthogonal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(*shape, generator=generator, dtype=torch.float64))[0]


@pytest.mark.parametrize(("kind", "config", "options", "free"), FAMILIES)
def test_outputs_stay(kind, config, options, free):
    model = build(kind, config, options, torch.float64)
    inputs = inputs_of(model)
    dense, before = outputs(model, inputs), state(model)
    report = nmflow.torch.rotate(model, 2, 4, steps=2)
    assert {each.kind for each in report.rotations} == free - {"hidden", "stream"}
    # Root mean squares are in float32 whatever the model is in.
    tolerance = 1e-5 if free == ROTARY else 1e-11
    assert (outputs(model, inputs) - dense).abs().max() <= tolerance * dense.abs().max()
    assert report.difference <= tolerance
    assert report.kept_after > report.kept_before
    assert not is_as_it_was(model, before)
    report.undo()
    for name, value in model.state_dict().items():
        assert torch.allclose(value, before[name], rtol=0, atol=1e-12), name


@pytest.mark.parametrize(
    ("kind", "config", "options"), [BERT, ("GPT2LMHeadModel", "GPT2Config", GPT2)]
)
def test_reported_shares_are_those_of_the_model(kind, config, options):
    model = build(kind, config, options)
    dense = copy.deepcopy(model)
    report = nmflow.torch.rotate(model, 2, 4)
    for layer in report.layers:
        for owner, share in ((dense, layer.kept_before), (model, layer.kept_after)):
            scores = squares(owner.get_parameter(layer.name))
            # Masks of transposed matrices are transposed.
            assert kept_share([scores], nmflow.Pattern(2, 4)) == pytest.approx(share, rel=1e-4)
    # Random weights have no basis in which they are sparse.
    assert report.kept_before + 0.02 < report.kept_after < 0.99


def test_weights_are_turned_by_the_bases_told():
    model = build("LlamaForCausalLM", "LlamaConfig", GROUPED)
    attention = model.model.layers[0].self_attn
    value, out = attention.v_proj.weight.double(), attention.o_proj.weight.double()
    report = nmflow.torch.rotate(model, 2, 4, steps=5)
    bases = torch.as_tensor(report.rotations[0].bases)
    assert bases.shape == (2, 8, 8)
    assert torch.allclose(bases @ bases.mT, torch.eye(8, dtype=bases.dtype), atol=1e-12)
    assert torch.allclose(
        attention.v_proj.weight.double(), torch.block_diag(*bases) @ value, atol=1e-6
    )
    # Two query heads read each value head.
    turned = out @ torch.block_diag(*bases.repeat_interleave(2, dim=0)).mT
    assert torch.allclose(attention.o_proj.weight.double(), turned, atol=1e-6)


@torch.no_grad()
def test_a_sparse_basis_is_found():
    model = build(*BERT)
    attention = model.get_submodule(ATTENTION)
    bases = torch.block_diag(*orthogonal(4, 8, 8))
    for kind in ("query", "key"):
        weight = getattr(attention.self, kind).weight
        generator = torch.Generator().manual_seed(len(kind))
        # One or two of eight are not nothing.
        sparse = torch.randn(32, 32, generator=generator) * (
            torch.rand(32, 32, generator=generator) < 0.15
        )
        weight.copy_(bases @ sparse.double())
    report = nmflow.torch.rotate(model, 2, 4, include=["*layer.0*query*", "*layer.0*key*"])
    assert report.kept_before < 0.9
    assert report.kept_after > 0.97


def test_features_decide_what_counts():
    model = build(*BERT)
    name = f"{ATTENTION}.self.value.weight"
    features = {name: torch.logspace(0, 4, 32)}
    report = nmflow.torch.rotate(model, 2, 4, features=features, include=[name])
    (layer,) = report.layers
    scores = squares(model.get_parameter(name)) * features[name].numpy()
    assert kept_share([scores], nmflow.Pattern(2, 4)) == pytest.approx(layer.kept_after, rel=1e-4)
    plain = build(*BERT)
    nmflow.torch.rotate(plain, 2, 4, include=[name])
    others = squares(plain.get_parameter(name)) * features[name].numpy()
    assert kept_share([others], nmflow.Pattern(2, 4)) < layer.kept_after


def test_channels_that_are_read_count_by_their_heads_mean():
    model = build(*BERT)
    name = f"{ATTENTION}.output.dense.weight"
    features = {name: torch.logspace(0, 2, 32)}
    report = nmflow.torch.rotate(model, 2, 4, features=features, include=[name])
    means = features[name].reshape(4, 8).mean(1).repeat_interleave(8).numpy()
    scores = squares(model.get_parameter(name)) * means
    assert kept_share([scores], nmflow.Pattern(2, 4)) == pytest.approx(
        report.layers[0].kept_after, rel=1e-4
    )


def test_what_can_not_be_turned_to_gain_stays():
    model = build(*BERT)
    with torch.no_grad():
        for block in model.encoder.layer:
            for kind in ("query", "key"):
                # 2:4 already, all of one size: nothing is pruned in the basis that there is.
                weight = getattr(block.attention.self, kind).weight
                weight.copy_(torch.eye(4).repeat(8, 8).roll(1, 0))
    before = state(model)
    report = nmflow.torch.rotate(model, 2, 4, kinds=["queries"])
    assert report.kept_after == report.kept_before == 1
    assert is_as_it_was(model, before)
    for each in report.rotations:
        assert (each.bases == np.eye(8)).all()


def test_wanted_kinds_and_weights_alone():
    model = build(*BERT)
    report = nmflow.torch.rotate(model, 2, 4, kinds=["values"], exclude="*layer.1*", steps=2)
    assert {layer.name.rpartition("attention.")[2] for layer in report.layers} == {
        "self.value.weight",
        "output.dense.weight",
    }
    assert set(report.refused) == {"encoder.layer.1.attention.output.dense"}
    assert "4 of values, in 2 weights" in str(report)
    assert report.as_dict()["rotations"] == [
        {"name": "encoder.layer.0.attention.output.dense", "kind": "values", "heads": 4}
    ]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (mlp, {}, "no transformer whose heads are known"),
        (lambda: build(*BERT), {"kinds": ["hidden"]}, "kinds must be of values, queries"),
        (lambda: build(*BERT), {"steps": 0}, "steps must be at least 1"),
        (lambda: build(*BERT, torch.bfloat16), {}, "model.float()"),
        (lambda: build(*BERT), {"include": ["*intermediate*"]}, "no weight that is to be masked"),
    ],
)
def test_refused(make, options, message):
    model = make()
    before = state(model)
    with pytest.raises(NmflowError, match=message):
        nmflow.torch.rotate(model, 2, 4, **{"steps": 2} | options)
    assert is_as_it_was(model, before)


def test_values_that_are_not_finite():
    model = build(*BERT)
    with torch.no_grad():
        model.get_submodule(ATTENTION).self.value.weight[0, 0] = torch.nan
    with pytest.raises(NmflowError, match=r"value.weight is not finite"):
        nmflow.torch.rotate(model, 2, 4)


def test_sparsified_models_are_refused():
    model = build(*BERT)
    nmflow.torch.sparsify(model, 2, 4)
    with pytest.raises(NmflowError):
        nmflow.torch.rotate(model, 2, 4)
