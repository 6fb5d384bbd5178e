"""The table of decisions: names, roles and layouts, without a framework."""

import time

import numpy as np
import pytest

from nmflow.models import RULE, Layout, Role, layouts_of, role_of, roles_of, stack_layouts

OUT_IN, IN_OUT = Layout((1, 2)), Layout((2, 1))

# Names of published files, beyond those of the architectures under test.
LAYERS = [
    "model.layers.0.block_sparse_moe.experts.0.w1.weight",
    "model.layers.3.mlp.experts.7.gate_proj.weight",
    "model.layers.3.mlp.experts.7.gate.weight",
    "layers.0.ffn.experts.0.w1.weight",
    "conv_head.weight",
    "norm_conv.weight",
    "visual.transformer.resblocks.0.attn.in_proj_weight",
    "transformer.layer.0.ff.layer_1.weight",
    "conditioner.embedders.0.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight",
    "rwkv.blocks.0.attention.gate.weight",
    "fc1.weight",
    "fc2.weight",
    "out.weight",
    "0.weight",
    "weight",
    "backbone.layer1.0.conv1.weight",
    "model.diffusion_model.input_blocks.1.1.proj_in.weight",
    "transformer_blocks.0.ff.net.0.proj.weight",
    "blocks.0.mlp.output_layer.weight",
    # Flax, with and without the collection's name.
    "dense.kernel",
    "Dense_0.kernel",
    "params.Conv_0.kernel",
    "params.layers_0.MultiHeadDotProductAttention_0.query.kernel",
    "layers.0.attention.out.kernel",
    "layers_0.output.kernel",
    "input.i.kernel",
]
DENSE = {
    Role.HEAD: [
        "lm_loss.weight",
        "logits_proj.weight",
        "decoder.weight",
        "head.fc.weight",
        "head.weight",
        "transformer.output_layer.weight",
        "final_layer.linear.weight",
        "proj_out.weight",
        "generator.weight",
        "text_projection.weight",
        "base_model.model.classifier.modules_to_save.default.weight",
        "classifier.original_module.weight",
    ],
    Role.ROUTER: [
        "model.layers.0.mlp.gate.weight",
        "model.layers.0.block_sparse_moe.gate.weight",
        "layers.0.ffn.gate.weight",
        "layers.0.feed_forward.gate.weight",
        "model.layers.0.mlp.shared_expert_gate.weight",
        "transformer.blocks.0.ffn.router.layer.weight",
        "encoder.block.1.layer.1.mlp.router.classifier.weight",
        "layers.0.mlp.deepspeed_moe.gate.wg.weight",
        "layers.0.feed_forward.router.weight",
        "router.weight",
    ],
    Role.ADAPTER: [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "q_proj.lora_B.weight",
        "embed.lora_embedding_A",
        "q_proj.lora_magnitude_vector.default.weight",
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        "layers.0.k_proj.ia3_l.default",
        "q_proj.hada_w1_a.default",
        "q_proj.lokr_w1.default",
        "bert.encoder.layer.0.output.adapter.down_project.weight",
        "prompt_encoder.default.embedding.weight",
        "prefix_encoder.embedding.weight",
    ],
    Role.CONDITIONING: [
        "blocks.0.adaLN_modulation.1.weight",
        "t_embedder.mlp.0.weight",
        "time_embed.0.weight",
        "time_text_embed.timestep_embedder.linear_1.weight",
        "transformer_blocks.0.img_mod.1.weight",
        "norm_out.linear.weight",
    ],
    Role.POSITION: [
        "pos_embed",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "blocks.0.attn.rel_pos_h",
        "visual.positional_embedding",
    ],
    Role.EMBEDDING: ["cls_token", "y_embedder.embedding_table.weight", "quantizer.codevectors"],
    Role.STEM: ["patch_embed.proj.weight", "stem.conv.weight", "conv_in.weight"],
    Role.RECURRENT: ["rnn.weight_ih_l0", "lstm.weight_hh_l1_reverse", "0.rnns.0.weight_hh_l0_raw"],
    Role.BIAS: ["mlp.experts.gate_up_proj_bias", "rel_attn.r_w_bias", "attention.bias_k"],
    Role.UNNAMED: ["mixer.A_log", "dense.filter", "ffn.experts.mlp.w1.extra", "conv.weight_v"],
}
WRAPPERS = [
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "_fsdp_wrapped_module.",
    "module._orig_mod.base_model.model.model.",
    "_orig_mod.module.module._fsdp_wrapped_module.",
]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    assert role_of(name) is None


