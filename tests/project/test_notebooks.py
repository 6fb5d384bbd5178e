"""The notebooks run from a clean kernel, and what is committed is what they say."""

import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(FOLDER))

from execute import executed  # noqa: E402

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    """The text that each cell printed."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in code(notebook)
    ]


def pictures(notebook):
    """How many pictures each cell drew."""
    return [
        sum("image/png" in output.get("data", {}) for output in x.outputs) for x in code(notebook)
    ]


def test_they_are_numbered():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_says_what_is_committed(path):
    fresh = executed(path)
    kept = nbformat.read(path, as_version=4)
    advice = "run make notebooks"
    assert printed(fresh) == printed(kept), advice
    assert pictures(fresh) == pictures(kept), advice


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_as_run(path):
    """From top to bottom, with its pictures, and small."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    # A cell that draws holds its picture.
    drawn = [int("figure = " in cell.source) for cell in code(notebook)]
    assert pictures(notebook) == drawn
    assert sum(drawn) >= 3
    complaints = [
        x.text for cell in code(notebook) for x in cell.outputs if x.get("name") == "stderr"
    ]
    assert complaints == []
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_commands_named_exist(path):
    text = path.read_text()
    root = FOLDER.parent
    for module in re.findall(r"python -m benchmarks\.(\w+)", text):
        found = root / "benchmarks" / module
        assert found.with_suffix(".py").exists() or (found / "__main__.py").exists()
    for name in re.findall(r'results\(\\"(\w+)\\"\)', text):
        assert (root / "benchmarks" / "results" / f"{name}.json").exists()
