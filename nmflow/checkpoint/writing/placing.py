"""What is complete takes the target's place, and what was there goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nmflow.checkpoint.files import settle
from nmflow.checkpoint.formats.model import Model
from nmflow.checkpoint.writing.planning import Plan
from nmflow.checkpoint.writing.records import layer_of, sample_of
from nmflow.checkpoint.writing.stream import Written
from nmflow.checkpoint.writing.work_folder import WorkFolder


def copy_extras(model: Model, folder: Path) -> None:
    """Copy what goes along with a folder's weights."""
    for extra in model.extras:
        new = folder / extra
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.path / extra, new)
        with new.open("r+b") as file:
            settle(file)


def finish(folder: WorkFolder, plan: Plan, written: Written) -> None:
    """Note that all is done but for the last step, with what tells whether that is done too."""
    result = folder.out if plan.writes_folder else folder.out / plan.target.name
    folder.journal.add({"complete": result.stat().st_ino, "resumed": written.resumed})
    folder.journal.settle()


def place(folder: WorkFolder, result: Path) -> None:
    """Put a file or a folder of a work folder in the target's place."""
    target = folder.target
    if target.is_dir():
        # No folder can be renamed to one that is not empty.
        target.replace(folder.old)
    elif target.exists():
        shutil.copymode(target, result)
    result.replace(target)
    _settle_names(target.parent)


def was_placed(folder: WorkFolder) -> Written | None:
    """What an earlier run wrote, if it did the last step; else None."""
    entries = folder.journal.read()
    if not entries or "complete" not in entries[-1] or not folder.target.exists():
        return None
    if folder.target.stat().st_ino != entries[-1]["complete"]:
        return None
    written = Written(resumed=entries[-1]["resumed"])
    for entry in entries:
        if entry.get("layer"):
            report = layer_of(entry["layer"])
            written.layers[report.name] = report
        if entry.get("sample"):
            written.sample = sample_of(entry["sample"])
    return written


def clear_if_placed(folder: WorkFolder) -> None:
    """Remove what a run left that was killed between the last step and the end."""
    if folder.path.exists():
        with folder:
            if was_placed(folder) is not None:
                folder.remove()


def put_back(folder: WorkFolder) -> None:
    """Undo half a replacement of a folder, if that is what a kill has left."""
    if folder.old.exists() and not folder.target.exists():
        folder.old.replace(folder.target)


def _settle_names(folder: Path) -> None:
    """Have a folder's names on the disk, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