@pytest.mark.parametrize(("name", "role"), [(n, r) for r, names in DENSE.items() for n in names])
def test_dense(name, role):
    assert role_of(name) is role


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_change_nothing(wrapper):
    for name in LAYERS:
        assert role_of(wrapper + name) is None
    for role, names in DENSE.items():
        for name in names:
            assert role_of(wrapper + name) is role


def test_what_wrappers_put_between_and_behind():
    assert role_of("base_model.model.fc.base_layer.weight") is Role.HEAD
    assert role_of("encoder._fsdp_wrapped_module.layers.0.q_proj.base_layer.weight") is None
    assert role_of("fc.parametrizations.weight.original") is Role.HEAD
    assert role_of("q_proj.parametrizations.weight.original") is None
    assert role_of("conv.parametrizations.weight.original1") is Role.UNNAMED


def test_the_help_states_every_role():
    assert all(f"  {role.value} " in RULE for role in Role)
    assert max(map(len, RULE.splitlines())) <= 100


def test_long_names_take_no_time():
    began = time.perf_counter()
    for name in ("head." * 50_000, "." * 50_000, "a.0." * 25_000 + "weight"):
        role_of(name)
    assert time.perf_counter() - began < 5


def test_only_the_last_of_a_numbered_classifier_is_a_head():
    vgg = {f"classifier.{i}.weight": (64, 64) for i in (0, 3, 6)} | {"classifier.7.weight": (64,)}
    found = roles_of({f"module.{name}": shape for name, shape in vgg.items()})
    assert list(found.values())[:3] == [None, None, Role.HEAD]


def test_gates():
    """Beside experts a router; beside a layer of its own shape it gates that."""
    shape = {"gate.weight": (8, 64), "experts.0.weight": (64, 64)}
    assert roles_of(shape)["gate.weight"] is Role.ROUTER
    gated = {"h.0.mlp.gate.weight": (64, 32), "h.0.mlp.up.weight": (64, 32)}
    assert roles_of(gated)["h.0.mlp.gate.weight"] is None
    assert roles_of({"gate.weight": (8, 64)})["gate.weight"] is None


def test_last_layers_of_recurrent_networks():
    lstm = {"lstm.weight_ih_l0": (64, 16)}
    assert roles_of(lstm | {"linear.weight": (8, 16)})["linear.weight"] is Role.HEAD
    two = roles_of(lstm | {"fc1.weight": (16, 16), "fc2.weight": (8, 16)})
    assert two["fc1.weight"] is two["fc2.weight"] is None
    language = {"0.encoder.weight": (99, 16), "1.decoder.weight": (99, 16)}
    found = roles_of(lstm | language)
    assert found["0.encoder.weight"] is Role.EMBEDDING
    assert found["1.decoder.weight"] is Role.HEAD


