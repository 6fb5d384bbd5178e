"""Orders of transformers: their outputs stay, and each kind of order is found where it is free."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from networks import at_random, is_as_it_was, state  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow import NmflowError  # noqa: E402
from nmflow.torch.orders.problem import kept_share  # noqa: E402

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
TEXT = {**SMALL, "vocab_size": 50}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**TEXT, **TOKENS, "num_key_value_heads": 2}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 16, **TOKENS}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
IMAGES = {**SMALL, "image_size": 16, "patch_size": 8}
FREE = {"hidden", "values", "queries", "stream"}
ROTARY = FREE - {"queries"}

# Model class, config class, its options, and the kinds of orders that are free.
FAMILIES = [
    ("BertForSequenceClassification", "BertConfig", TEXT, FREE),
    ("BertForTokenClassification", "BertConfig", TEXT, FREE),
    ("BertForMaskedLM", "BertConfig", TEXT, FREE),
    ("BertForMaskedLM", "BertConfig", {**TEXT, "tie_word_embeddings": False}, FREE),
    ("BertModel", "BertConfig", TEXT, FREE - {"stream"}),
    ("RobertaForMaskedLM", "RobertaConfig", TEXT, FREE),
    ("RobertaForSequenceClassification", "RobertaConfig", TEXT, FREE),
    ("DistilBertForSequenceClassification", "DistilBertConfig", DISTIL, FREE),
    ("DistilBertForMaskedLM", "DistilBertConfig", DISTIL, FREE),
    ("ElectraForMaskedLM", "ElectraConfig", {**TEXT, "embedding_size": 16}, FREE - {"stream"}),
    ("GPT2LMHeadModel", "GPT2Config", GPT2, FREE),
    ("LlamaForCausalLM", "LlamaConfig", GROUPED, ROTARY),
    ("MistralForCausalLM", "MistralConfig", {**GROUPED, "head_dim": 8}, ROTARY),
    ("Qwen2ForCausalLM", "Qwen2Config", GROUPED, ROTARY),
    ("Qwen3ForCausalLM", "Qwen3Config", {**GROUPED, "head_dim": 16}, ROTARY),
    ("GemmaForCausalLM", "GemmaConfig", {**GROUPED, "head_dim": 8}, ROTARY),
    ("Gemma2ForCausalLM", "Gemma2Config", {**GROUPED, "head_dim": 8}, ROTARY),
    ("ViTForImageClassification", "ViTConfig", IMAGES, FREE),
    ("T5ForConditionalGeneration", "T5Config", T5, FREE - {"stream"}),
    (
        "T5ForConditionalGeneration",
        "T5Config",
        {**T5, "feed_forward_proj": "gated-gelu"},
        FREE - {"stream"},
    ),
]


def build(kind, config, options, dtype=None):
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**options))
    return at_random(model, dtype=dtype)


def inputs_of(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    if hasattr(model.config, "image_size"):
        dtype = next(model.parameters()).dtype
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator).to(dtype)}
    ids = torch.randint(3, 50, (2, 9), generator=generator)
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return {"input_ids": ids, **more}


@torch.no_grad()
def outputs(model, inputs):
    found = model(**inputs)
    return found[0].double()


@pytest.mark.parametrize(("kind", "config", "options", "free"), FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_outputs_stay(kind, config, options, free, dtype):
    model = build(kind, config, options, dtype)
    inputs = inputs_of(model)
    dense, before = outputs(model, inputs), state(model)
    report = nmflow.torch.permute(model, 2, 4, rounds=1)
    assert {order.kind for order in report.orders} == free
    assert not is_as_it_was(model, before)
    # Root mean squares are in float32 whatever the model is in.
    narrow = dtype == torch.float32 or free == ROTARY
    tolerance = 1e-5 if narrow else 1e-12
    assert (outputs(model, inputs) - dense).abs().max() <= tolerance * dense.abs().max()
    assert report.difference <= tolerance
    report.undo()
    assert is_as_it_was(model, before)


def test_reported_shares_are_those_of_the_model():
    model = build(*FAMILIES[0][:3])
    dense = copy.deepcopy(model)
    report = nmflow.torch.permute(model, 2, 4)
    pattern = nmflow.Pattern(2, 4)
    for layer in report.layers:
        for owner, share in ((dense, layer.kept_before), (model, layer.kept_after)):
            values = owner.get_parameter(layer.name).detach().abs().numpy()
            assert kept_share([values], pattern) == pytest.approx(share, rel=1e-5)
    assert report.kept_before < report.kept_after < report.kept_unstructured
    assert 0.05 < report.gap_closed < 1


def test_value_heads_keep_to_themselves():
    """And query heads that share one follow it alike."""
    model = build("LlamaForCausalLM", "LlamaConfig", GROUPED)
    attention = model.model.layers[0].self_attn
    value, out = attention.v_proj.weight.clone(), attention.o_proj.weight.clone()
    report = nmflow.torch.permute(model, 2, 4, kinds=["values"])
    found = next(order for order in report.orders if "layers.0" in order.name).order
    assert [set(head) for head in found.reshape(2, 8)] == [set(range(8)), set(range(8, 16))]
    assert torch.equal(attention.v_proj.weight, value[torch.as_tensor(found)])
    within = found.reshape(2, 8) % 8
    columns = np.concatenate([8 * head + within[head // 2] for head in range(4)])
    assert torch.equal(attention.o_proj.weight, out[:, torch.as_tensor(columns)])


def test_heads_that_groups_straddle():
    """Where m does not divide the size of heads, channels still stay in theirs."""
    model = build("BertForMaskedLM", "BertConfig", {**TEXT, "num_attention_heads": 8})
    report = nmflow.torch.permute(model, 4, 8, kinds=["values"], rounds=2)
    for order in report.orders:
        assert [set(h) for h in order.order.reshape(8, 4) // 4] == [{head} for head in range(8)]
    options = {**GROUPED, "num_attention_heads": 8, "num_key_value_heads": 4}
    grouped = build("LlamaForCausalLM", "LlamaConfig", options)
    with pytest.raises(NmflowError, match="are not whole groups of 8"):
        nmflow.torch.permute(grouped, 4, 8, kinds=["values"])


def test_deterministic():
    first, second = (build(*FAMILIES[0][:3]) for _ in range(2))
    nmflow.torch.permute(first, 2, 4, rounds=1, workers=1)
    nmflow.torch.permute(second, 2, 4, rounds=1, workers=3)
    assert is_as_it_was(first, state(second))


def test_a_stream_that_is_put_out_stays():
    model = build("BertModel", "BertConfig", TEXT)
    report = nmflow.torch.permute(model, 2, 4, rounds=1)
    assert report.refused == {
        "residual stream": "it is among the model's outputs, whose order is to stay, unless kinds"
        " names it"
    }


def test_a_stream_that_is_put_out_is_ordered_where_that_is_asked_for():
    model = build("BertModel", "BertConfig", TEXT)
    ids = {"input_ids": torch.arange(24).reshape(2, 12)}
    before = model(**ids)
    report = nmflow.torch.permute(model, 2, 4, kinds=["stream", "hidden"], rounds=2)
    assert report.difference <= 1e-5
    assert "residual stream" not in report.refused
    (order,) = (each.order for each in report.orders if each.kind == "stream")
    assert (order != range(len(order))).any()
    after = model(**ids)
    was, now = before.last_hidden_state, after.last_hidden_state
    torch.testing.assert_close(now, was[..., order.tolist()], rtol=0, atol=1e-5)
    torch.testing.assert_close(after.pooler_output, before.pooler_output, rtol=0, atol=1e-5)
    cosine = torch.nn.functional.cosine_similarity
    same = cosine(now[0].mean(0), now[1].mean(0), dim=0)
    torch.testing.assert_close(same, cosine(was[0].mean(0), was[1].mean(0), dim=0))


def test_what_is_not_known_of_the_stream_is_told():
    model = build("BertForSequenceClassification", "BertConfig", TEXT)
    model.bert.encoder.layer[1].output.adapter = torch.nn.Linear(32, 32)
    report = nmflow.torch.permute(model, 2, 4, rounds=1)
    assert "layer.1.output.adapter.weight follows" in report.refused["residual stream"]
    assert {order.kind for order in report.orders} == {"hidden", "values", "queries"}


def test_layers_of_other_classes_stay():
    class Scaled(torch.nn.Linear):
        def forward(self, states):
            return super().forward(states * torch.arange(self.in_features))

    model = build("BertForSequenceClassification", "BertConfig", TEXT)
    block = model.bert.encoder.layer[0]
    block.output.dense = at_random(Scaled(48, 32))
    report = nmflow.torch.permute(model, 2, 4, rounds=1)
    assert "is a Scaled" in report.refused["bert.encoder.layer.0.output.dense"]
    assert {order.kind for order in report.orders} == {"hidden", "values", "queries"}


def test_outputs_that_differ_put_everything_back():
    """As where a forward has changed since its family became known."""
    model = build("BertForSequenceClassification", "BertConfig", TEXT)
    scale = torch.arange(48.0)
    hook = model.bert.encoder.layer[0].intermediate.register_forward_hook(lambda m, a, o: o * scale)
    before = state(model)
    with pytest.raises(NmflowError, match="outputs of the permuted model differ by"):
        nmflow.torch.permute(model, 2, 4, rounds=1)
    assert is_as_it_was(model, before)
    hook.remove()


def test_families_that_are_not_known_are_refused():
    config = transformers.BloomConfig(hidden_size=32, n_layer=1, n_head=4, vocab_size=50)
    model = at_random(transformers.BloomForCausalLM(config))
    with pytest.raises(NmflowError, match="no family of transformers that is known"):
        nmflow.torch.permute(model, 2, 4)
