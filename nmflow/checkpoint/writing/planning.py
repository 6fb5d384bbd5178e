"""What pruning a model is going to do: looked at before anything is written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nmflow
from nmflow.checkpoint.files import check_folder, check_target
from nmflow.checkpoint.formats.file_bytes import read_bytes, reading
from nmflow.checkpoint.formats.model import Model
from nmflow.checkpoint.layer_job import LayerJob
from nmflow.checkpoint.layers import Layer, Selection
from nmflow.checkpoint.masks import mask_header, packed_size
from nmflow.checkpoint.writing.pieces import Output, Piece, pruned_copy
from nmflow.errors import NmflowError
from nmflow.models import Layout

# Enough of a file's head to tell it from another of the same size and time.
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a model.

    Attributes
    ----------
    model : Model
    target : Path
        Where it goes, links followed.
    selection : Selection
    job : LayerJob
    masks_only : bool
        Whether the masks are written in place of the model.
    """

    model: Model
    target: Path
    selection: Selection
    job: LayerJob
    masks_only: bool = False

    @property
    def writes_folder(self) -> bool:
        """Whether a folder is written."""
        return self.model.kind == "folder" and not self.masks_only

    @property
    def size(self) -> int:
        """Bytes that are written, other than the extras."""
        if self.masks_only:
            masks = sum(packed_size(layer.tensor) for layer in self.selection.layers)
            return masks + len(self._header())
        return self.model.size

    def _header(self) -> bytes:
        layers = self.selection.layers
        return mask_header([(layer.tensor, self.job.pattern_of(layer)) for layer in layers])

    def outputs(self) -> tuple[Output, ...]:
        """The files that are to be written, each in pieces."""
        if self.masks_only:
            return (self._mask_file(),)
        files = []
        for index, shard in enumerate(self.model.shards):
            mine = [each for each in self.selection.layers if each.tensor.shard == index]
            bands = [list(self.job.bands(layer)) for layer in mine]
            name = self.target.name
            if self.writes_folder:
                name = str(shard.path.relative_to(self.model.path))
            files.append(pruned_copy(name, shard.path, shard.size, bands, shard.seals))
        return tuple(files)

    def _mask_file(self) -> Output:
        header = self._header()
        pieces, position = [Piece(0, len(header), data=header)], len(header)
        for layer in self.selection.layers:
            bands = list(self.job.bands(layer))
            for band in bands:
                stop = position + -(-band.size // 8)
                ends = layer.name if band is bands[-1] else ""
                pieces.append(Piece(position, stop, band=band, masks=True, ends=ends))
                position = stop
        return Output(self.target.name, position, tuple(pieces))

    def check_target(self, *, overwrite: bool) -> None:
        """Raise now what would otherwise go wrong after the work is done.

        Raises
        ------
        NmflowError
        """
        if not self.writes_folder:
            check_target(self.target, overwrite=overwrite)
            return
        source = self.model.path.resolve()
        if self.target.is_relative_to(source) or source.is_relative_to(self.target):
            raise NmflowError(
                f"cannot write {self.target}: a folder is not pruned into itself; give another one"
            )
        mark = self.model.files[0].relative_to(self.model.path)
        check_folder(self.target, str(mark), overwrite=overwrite)

    def fingerprint(self) -> dict[str, Any]:
        """All that the output depends on, in values that JSON has."""
        job = self.job
        return {
            "version": nmflow.__version__,
            "source": [list(_identity(path)) for path in self.model.files],
            "layers": [list(_described(layer, job)) for layer in self.selection.layers],
            "method": repr(job.method),
            "score": job.score,
            "comparison": list(job.compared),
            "--keep-zeros": job.keep_zeros,
            "--masks-only": self.masks_only,
        }

    def as_dict(self) -> dict[str, Any]:
        """The plan in values that JSON has."""
        job, layers = self.job, self.selection.layers
        return {
            "source": str(self.model.path),
            "kind": self.model.kind,
            "target": str(self.target),
            "masks_only": self.masks_only,
            "method": job.method.name,
            "score": job.score,
            "bytes_read": self.model.size,
            "bytes_written": self.size,
            "bytes_free": shutil.disk_usage(self.target.parent).free,
            "files": [path.name for path in self.model.files],
            "extras": [str(path) for path in self.model.extras],
            "left_out": [str(path) for path in self.model.left_out],
            "layers": [_layer_dict(layer, job) for layer in layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.selection.skipped],
        }


def _layer_dict(layer: Layer, job: LayerJob) -> dict[str, Any]:
    pattern = job.pattern_of(layer)
    return {
        "name": layer.name,
        "dtype": layer.tensor.dtype,
        "shape": list(layer.tensor.shape),
        "axes": list(layer.layout.axes),
        "groups": layer.layout.groups,
        "n": pattern.n,
        "m": pattern.m,
        "pattern": pattern.name,
        "bytes": layer.tensor.stop - layer.tensor.start,
    }


def _described(layer: Layer, job: LayerJob) -> Iterator[Any]:
    pattern = job.pattern_of(layer)
    layout: Layout = layer.layout
    yield from (layer.name, str(pattern), list(layout.axes), layout.groups)


def _identity(path: Path) -> Iterator[Any]:
    """What tells a file from another, without reading all of it."""
    with reading(path) as file:
        size = file.seek(0, 2)
        head = hashlib.sha256(read_bytes(file, 0, min(size, _HEAD_BYTES))).hexdigest()
        yield from (str(path.resolve()), size, path.stat().st_mtime_ns, head)