@pytest.mark.parametrize(
    "cell",
    [
        *("ii", "if", "ig", "io", "hi", "hf", "hg", "ho"),
        *("ir", "iz", "in", "hr", "hz", "hn"),
        *("if_", "hf", "dense_i", "dense_h", "i", "h"),
    ],
)
def test_layers_within_cells_of_flax(cell):
    beside = {f"LSTMCell_0.{other}.kernel": (16, 16) for other in ("ii", "hf")}
    name = f"LSTMCell_0.{cell}.kernel"
    assert roles_of({**beside, name: (16, 16)})[name] is Role.RECURRENT
    assert roles_of({name: (16, 16)})[name] is None


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("a.weight", (8, 4), Layout()),
        ("a.kernel", (8, 4), Layout((1, 0))),
        ("Conv_0.kernel", (3, 3, 4, 8), Layout((3, 2))),
        ("a.kernel", (5, 4, 8), Layout((2, 1))),
        ("experts.wi.kernel", (5, 4, 8), Layout((2, 1))),
        ("attention.query.kernel", (16, 2, 8), Layout((2, 0))),
        ("scanned.attention.value.kernel", (4, 16, 2, 8), Layout((3, 1))),
        ("attention.out.kernel", (2, 8, 16), Layout((2, 1))),
        ("ConvTranspose_0.kernel", (3, 3, 4, 8), "transposed convolution"),
        ("a.weight", (8, 4, 3, 3), Layout()),
        ("a.weight", (8, 4, 3, 3, 3), Layout()),
        ("conv_layers.0.0.weight", (8, 4, 3), Layout()),
        ("dwconv1.weight", (8, 4, 3), Layout()),
        ("attn.qkv.weight", (24, 8, 1), Layout()),
        ("attn.in_proj_weight", (24, 8), Layout(groups=3)),
        ("attn.in_proj_weight", (24, 9), "in_proj_weight, but not of three square matrices"),
        ("a.weight", (8, 4, 3), "3 dimensions, and no name says whether a convolution"),
        ("attn.qkv.weight", (24, 8, 8), "3 dimensions, and no name says whether a convolution"),
        ("conversation.weight", (8, 4, 3), "3 dimensions, and no name says"),
        ("experts.conv.weight", (8, 4, 3, 3), "experts in 4 dimensions"),
        ("deconv.weight", (8, 4, 3, 3), "transposed convolution"),
        ("a.weight", (8,), "fewer than 2 dimensions"),
        ("a.weight", (8, 0), "no entries"),
        ("a.weight", (1,) * 65, "more than 5 dimensions"),
        ("pos_embed", (1, 8, 4, 4), "4 dimensions, and no layer of which the layout is known"),
    ],
)
def test_layouts_of_files(name, shape, expected):
    found = layouts_of({name: shape})[name]
    assert found == expected or (isinstance(expected, str) and found.startswith(expected))


def test_a_bias_tells_a_transposed_convolution():
    shapes = {"up.weight": (8, 4, 2, 2), "up.bias": (4,)}
    assert layouts_of(shapes)["up.weight"] == "transposed convolution"
    assert layouts_of(shapes | {"up.bias": (8,)})["up.weight"] == Layout()


def test_a_bias_tells_the_axes_of_heads():
    """Of what projects to (heads, size of a head), whatever it is called."""
    shapes = {"qkv.kernel": (16, 3, 2, 8), "qkv.bias": (3, 2, 8)}
    assert layouts_of(shapes)["qkv.kernel"] == Layout((3, 0))
    scanned = {"mlp.kernel": (4, 16, 8), "mlp.bias": (4, 8)}
    assert layouts_of(scanned)["mlp.kernel"] == Layout((2, 1))


def gpt2(turned, bias=True, prefix=""):
    """The layers of a block, [in, out] where turned."""
    sizes = {
        "attn.c_attn": (32, 96),
        "attn.c_proj": (32, 32),
        "mlp.c_fc": (32, 128),
        "mlp.c_proj": (128, 32),
    }
    shapes = {}
    for name, (inputs, outputs) in sizes.items():
        weight = (inputs, outputs) if turned else (outputs, inputs)
        shapes[f"{prefix}h.0.{name}.weight"] = weight
        if bias:
            shapes[f"{prefix}h.0.{name}.bias"] = (outputs,)
    return shapes


