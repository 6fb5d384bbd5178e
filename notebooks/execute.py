"""Run the notebooks headless and keep their outputs: ``python notebooks/execute.py [NAME...]``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
# Seconds that one cell may take.
TIMEOUT = 300


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook run in a new kernel, from its own folder; raises where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    # What is run is the nmflow of this tree, installed or not.
    tree = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, tree))}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        # When a cell ran is no result.
        record_timing=False,
        coalesce_streams=True,
        # Kernels warn of how they talk to clients.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    client.execute(env=environment)
    # Which Python ran it is no result either.
    notebook.metadata.pop("language_info", None)
    return notebook


def main() -> None:
    """Run those named, or all, and write them back."""
    names = [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for path in names:
        nbformat.write(executed(path), path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
