"""Hugging Face folders: which files hold the weights, and which go along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nmflow.checkpoint.formats.file_bytes import read_bytes, reading
from nmflow.errors import NmflowError

# As transformers and diffusers look for them, and in that order.
_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin.index.json"),
)
# The same weights in other formats: they would stay dense.
_OTHER_WEIGHTS = re.compile(
    r".*\.(safetensors|h5|msgpack|onnx|onnx_data|gguf|ggml|ot|tflite|mlmodel|mlpackage|npz|nemo)"
    r"|(diffusion_)?pytorch_model.*\.bin|openvino_model.*\.(bin|xml)|.*\.(pth|pt|ckpt)"
    r"|.*\.(safetensors|bin)\.index.*\.json"
)
_MOST_INDEX_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a folder.

    Attributes
    ----------
    path : Path
    index : Path or None
        The index, if the weights have one.
    wanted : dict of str to list of str, or None
        By the index, the tensors of each file, in order of the files' names; None without one.
    shards : tuple of Path
        Files of weights, in order of their names.
    extras, left_out : tuple of Path
        All else, relative to the folder: what goes along, and what holds weights once more.
    """

    path: Path
    index: Path | None
    wanted: dict[str, list[str]] | None
    shards: tuple[Path, ...]
    extras: tuple[Path, ...]
    left_out: tuple[Path, ...]


def read_folder(path: Path) -> Folder:
    """Look at a folder, without opening its weights.

    Raises
    ------
    NmflowError
        If it has no weights under the names that transformers and diffusers give them; if its
        index is broken, or names files that are not in the folder; if a file is a link to
        somewhere else.
    """
    try:
        name = next((name for name in _WEIGHTS if (path / name).exists()), None)
        if name is None:
            raise NmflowError(
                f"cannot read {path}: it is a directory and has none of {', '.join(_WEIGHTS)}"
            )
        if name.endswith(".json"):
            index = path / name
            wanted = _read_index(inside(path, index))
            shards = tuple(_shard(path, index, shard) for shard in wanted)
        else:
            index, wanted, shards = None, None, (inside(path, path / name),)
        extras: list[Path] = []
        left_out: list[Path] = []
        for file in _files(path):
            relative = file.relative_to(path)
            if file in shards:
                continue
            other = file != index and _OTHER_WEIGHTS.fullmatch(file.name)
            (left_out if other else extras).append(relative)
            if not other:
                inside(path, file)
    except OSError as error:
        raise NmflowError(f"cannot read {path}: {error.strerror or error}") from error
    return Folder(path, index, wanted, shards, tuple(extras), tuple(left_out))


def inside(folder: Path, file: Path) -> Path:
    """The file, if it is in the folder, links followed; a Hub cache's may point to its blobs.

    Raises
    ------
    NmflowError
        If it is not.
    """
    try:
        real, home = file.resolve(strict=True), folder.resolve()
    except FileNotFoundError:
        raise NmflowError(
            f"cannot read {folder}: {file.relative_to(folder)} leads to nothing"
        ) from None
    except (OSError, RuntimeError) as error:
        raise NmflowError(f"cannot read {file}: {error}") from error
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(each) for each in homes):
        raise NmflowError(
            f"cannot read {folder}: {file.relative_to(folder)} is a link that leads out of the"
            f" folder, to {real}; put the file there itself"
        )
    return file


def _read_index(path: Path) -> dict[str, list[str]]:
    """Tensors by file, files in order of their names."""
    with reading(path) as file:
        size = file.seek(0, 2)
        text = read_bytes(file, 0, min(size, _MOST_INDEX_BYTES))
    try:
        if size > _MOST_INDEX_BYTES:
            raise ValueError("it is too large")
        entries = json.loads(text, object_pairs_hook=_without_doubles)["weight_map"]
        files: dict[str, list[str]] = {}
        for tensor, file_name in entries.items():
            if not isinstance(file_name, str):
                raise TypeError(f"{tensor!r} is in no file")
            files.setdefault(file_name, []).append(tensor)
        if not files:
            raise ValueError("it names no tensor")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NmflowError(f"cannot read {path}: no valid index ({error})") from error
    return dict(sorted(files.items()))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def _shard(folder: Path, index: Path, name: str) -> Path:
    """The path of a file that the index names."""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or "\\" in name or "\0" in name or not name:
        raise NmflowError(
            f"cannot read {index}: it names {name[:200]!r}, which is not in the folder; shards are"
            " files beside their index"
        )
    path = folder / plain
    if not path.exists():
        raise NmflowError(f"cannot read {index}: it names {name[:200]!r}, which is missing")
    return inside(folder, path)


def _files(folder: Path) -> Iterator[Path]:
    """All files, in order, but those of hidden folders: a repository's, a download's."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith("."):
                yield from _files(path)
        else:
            yield path