@pytest.mark.parametrize("prefix", ["", "module.transformer."])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_layers_called_as_in_gpt2(turned, bias, prefix):
    found = layouts_of(gpt2(turned, bias, prefix))
    weights = [layout for name, layout in found.items() if name.endswith("weight")]
    assert weights == [Layout((1, 0) if turned else (0, 1))] * 4


def test_a_square_projection_alone_is_as_in_gpt2():
    assert layouts_of({"h.0.attn.c_proj.weight": (32, 32)}) == {
        "h.0.attn.c_proj.weight": Layout((1, 0))
    }


EXPERTS = {
    "e.experts.gate_up_proj": ((8, 192, 64), (8, 64, 192)),
    "e.experts.down_proj": ((8, 64, 96), (8, 96, 64)),
}


@pytest.mark.parametrize("ending", ["", ".weight"])
@pytest.mark.parametrize("turned", [0, 1])
def test_a_pair_of_stacks_tells_its_axes(turned, ending):
    shapes = {name + ending: both[turned] for name, both in EXPERTS.items()}
    assert set(stack_layouts(shapes).values()) == {(OUT_IN, IN_OUT)[turned]}
    assert layouts_of(shapes) == stack_layouts(shapes)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize(
    "other",
    [{"e.gate.weight": (8, 64)}, {"e.router.weight": (8, 64)}, {"e.experts.w1_bias": (8, 96)}],
)
def test_neighbours_tell_the_axes_of_stacks(turned, other):
    shapes = {"e.experts.w1": ((8, 96, 64), (8, 64, 96))[turned]}
    shapes["e.experts.w2"] = ((8, 64, 96), (8, 96, 64))[turned]
    assert all(isinstance(found, str) for found in stack_layouts(shapes).values())
    found = stack_layouts(shapes | other)
    assert set(found.values()) == {(OUT_IN, IN_OUT)[turned]}


def test_stacks_that_cannot_be_told():
    square = {"e.experts.w1": (8, 64, 64), "e.gate.weight": (8, 64)}
    assert "don't say whether" in stack_layouts(square)["e.experts.w1"]
    alone = {name: both[0] for name, both in EXPERTS.items() if "down" in name}
    assert "don't say whether" in stack_layouts(alone)["e.experts.down_proj"]
    odd = stack_layouts({"e.experts.mystery": (8, 64, 64)})
    assert odd == {"e.experts.mystery": "a stack of experts by an unknown name, 'mystery'"}
    known = {"moe.input_linear.weight": (8, 64, 64)}
    assert stack_layouts(known) == {"moe.input_linear.weight": OUT_IN}


@pytest.mark.parametrize(
    ("layout", "shape", "axes", "size", "viewed"),
    [
        (Layout(), (6, 4), (0, 1), (6, 4), (6, 4)),
        (Layout((1, 0)), (6, 4), (1, 0), (4, 6), (6, 4)),
        (Layout(groups=3), (6, 4, 2), (1, 2), (2, 4), (3, 2, 4, 2)),
        (Layout((2, 1)), (5, 6, 4), (2, 1), (4, 6), (5, 6, 4)),
        (Layout((1, 0), groups=2), (6, 4), (2, 0), (2, 6), (6, 2, 2)),
        (Layout((-2, -1), groups=2), (5, 6, 4), (2, 3), (3, 4), (5, 2, 3, 4)),
    ],
)
def test_layouts(layout, shape, axes, size, viewed):
    tensor = np.arange(np.prod(shape)).reshape(shape)
    matrices = layout.matrices(tensor)
    assert matrices.shape == viewed
    assert np.shares_memory(matrices, tensor)
    assert layout.matrix_axes(tensor.ndim) == axes
    assert layout.matrix_size(shape) == size == tuple(viewed[axis] for axis in axes)
    assert np.array_equal(layout.tensor(matrices), tensor)
