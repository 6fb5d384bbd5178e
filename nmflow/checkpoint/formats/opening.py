"""What kind of model a path is, and the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.checkpoint.formats.folder import Folder, read_folder
from nmflow.checkpoint.formats.model import Model, Shard
from nmflow.checkpoint.formats.safetensors_file import read_safetensors
from nmflow.checkpoint.formats.tensor import Tensor
from nmflow.checkpoint.formats.torch_file import read_torch_file
from nmflow.errors import NmflowError

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_NAMED_LIKE_TORCH = (".bin", ".pth", ".pt", ".ckpt")


def open_model(path: str | os.PathLike[str]) -> Model:
    """Find the tensors of a model of any kind, without loading any of them.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file; a Hugging Face folder, with its weights in one file or several,
        safetensors or PyTorch's; or a file of ``torch.save``, whose tensors may be anywhere in
        nested dicts. Which of them is seen from what is there, not from the name.

    Returns
    -------
    Model

    Raises
    ------
    NmflowError
        In one line, for what can't be read, is broken or contradicts itself: headers and archives
        that end early, spans that overlap or leave holes, sizes beyond the file; an index that
        names files outside the folder, files or tensors that are missing, or a tensor twice; a
        pickle that holds anything other than what ``torch.load(weights_only=True)`` takes.
    MissingExtraError
        If a safetensors file is to be read without the extra ``cli``. PyTorch is never needed.

    Notes
    -----
    Time and memory are those of the headers.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> path = Path(mkdtemp()) / "model.safetensors"
    >>> save_file({"up.weight": np.ones((8, 4), np.float32)}, path)
    >>> model = open_model(path)
    >>> model.kind, [(tensor.name, tensor.dtype, tensor.shape) for tensor in model.tensors]
    ('safetensors', [('up.weight', 'F32', (8, 4))])
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(read_folder(path))
    if _is_torch(path):
        return Model(path, "torch", (read_torch_file(path),))
    return Model(path, "safetensors", (read_safetensors(path),))


def _is_torch(path: Path) -> bool:
    """Whether a file is PyTorch's rather than of safetensors."""
    with reading(path) as file:
        start = file.read(16)
    if path.suffix == ".safetensors":
        return False
    # The other format begins with a length below 100 MB, then "{".
    return start[8:9] != b"{" and (
        start.startswith((_ZIP, _PICKLE)) or path.suffix in _NAMED_LIKE_TORCH
    )


def _open_folder(folder: Folder) -> Model:
    shards = []
    for index, path in enumerate(folder.shards):
        read = read_safetensors if path.suffix == ".safetensors" else read_torch_file
        shards.append(read(path, index))
    names: dict[str, Path] = {}
    for shard in shards:
        for tensor in shard.tensors:
            if tensor.name in names:
                raise NmflowError(
                    f"cannot read {folder.path}: the tensor {tensor.name[:200]!r} is both in"
                    f" {names[tensor.name].name} and in {shard.path.name}"
                )
            names[tensor.name] = shard.path
    if folder.wanted is not None:
        shards = list(_as_indexed(folder, shards, folder.wanted.values()))
    return Model(folder.path, "folder", tuple(shards), folder.extras, folder.left_out)


def _as_indexed(
    folder: Folder, shards: Sequence[Shard], wanted: Iterable[list[str]]
) -> Iterator[Shard]:
    """The shards, held against the index."""
    for shard, names in zip(shards, wanted, strict=True):
        known, asked = {tensor.name for tensor in shard.tensors}, set(names)
        if asked - known:
            missing = min(asked - known)
            raise NmflowError(
                f"cannot read {folder.index}: it names the tensor {missing[:200]!r} in"
                f" {shard.path.name}, which has none of that name"
            )
        yield replace(shard, tensors=tuple(_left_unless(tensor, asked) for tensor in shard.tensors))


def _left_unless(tensor: Tensor, names: set[str]) -> Tensor:
    if tensor.name in names or tensor.flaw:
        return tensor
    return replace(tensor, flaw="not in the index")
