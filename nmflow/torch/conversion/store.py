"""Finished layers in a folder, from which an interrupted conversion goes on."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from pathlib import Path
from typing import Any

import torch

from nmflow.errors import NmflowError

_MANIFEST = "conversion.json"


class Store:
    """A folder with a file for each finished layer.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    settings : dict
        All that the result depends on, as plain values; the folder is for these alone.

    Raises
    ------
    NmflowError
        If the folder was begun with other settings.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        manifest, text = self._folder / _MANIFEST, json.dumps(settings, indent=1, sort_keys=True)
        if not manifest.exists():
            if any(self._folder.iterdir()):
                raise NmflowError(
                    f"{self._folder} holds other things and no {_MANIFEST}: name an empty folder"
                )
            _write(manifest, text.encode())
            return
        before = json.loads(manifest.read_text(encoding="utf-8"))
        unlike = [key for key in settings if before.get(key) != json.loads(text)[key]]
        if unlike:
            key = unlike[0]
            raise NmflowError(
                f"{self._folder} was begun with {key} = {before.get(key)!r}, not {settings[key]!r}:"
                " go on with the same settings, or name another folder"
            )

    def load(self, name: str, dense: Any) -> dict[str, Any] | None:
        """A finished layer: weight, bias and report; None if there is none.

        Raises
        ------
        NmflowError
            If it was made from other dense weights.
        """
        path = self._path(name)
        if not path.exists():
            return None
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if found["dense"] != digest(dense):
            raise NmflowError(
                f"{path} was made from other weights of {name}: the folder is that of another"
                " model; name another one"
            )
        return found

    def save(self, name: str, dense: str, weight: Any, bias: Any, report: dict[str, Any]) -> None:
        """Write a finished layer, beside its name first."""
        path = self._path(name)
        beside = path.with_suffix(".part")
        content = {"dense": dense, "weight": weight, "bias": bias, "report": report}
        torch.save(content, beside)
        beside.replace(path)

    def _path(self, name: str) -> Path:
        return self._folder / (urllib.parse.quote(name, safe="") + ".pt")


def digest(tensor: Any) -> str:
    """SHA-256 of a tensor's values."""
    values = tensor.detach().cpu().reshape(-1).view(torch.uint8)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)
