"""Shared set-up: deterministic property tests, and a fixed generator."""

import gc
import os

# Tests run side by side, and threads of BLAS and PyTorch would wait for each other's. BLAS makes
# its threads when numpy is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# XLA compiles in a third of the time, for tests and processes that they start: tiny arrays gain
# nothing by more. What users' programmes are compiled to is tested with ``AS_USERS``, tests/jax.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
    ]
)

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

COMPILED = {"compiling", "constraints", "engine", "methods", "problem", "proof"}
"""Folders of tests of what is compiled. In others kernels are compiled once it pays, as users' are:
compiling takes most of the time of tests."""

LONG = (
    "test_engine.py",
    "test_jax_training.py",
    "test_within.py",
    "test_tracker.py",
    "test_solve.py",
    "test_methods.py",
    "test_jax_sparsify.py",
    "test_cli_warmup.py",
    "test_flow.py",
    "test_jax_masks.py",
    "test_lp.py",
    "test_cli_resume.py",
    "test_cluster.py",
    "test_dask_arrays.py",
    "test_torch_transformers.py",
    "test_dtensors.py",
    "test_cli_kernels.py",
)
"""Files that take longest, the first two for different reasons: two workers then compile different
kernels, and none is left alone with a long file at the end."""


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


def pytest_collection_finish(session):
    # Frameworks and thousands of tests, which the garbage collector would go through in vain.
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.path.parent.name in COMPILED:
        sparing.compile_at_once()
    else:
        sparing._at_once.clear()


@pytest.fixture
def rng():
    return np.random.default_rng(20211206)
