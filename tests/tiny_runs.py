"""A training run of a few steps."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.training.runs import Run

STEPS = 12
SWIFT = Run("4:8 swift", 4, 8, rule="sr-ste", every=4)
