"""Shared set-up: deterministic property tests, and a fixed generator."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from nmflow.compiling import sparing

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

# Tests run side by side, and PyTorch's threads would wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is tested is what is compiled; test_sparing.py looks at what isn't.
sparing.compile_at_once()


@pytest.fixture
def rng():
    return np.random.default_rng(20211206)
