"""What the type checkers of users see of nmflow: ``typing/user_snippet.py``, line by line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNIPPET = ROOT / "tests" / "typing" / "user_snippet.py"
pytestmark = pytest.mark.slow


def check(tmp_path, *command):
    """Run a checker from elsewhere, without nmflow's own settings, as a user does."""
    pytest.importorskip("torch")
    pytest.importorskip(command[0])
    shutil.copy(SNIPPET, tmp_path)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", *command, SNIPPET.name],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(tmp_path):
    """Strictly; every ``type: ignore`` of the snippet must be needed."""
    silent = ["--follow-imports=silent", f"--cache-dir={tmp_path}"]
    check(tmp_path, "mypy", "--strict", "--config-file=", *silent)


@pytest.mark.skipif(not shutil.which("node"), reason="pyright runs in node")
def test_pyright(tmp_path):
    check(tmp_path, "pyright", f"--pythonpath={sys.executable}")
