"""One conversion of MiniLM, and how near its embeddings stay to the dense model's."""

from __future__ import annotations

import math
import time
from functools import cache
from typing import Any

import torch

import nmflow.torch
from benchmarks.conversion import minilm
from benchmarks.conversion.runs import Run


@cache
def _dense() -> tuple[Any, Any, Any, Any]:
    """Model, tokenizer, held-out batches and the dense model's embeddings of them."""
    model, tokenizer = minilm.load()
    read = minilm.batches(tokenizer, minilm.texts(1, 0)[1])
    return model, tokenizer, read, minilm.embed(model, read)


def convert(run: Run) -> dict[str, Any]:
    """The record of a run."""
    _, tokenizer, read, dense = _dense()
    model, _ = minilm.load()
    record: dict[str, Any] = {}
    if run.sparsity:
        prune(model, run.sparsity)
        before = minilm.embed(model, read)
        record["before"] = _near(before, dense)
    calibration = minilm.batches(tokenizer, minilm.texts(run.samples, run.draw)[0])
    began = time.perf_counter()
    report = nmflow.torch.convert(
        model,
        calibration,
        run.n,
        run.m,
        method=run.how.method,
        reconstruction=run.how.reconstruction,
        pattern=run.pattern,
        inputs=run.how.inputs,
        bias_correction=run.how.bias_correction,
        keep_zeros=bool(run.sparsity),
    )
    record |= {
        "seconds": time.perf_counter() - began,
        "fit_seconds": math.fsum(layer.seconds for layer in report.converted),
        "layers": len(report.converted),
        "tokens": report.converted[0].samples,
        "masked_error": _mean(layer.masked_error for layer in report.converted),
        "error": report.error,
        "gap": max(layer.certificate.gap for layer in report.converted if layer.certificate),
        "iterations": [len(layer.history) for layer in report.converted],
        "example": _example(report),
    }
    return record | _near(minilm.embed(model, read), dense)


def prune(model: Any, sparsity: float) -> None:
    """Zeros at the smallest weights of each encoder matrix, wherever they are."""
    for name, weight in model.named_parameters():
        if ".layer." in name and weight.ndim == 2:
            count = round(sparsity * weight.numel())
            threshold = weight.detach().abs().flatten().kthvalue(count).values
            with torch.no_grad():
                weight.mul_(weight.abs() > threshold)


def _near(embeddings: Any, dense: Any) -> dict[str, float]:
    return {
        "cosine": minilm.cosine(embeddings, dense),
        "neighbours": minilm.neighbours(embeddings, dense),
    }


def _mean(values: Any) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


def _example(report: Any) -> list[dict[str, float]]:
    """What ADMM did on one layer, of those that iterate."""
    name = "encoder.layer.2.intermediate.dense.weight"
    history = next(layer.history for layer in report.converted if layer.name == name)
    return [{key: float(f"{value:.5g}") for key, value in row.items()} for row in history]
