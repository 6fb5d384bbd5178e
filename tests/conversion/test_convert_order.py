"""Which layers are met when, by what, and what of it counts."""

import copy

import pytest

torch = pytest.importorskip("torch")

from conversion.models import (  # noqa: E402
    Crossed,
    Experts,
    Stack,
    converted,
    difference,
    mlp,
    samples,
)
from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow.torch.conversion.calibrating import order  # noqa: E402
from nmflow.torch.conversion.calibrating.blocks import chains_of  # noqa: E402
from nmflow.torch.conversion.calibrating.calibration import Calibration  # noqa: E402


@pytest.mark.parametrize("inputs", ["both", "converted", "dense"])
def test_a_chain_of_blocks_gives_what_whole_runs_give(inputs, monkeypatch):
    model, batches = Stack(), samples(shape=(3,))
    streamed, report = converted(model, batches, 2, 4, inputs=inputs)
    assert report.converted[1].name == "blocks.0.first.weight"
    monkeypatch.setattr(order, "chains_of", lambda _: [])
    whole, _ = converted(model, batches, 2, 4, inputs=inputs)
    for mine, other in zip(streamed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_a_chain_is_run_a_block_at_a_time():
    model, calls = Stack(depth=5), []
    model.blocks[0].register_forward_pre_hook(lambda *_: calls.append(0))
    nmflow.torch.convert(model, samples(), 2, 4, include="blocks*")
    # Once for its order, twice for the proof of the chain, and for three stages and the next block.
    assert len(calls) < 4 * 14


def test_blocks_that_are_given_other_things_are_no_chain():
    with torch.no_grad():
        (chain,) = chains_of(Calibration(Stack(), samples()))
        assert chain.name == "blocks"
        assert chain.place == 0
        assert chains_of(Calibration(Stack(other_scales=True), samples())) == []
    model = Stack(other_scales=True)
    new, report = converted(model, samples(), 2, 4)
    assert len(report.converted) == 11
    assert difference(new, model, samples()) < 0.3


def test_a_function_that_runs_the_model_gives_the_same():
    model, inputs = Stack(), samples()
    batches, _ = converted(model, inputs, 2, 4, method="wanda")

    def read(one):
        for each in inputs:
            one(each)

    function, _ = converted(model, read, 2, 4, method="wanda")
    for mine, other in zip(function.parameters(), batches.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: [x], lambda x: {"input": x}])
def test_batches_are_arguments_or_keywords(wrap):
    model, inputs = mlp(), samples()
    plain, _ = converted(model, inputs, 2, 4, method="wanda")
    wrapped, _ = converted(model, (wrap(each) for each in inputs), 2, 4, method="wanda")
    assert torch.equal(plain[2].weight, wrapped[2].weight)


def test_a_weight_of_two_layers_sees_what_both_see():
    inputs = samples()
    twin = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    twin[2].weight = twin[0].weight
    new, report = converted(twin, inputs, 2, 4, inputs="converted")
    (layer,) = report.converted
    assert layer.samples == 2 * 4 * 32
    assert new[0].weight is new[2].weight
    assert "shared with 2.weight" in layer.note


def test_padding_does_not_count():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, states, attention_mask=None):
            return self.layer(states)

    torch.manual_seed(0)
    model, (whole,) = Reads(), samples(batches=1, shape=(6,))
    mask = torch.ones(whole.shape[:2], dtype=torch.long)
    mask[:, 4:] = 0
    padded = whole.clone()
    padded[:, 4:] = 100.0
    new, report = converted(model, [{"states": padded, "attention_mask": mask}], 2, 4)
    other, _ = converted(model, [whole[:, :4]], 2, 4)
    assert report.converted[0].samples == 32 * 4
    torch.testing.assert_close(new.layer.weight, other.layer.weight, rtol=1e-4, atol=1e-5)


def test_experts_that_no_sample_reaches():
    inputs = [torch.randn(8, 16).abs() * -1 for _ in range(3)]
    model = Experts()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(nmflow.NmflowError, match=r"no calibration sample reaches experts.1.weight"):
        nmflow.torch.convert(model, inputs, 2, 4)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    report = nmflow.torch.convert(model, inputs, 2, 4, unreached="magnitude")
    by_name = {layer.name: layer for layer in report.converted}
    assert by_name["experts.1.weight"].status == "magnitude"
    old = before["experts.1.weight"]
    assert torch.equal(model.experts[1].weight, old * nmflow.solve(old, 2, 4))
    assert "what it sees is not known" in str(report)


def test_stacked_experts_are_converted_by_magnitude_if_asked():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
        vocab_size=50,
    )
    model = transformers.MixtralForCausalLM(config)
    tokens = [torch.randint(50, (4, 6)) for _ in range(4)]
    with pytest.raises(nmflow.NmflowError, match=r"experts stacked in model.layers.0.mlp.experts."):
        nmflow.torch.convert(model, tokens, 2, 4)
    report = nmflow.torch.convert(model, tokens, 2, 4, unreached="magnitude")
    by_status = {layer.name: layer.status for layer in report.converted}
    stacks = [name for name, status in by_status.items() if status == "magnitude"]
    assert len(stacks) == 2
    assert all(".experts." in name for name in stacks)
    assert len(by_status) == 6


def test_layers_are_converted_as_data_meets_them():
    _, report = converted(Crossed(), samples(), 2, 4, method="wanda")
    names = [layer.name.removesuffix(".weight") for layer in report.converted]
    assert names == ["blocks.0", "beside", "blocks.1", "blocks.2"]
