"""Compiled kernels on disk: never stale, never damaged, and not needed."""

import importlib
import os
from pathlib import Path

import pytest
from processes import run

import nmflow
from nmflow.compiling.cache import _SealedFiles
from nmflow.compiling.sources import sources_digest, sources_of

SOLVE_AND_CERTIFY = """
import numpy as np, nmflow
weights = np.random.default_rng(3).standard_normal((17, 24)).astype(np.float32)
mask = nmflow.solve(weights, 4, 8)
print(nmflow.certify(weights, mask, 4, 8).optimal, nmflow.__file__)
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
    code = f"import sys; sys.path.insert(0, {str(copy)!r})\n{SOLVE_AND_CERTIFY}"
    out = run(
        code,
        NUMBA_CACHE_DIR="/dev/null/cache",
        HOME="/dev/null",
        XDG_CACHE_HOME="/dev/null",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert out.split() == ["True", str(copy / "nmflow" / "__init__.py")]


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


FIRST_CALL = """
import numpy as np, nmflow
from nmflow.solvers.heuristics import greedy
mask = nmflow.solve(np.ones((4, 4)), 2, 4, "greedy")
assert mask.shape == (4, 4)
print(sum(greedy.solve_batch.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def saved_kernel(tmp_path_factory):
    """A directory with a compiled kernel."""
    folder = tmp_path_factory.mktemp("kernels")
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(folder)) == "0\n"
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(folder)) == "1\n"
    return folder


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [truncated, flipped],
)
def test_a_damaged_cache_is_compiled_anew_and_mended(damage, saved_kernel):
    files = list(saved_kernel.rglob("*.nbc"))
    assert files
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(saved_kernel)) == "0\n"
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(saved_kernel)) == "1\n"


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


def test_a_disk_that_is_full_costs_a_warning_but_no_mask(tmp_path):
    """And only one, however many kernels it is."""
    code = f"""
import errno, warnings
from numba.core.caching import IndexDataCacheFile
def refuse(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
IndexDataCacheFile._open_for_write = refuse
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {FIRST_CALL.replace(chr(10), chr(10) + "    ")}
    nmflow.solve(np.ones((4, 4)), 2, 4, "greedy-keep")
for warning in caught:
    print(warning.category.__name__, warning.message)
"""
    hits, *warned = run(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert hits == "0"
    assert len(warned) == 1
    assert warned[0].startswith("RuntimeWarning compiled kernels of nmflow can't be saved in")
    assert "No space left on device" in warned[0]
    assert "NUMBA_CACHE_DIR" in warned[0]


def test_the_digest_is_of_what_sources_hold(tmp_path):
    """Not of their names and dates alone: an edit in the same second counts."""
    source = tmp_path / "kernel.py"
    digests = set()
    for text in ("x = 1\n", "x = 2\n"):
        source.write_text(text)
        os.utime(source, (0, 0))
        digests.add(sources_digest(source))
    assert len(digests) == 2
