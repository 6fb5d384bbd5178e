"""A converted model as a folder of the same kind as the one that it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from nmflow.torch.conversion.pretrained.loading import refusing, silent

# What save_model writes anew.
_WRITTEN = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
# The dense model's weights in other formats; those of a subfolder belong to another module, such as
# a layer of sentence-transformers, unless they are an export.
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.index.json")
_EXPORTS = ("*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "*.gguf", "*.tflite", "openvino*")


def carry_over(source: Path, folder: Path) -> tuple[str, ...]:
    """Copy all but weights, byte for byte.

    Hidden files are left out, too. The tokenizer's files are among those that are copied: it has
    not changed, and saving it would keep how it was made to cut and pad.

    Parameters
    ----------
    source, folder : Path

    Returns
    -------
    tuple of str
        What was left beside the weights that were read: other formats of the dense model.
    """
    left = []
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        on_top = len(inside.parts) == 1
        if on_top and _matches(path.name, _WRITTEN):
            continue
        if _matches(path.name, _EXPORTS) or (on_top and _matches(path.name, _WEIGHTS)):
            left.append(inside.as_posix())
            continue
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / inside)
    return tuple(left)


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def save_configs(model: Any, folder: Path) -> None:
    """Write what is no weight, so that what can't be written is known before the work begins.

    Raises
    ------
    NmflowError
    """
    with silent(), refusing("the model's config can't be saved"):
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)


def save_model(model: Any, folder: Path) -> None:
    """Write weights and config.

    Raises
    ------
    NmflowError
    """
    with silent(), refusing(f"cannot write the model to {folder}"):
        model.save_pretrained(folder)
