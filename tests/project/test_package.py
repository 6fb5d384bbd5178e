"""A wheel and an sdist that work outside the tree."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

USE = """
import sys
sys.path.insert(0, {site!r})
import numpy as np, nmflow
assert nmflow.__file__.startswith({site!r}), nmflow.__file__
weights = np.random.default_rng(0).standard_normal((16, 16))
print(nmflow.certify(weights, nmflow.solve(weights, 4, 8), 4, 8).gap)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_wheel_works_outside_the_tree(built, tmp_path):
    _, wheel = built
    assert wheel.name.endswith("-py3-none-any.whl")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    command = [sys.executable, "-c", USE.format(site=str(site))]
    # Interpreted, since nothing of it is compiled yet, which takes half a minute.
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.stdout == "0.0\n", done.stderr


def test_wheel_holds_the_package_and_nothing_else(built):
    names = zipfile.ZipFile(built[1]).namelist()
    assert "nmflow/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(name.startswith(("nmflow/", "nmflow-")) for name in names)
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "nmflow").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here


def test_sdist_holds_what_is_needed_to_test(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/oracle.py"}
    assert not any("__pycache__" in name or name.startswith(".venv") for name in names)
