"""The documents for readers of the code say what is so, and the site shows all public names."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
FOLDERS = ["nmflow", "tests", "benchmarks", "tools", "examples", "notebooks"]
MODULES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
PICTURE = ROOT / "docs" / "way-of-a-matrix.svg"


def links():
    for name in DOCUMENTS:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / name).read_text()):
            yield name, link


@pytest.mark.parametrize(("document", "link"), sorted(set(links())))
def test_links_lead_somewhere(document, link):
    assert (ROOT / link).exists()


def test_the_picture_names_files_and_what_is_in_them():
    """Each box: a file, and the call that its text begins with."""
    boxes = re.findall(
        r"</tspan> ([\w/.]+\.py)</text>\n<text[^>]*>([\w.]+)\(\)", PICTURE.read_text()
    )
    assert len(boxes) == 8
    for path, call in boxes:
        files = [file for file in MODULES if file.as_posix().endswith(f"/{path}")]
        assert len(files) == 1, path
        name = call.rpartition(".")[2]
        assert re.search(rf"^\s*def {name}\(", files[0].read_text(), re.M), (path, call)


def test_files_and_targets_that_are_named_exist():
    """Of names in backticks: modules, somewhere in the tree, and targets of make."""
    files = {path.name for path in MODULES} | {"NAME.py"}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in DOCUMENTS[:2]:
        text = (ROOT / name).read_text()
        for file in re.findall(r"`[\w/]*?(\w+\.py)`", text):
            assert file in files, (name, file)
        for words in re.findall(r"`make ([\w -]+)`", text):
            assert set(words.split()) <= targets, (name, words)


def test_the_layers_are_those_of_the_test():
    from test_architecture import LAYERS

    text = (ROOT / "ARCHITECTURE.md").read_text()
    shown = [re.findall(r"`(\w+)`", line) for line in re.findall(r"^\d+\. (`.*)$", text, re.M)]
    wanted = [sorted(name or "nmflow" for name in layer) for layer in LAYERS]
    assert [sorted(layer) for layer in shown[: len(LAYERS)]] == wanted


@pytest.mark.parametrize(
    "name",
    [
        "nmflow",
        "nmflow.torch",
        "nmflow.jax",
        "nmflow.checkpoint",
        "nmflow.models",
        "nmflow.hardware",
    ],
)
def test_all_public_names_are_on_the_site(name):
    if name in ("nmflow.torch", "nmflow.jax"):
        pytest.importorskip(name.removeprefix("nmflow."))
    page = (ROOT / "docs" / "api" / f"{name.rpartition('.')[2]}.md").read_text()
    if f".. automodule:: {name}\n   :members:" in page:
        return
    shown = re.findall(rf"auto\w+:: {re.escape(name)}\.(\w+)$", page, re.M)
    assert sorted(shown) == sorted(set(importlib.import_module(name).__all__) - {"__version__"})


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: help (.*)$", makefile, re.M)
    shown = " ".join(re.findall(r'@echo "make ([\w -]+?)(?:  |")', makefile))
    assert set(phony.split()) == set(shown.split()) - {"help"}
