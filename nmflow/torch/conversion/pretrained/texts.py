"""Calibration text: samples out of a file, and batches that a model takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from nmflow.errors import NmflowError
from nmflow.torch.conversion.pretrained.loading import refusing, silent

DEFAULT_LENGTH = 128
_UNKNOWN = 1 << 30


def read_samples(path: Path, count: int, *, paragraphs: bool = False) -> list[str]:
    """The first samples of a text file.

    Parameters
    ----------
    path : Path
        A text in UTF-8.
    count : int
        How many at most.
    paragraphs : bool, default False
        Whether samples are what stands between empty lines; else each line is one, and empty ones
        are none.

    Raises
    ------
    NmflowError
        If the file can't be read, is not UTF-8, or has no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NmflowError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise NmflowError(
            f"cannot read {path}: no text in UTF-8 ({error.reason} at byte {error.start})"
        ) from error
    pieces = re.split(r"\n\s*\n", text) if paragraphs else text.split("\n")
    samples = list(islice(filter(None, map(str.strip, pieces)), count))
    if not samples:
        raise NmflowError(f"{path} has no text: give some samples, one a line")
    return samples


def length_for(model: Any, tokenizer: Any, wanted: int | None) -> int:
    """At how many tokens samples are cut.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    wanted : int or None
        None for 128, or for what the model takes.

    Raises
    ------
    NmflowError
        If the model takes fewer.
    """
    says = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
    # Tokenizers without a limit give a number like 10^30.
    limit = min((each for each in says if isinstance(each, int) and each > 0), default=_UNKNOWN)
    if wanted is None:
        return min(DEFAULT_LENGTH, limit)
    if wanted > limit:
        raise NmflowError(f"the model takes at most {limit} tokens, not samples of {wanted}")
    return wanted


def batches_of(
    model: Any, tokenizer: Any, samples: Sequence[str], length: int, size: int
) -> list[dict[str, Any]]:
    """Batches of keyword arguments for a model, the longest samples first.

    Samples of about the same length are in one batch, so that little is padded, and what takes the
    most memory comes first.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
        Given its token for the end of a text to pad with, if it has none for that.
    samples : sequence of str
    length : int
        Tokens at which samples are cut.
    size : int
        Samples of a batch.

    Returns
    -------
    list of dict
        ``input_ids`` and ``attention_mask`` of shape (samples, tokens), and what else the model
        takes of what the tokenizer gives.

    Raises
    ------
    NmflowError
        If the tokenizer knows nothing of the samples, or those of different lengths can't be
        padded.
    """
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    taken = set(inspect.signature(model.forward).parameters)
    with silent(), refusing("the tokenizer fails"):
        found = tokenizer(
            list(samples), truncation=True, max_length=length, return_attention_mask=True
        )
        rows = [
            {key: found[key][k] for key in found if key in taken}
            for k in range(len(samples))
            if found["input_ids"][k]
        ]
        special = set(tokenizer.all_special_ids)
        # Where its files are missing, transformers makes a tokenizer without any word.
        if all(special.issuperset(row["input_ids"]) for row in rows):
            raise NmflowError(
                "the tokenizer knows nothing of the calibration text: are its files in the model's"
                " folder?"
            )
        rows.sort(key=lambda row: len(row["input_ids"]), reverse=True)
        # What is cached from call to call is of no use here.
        others = {"use_cache": False} if "use_cache" in taken else {}
        return [
            _padded(tokenizer, rows[start : start + size]) | others
            for start in range(0, len(rows), size)
        ]


def _padded(tokenizer: Any, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of one length."""
    unlike = len({len(row["input_ids"]) for row in rows}) > 1
    if unlike and tokenizer.pad_token is None:
        raise NmflowError("the tokenizer has no token to pad with: use batches of one sample")
    if unlike and "attention_mask" not in rows[0]:
        raise NmflowError(
            "the model takes no attention_mask that would tell padding: use batches of one sample"
        )
    return dict(tokenizer.pad(list(rows), padding=unlike, return_tensors="pt"))
