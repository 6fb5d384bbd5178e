"""Tests here share the samples of those of ``tests/gpu``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gpu"))
