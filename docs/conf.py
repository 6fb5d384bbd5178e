"""Sphinx, over the whole repository: what is a page on GitHub is a page of the site.

The source directory is the root (``make docs`` says so), so that links between README,
ARCHITECTURE, the notebooks and files of the code are the same in both places. Notebooks are shown
as committed, never run; nothing is fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import nmflow  # noqa: E402

project = "nmflow"
author = "the nmflow developers"
version = release = nmflow.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
]

root_doc = "README"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**.md",
    "docs/**.rst",
    "notebooks/*.ipynb",
]
# Folders that need not be searched.
exclude_patterns = [".*", "build", "dist", "demo", "nmflow", "tests", "**/__pycache__"]

# Every reference to a name of ours must lead somewhere; names of others are not looked up, which
# would take a network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!nmflow\.).*"),
    # Types by which parts of the library speak to each other, in signatures that users see.
    (r"py:class", r"nmflow\..*\.(TileSolver|WindowSolver|ConstrainedSolver|MaskSet|Problem|Plan)"),
    (r"py:class", r"nmflow\.checkpoint\..*\.(LayerJob|Output|Piece|PieceWork)"),
    (r"py:class", r"nmflow\.torch\..*\.(ConversionMethod|Reconstruction|Projection|Order)"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
python_use_unqualified_type_names = True

nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"nmflow {release}"
html_copy_source = False
html_show_sourcelink = False
templates_path = ["templates"]
# The front page is README; its address is index.html as well.
html_additional_pages = {"index": "front.html"}

CONTENTS = """
```{toctree}
:hidden:
:caption: Guide

docs/guide/masks
docs/guide/constraints
docs/guide/training
docs/guide/jax
docs/guide/conversion
docs/guide/checkpoints
docs/guide/gpu
docs/guide/counting
docs/guide/deployment
docs/guide/numbers
```

```{toctree}
:hidden:
:caption: Project

ARCHITECTURE
CONTRIBUTING
CHANGELOG
```

```{toctree}
:hidden:
:caption: Reference

docs/api/nmflow
docs/api/torch
docs/api/integrations
docs/api/jax
docs/api/checkpoint
docs/api/hardware
docs/api/models
docs/api/inside
```

```{toctree}
:hidden:
:caption: Notebooks
:glob:

notebooks/*
```
"""


def add_contents(_app, name, source):
    """Give README the table of contents that the site's front page needs."""
    if name == root_doc:
        source[0] += CONTENTS


def setup(app):
    """Connect what is above."""
    app.connect("source-read", add_contents)
