"""Compiled kernels on disk: never stale, never damaged, and not needed."""

import errno
import importlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba import config
from numba.core.caching import IndexDataCacheFile
from processes import run

import nmflow
from nmflow.compiling import cache
from nmflow.compiling.cache import _SealedFiles
from nmflow.compiling.jit import compile_kernel
from nmflow.compiling.sources import sources_digest, sources_of

# All kernels are made where nothing can be kept, and the one that compiles fastest is called.
UNKEPT = """
import numpy as np, nmflow
from nmflow.compiling.pointers import is_at_hand
from nmflow.proof import prove
from nmflow.solvers.flow import method
from nmflow.solvers.heuristics.greedy_keep import solve_batch
mask = nmflow.solve(np.ones((4, 4)), 2, 4, "greedy-keep")
print(mask.sum() <= 8, is_at_hand(solve_batch, (np.ones(3),)), nmflow.__file__)
"""


def test_no_cache_directory_is_no_error(tmp_path):
    """A read-only installation: nothing beside the sources, in the home, or in the named place."""
    package = Path(nmflow.__file__).parent
    copy = tmp_path / "site"
    for path in package.rglob("*.py"):
        target = copy / "nmflow" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        # A file where numba would make its directory: unwritable even for root.
        (target.parent / "__pycache__").touch()
    code = f"import sys; sys.path.insert(0, {str(copy)!r})\n{UNKEPT}"
    out = run(
        code,
        NUMBA_CACHE_DIR="/dev/null/cache",
        HOME="/dev/null",
        XDG_CACHE_HOME="/dev/null",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert out.split() == ["True", "False", str(copy / "nmflow" / "__init__.py")]


@pytest.mark.parametrize(
    ("kernel", "made_of", "not_of"),
    [
        (
            "flow.simd_engine.kernel.solve_full_tiles",
            ["problem.ties", "simd.selection_networks", "simd.order_statistics", "compiling.jit"],
            ["solvers.network_simplex.simplex", "solvers.registry"],
        ),
        (
            "flow.scalar.solve.solve_batch",
            ["problem.ties", "solvers.flow.scalar.augmentation"],
            ["solvers.flow.simd_engine.kernel", "simd.order_statistics"],
        ),
        (
            "network_simplex.simplex.solve_batch",
            ["solvers.network_simplex.tree"],
            ["solvers.flow.scalar.solve", "solvers.registry"],
        ),
        ("heuristics.entropic.solve_batch", ["simd.vectors"], ["solvers.registry"]),
    ],
)
def test_the_cache_knows_when_a_source_changed(kernel, made_of, not_of):
    """numba itself looks at the kernel's own file only."""
    package = Path(nmflow.__file__).parent
    module, _, name = f"solvers.{kernel}".rpartition(".")
    home = package.joinpath(*module.split(".")).with_suffix(".py")
    names = {".".join(p.relative_to(package).with_suffix("").parts) for p in sources_of(home)}
    assert {module, *made_of} <= names
    assert not names & set(not_of)
    compiled = getattr(importlib.import_module(f"nmflow.{module}"), name)
    files = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if files is None:
        pytest.skip("kernels are not cached here")
    assert sources_digest(home) in files._source_stamp


def double(values):
    values *= 2


def halve(values):
    values /= 2


def call(function=double):
    """Call it as a new process would; how many kernels were on the disk."""
    kernel, values = compile_kernel(function), np.full(3, 6.0)
    kernel(values)
    assert values.tolist() == [12.0 if function is double else 3.0] * 3
    return sum(kernel.stats.cache_hits.values())


@pytest.fixture
def kernels(monkeypatch, tmp_path):
    """A directory for compiled kernels."""
    if config.DISABLE_JIT:
        pytest.skip("nothing is compiled")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped])
def test_a_damaged_cache_is_compiled_anew_and_mended(damage, kernels):
    assert (call(), call()) == (0, 1)
    (file,) = kernels.rglob("*.nbc")
    file.write_bytes(damage(file.read_bytes()))
    assert (call(), call()) == (0, 1)


def test_two_processes_that_save_at_once_lose_nothing(tmp_path, monkeypatch):
    """As where each looked at the cache before the other wrote."""
    stamp = "of the sources"
    one, other = (_SealedFiles(str(tmp_path), "kernel", stamp) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(_SealedFiles, "_load_index", lambda self: {})
        one.save(("float32",), "code for float32")
        other.save(("float64",), "code for float64")
    for each in (one, other):
        assert each.load(("float32",)) == "code for float32"
        assert each.load(("float64",)) == "code for float64"
        assert each.load(("int8",)) is None
    newer = _SealedFiles(str(tmp_path), "kernel", "of newer sources")
    assert newer.load(("float32",)) is None
    newer.save(("float32",), "newer code")
    assert newer.load(("float32",)) == "newer code"
    assert len(list(tmp_path.iterdir())) == 2
    newer.flush()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_costs_a_warning_but_no_mask(kernels, monkeypatch):
    """And only one, however many kernels it is."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", refuse)
    monkeypatch.setattr(cache, "_warned", set())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert (call(), call(halve), call()) == (0, 0, 0)
    assert [warning.category for warning in warned] == [RuntimeWarning]
    said = str(warned[0].message)
    assert said.startswith("compiled kernels of nmflow can't be saved in")
    assert "No space left on device" in said
    assert "NUMBA_CACHE_DIR" in said


def test_the_digest_is_of_what_sources_hold(tmp_path):
    """Not of their names and dates alone: an edit in the same second counts."""
    source = tmp_path / "kernel.py"
    digests = set()
    for text in ("x = 1\n", "x = 2\n"):
        source.write_text(text)
        os.utime(source, (0, 0))
        digests.add(sources_digest(source))
    assert len(digests) == 2
