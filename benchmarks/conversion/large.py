"""A model of a hundred million parameters, converted: how much memory that takes."""

from __future__ import annotations

from typing import Any

from benchmarks.conversion.process import alone, peak, resident

_BATCHES, _BATCH, _TOKENS = 16, 4, 96


def measure(say: Any) -> dict[str, Any]:
    """Of a Llama-like model with random weights, on random text."""
    found: dict[str, Any] = alone(_measure)
    say(str(found))
    return found


def _measure() -> dict[str, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import nmflow.torch

    torch.set_num_threads(1)
    nmflow.torch.convert(torch.nn.Linear(64, 64), [torch.randn(8, 64)], 8, 16)  # compiled
    before = resident()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=11,
        num_attention_heads=12,
        vocab_size=16000,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    calibration = [
        {"input_ids": torch.randint(config.vocab_size, (_BATCH, _TOKENS))} for _ in range(_BATCHES)
    ]
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    report = nmflow.torch.convert(model, calibration, 8, 16)
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "converted": sum(len(layer.shape) and _size(layer.shape) for layer in report.converted),
        "layers": len(report.converted),
        "tokens": _BATCHES * _BATCH * _TOKENS,
        "weights_bytes": weights,
        "peak_bytes": peak() - before,
        "times_weights": (peak() - before) / weights,
        "seconds": report.seconds,
        "gap": max(layer.certificate.gap for layer in report.converted if layer.certificate),
    }


def _size(shape: tuple[int, ...]) -> int:
    rows, columns = shape
    return rows * columns
