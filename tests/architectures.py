"""Tiny models of published architectures, and what is decided about each of their weights."""

import re
from pathlib import Path

from nmflow.checkpoint import choose_layers, open_model
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern

M = 4
TABLE = Path(__file__).with_name("architectures.txt")

_TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 64,
}
_LLAMA = _TEXT | {"num_key_value_heads": 2}
_EXPERTS = _LLAMA | {"num_experts_per_tok": 2}
_VISION = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
_T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 256}
_DEEPSEEK = {
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 96,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
_WHISPER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 256,
    "num_mel_bins": 16,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_WAV2VEC2 = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 32,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 3),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}
_DIT = {
    "num_attention_heads": 4,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 2,
    "sample_size": 16,
    "num_embeds_ada_norm": 16,
}
_GPT2 = {
    "n_layer": 2,
    "n_embd": 64,
    "n_head": 2,
    "vocab_size": 256,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

# The class, its configuration's class, and what makes it small.
TRANSFORMERS = {
    "BERT": ("BertForPreTraining", "BertConfig", _TEXT),
    "RoBERTa": ("RobertaForSequenceClassification", "RobertaConfig", _TEXT),
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", _LLAMA | {"tie_word_embeddings": False}),
    "Mistral": ("MistralForCausalLM", "MistralConfig", _LLAMA),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _LLAMA | {"tie_word_embeddings": True}),
    "Qwen2-MoE": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        _EXPERTS | {"num_experts": 8, "moe_intermediate_size": 96},
    ),
    "Qwen3-MoE": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        _EXPERTS | {"head_dim": 16, "num_experts": 8, "moe_intermediate_size": 96},
    ),
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig", _EXPERTS | {"num_local_experts": 8}),
    "gpt-oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        _EXPERTS | {"head_dim": 16, "num_local_experts": 8},
    ),
    "Llama 4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        _EXPERTS | {"head_dim": 16, "intermediate_size_mlp": 128, "num_local_experts": 8},
    ),
    "Granite MoE": (
        "GraniteMoeForCausalLM",
        "GraniteMoeConfig",
        _EXPERTS | {"num_local_experts": 8},
    ),
    "JetMoE": (
        "JetMoeForCausalLM",
        "JetMoeConfig",
        {k: v for k, v in _EXPERTS.items() if k != "num_attention_heads"}
        | {"kv_channels": 16, "num_local_experts": 8},
    ),
    "DeepSeek-V3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", _EXPERTS | _DEEPSEEK),
    "Switch": (
        "SwitchTransformersForConditionalGeneration",
        "SwitchTransformersConfig",
        _T5 | {"num_experts": 4},
    ),
    "Gemma": ("GemmaForCausalLM", "GemmaConfig", _LLAMA | {"head_dim": 16}),
    "T5": ("T5ForConditionalGeneration", "T5Config", _T5),
    "XLNet": (
        "XLNetLMHeadModel",
        "XLNetConfig",
        {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128, "vocab_size": 256},
    ),
    "ViT": ("ViTForImageClassification", "ViTConfig", _VISION | {"num_labels": 16}),
    "ConvNeXt": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [16, 32, 64, 96], "depths": [1, 1, 2, 1], "num_labels": 16},
    ),
    "ResNet": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {
            "embedding_size": 16,
            "hidden_sizes": [32, 64, 96, 128],
            "depths": [2, 2, 2, 2],
            "num_labels": 16,
        },
    ),
    "Whisper": ("WhisperForConditionalGeneration", "WhisperConfig", _WHISPER),
    "CLIP": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 32},
    ),
    "Mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256, "state_size": 16},
    ),
    "wav2vec 2": ("Wav2Vec2ForCTC", "Wav2Vec2Config", _WAV2VEC2),
}
DIFFUSERS = {
    "UNet": ("UNet2DConditionModel", _UNET),
    "DiT": ("DiTTransformer2DModel", _DIT),
}


def build(name):
    """The model of an architecture, with random weights."""
    if name in DIFFUSERS:
        import diffusers

        kind, options = DIFFUSERS[name]
        return getattr(diffusers, kind)(**options)
    import transformers

    kind, config, options = TRANSFORMERS[name]
    return getattr(transformers, kind)(getattr(transformers, config)(**options))


def collapsed(name):
    """The name with an asterisk for each index: ``expert_0`` and ``0``."""
    return re.sub(r"(?<![^._])\d+(?=\.)", "*", name)


def _masked(layout: Layout):
    return "masked" if layout == Layout() else f"masked {layout.axes}"


def _verdicts(found):
    lines = {}
    for name, verdict in found:
        verdicts = lines.setdefault(collapsed(name), [])
        if verdict not in verdicts:
            verdicts.append(verdict)
    return {name: " or ".join(sorted(verdicts)) for name, verdicts in lines.items()}


def _short(reason):
    reason = reason.removesuffix(" (dense unless included)")
    if "too small" in reason or "fewer than m" in reason:
        return "small"
    if reason.startswith("no matrix"):
        return "unknown layout"
    return "tied" if reason.startswith("tied to the embedding") else reason


def in_memory(model):
    """What is decided about each weight of a model."""
    from nmflow.torch.selecting.select import choose_weights

    weights, report = choose_weights(model, Pattern(2, M))
    layouts = {weight.name: weight.layout for weight in weights}
    return _verdicts(
        (line.name, _masked(layouts[line.name]) if line.name in layouts else _short(line.note))
        for line in report.layers
    )


def in_file(model, folder):
    """What is decided about each weight in the file that the model is saved to."""
    model.save_pretrained(folder)
    (path,) = Path(folder).glob("*.safetensors")
    tensors = open_model(path).tensors
    chosen = choose_layers(tensors, M)
    found = {layer.name: _masked(layer.layout) for layer in chosen.layers}
    found |= {one.name: _short(one.reason) for one in chosen.skipped}
    return _verdicts((t.name, found[t.name]) for t in tensors if len(t.shape) > 1)


def columns(live, saved):
    """The lines of the table: name, in the model, in its file; a dash where there is none."""
    return [(name, live.get(name, "-"), saved.get(name, "-")) for name in {**live, **saved}]


def read_table():
    """``{architecture: [(name, in the model, in its file), ...]}`` as reviewed."""
    table = {}
    for line in TABLE.read_text().splitlines():
        if line.startswith("== "):
            lines = table.setdefault(line[3:], [])
        elif line and not line.startswith("#"):
            lines.append(tuple(part.strip() for part in line.split("|")))
    return table
