"""``nmflow warmup``: kernels that are there before their first call, and its errors."""

import re
import shutil
import subprocess
import sys

import pytest
from processes import ENVIRONMENT, run
from safetensors_files import floats, write_raw

import nmflow
from nmflow import cli
from nmflow.warming import processes

# The kernel that compiles fastest, of masks that are proved by the first kernel that tries.
QUICK = ("4:4", "--dtype", "float64", "--method", "greedy-keep")
FIRST_CALL = """
import numpy as np, nmflow
from nmflow.solvers.heuristics.greedy_keep import solve_batch
nmflow.solve(np.ones((4, 4)), 2, 4, "greedy-keep")
print(sum(solve_batch.stats.cache_hits.values()), solve_batch.stats.cache_path)
"""


def start(*arguments, folder, through=(), **environment):
    """``nmflow warmup`` as a process, started by another command or not."""
    command = [*through, sys.executable, "-m", "nmflow.cli", "warmup", *arguments]
    environment = ENVIRONMENT | {"NUMBA_CACHE_DIR": str(folder)} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment, **pipes)


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out.splitlines(), err


@pytest.fixture(scope="module")
def warmed(tmp_path_factory):
    """A directory that was warmed, and what was said."""
    folder = tmp_path_factory.mktemp("kernels")
    return folder, finish(start(*QUICK, folder=folder))


@pytest.fixture
def half_warmed(warmed, tmp_path):
    """A directory in which one kernel is missing."""
    folder = shutil.copytree(warmed[0], tmp_path / "kernels")
    for kernel in folder.rglob("greedy_keep.*.nbc"):
        kernel.unlink()
    return folder


def test_a_line_for_each_and_where_they_are(warmed):
    folder, (code, lines, err) = warmed
    assert (code, err) == (0, "")
    assert re.fullmatch(r"4:4 float64: [1-9]\d* compiled, 0 loaded, in \S+ s", lines[0])
    assert lines[1:] == [f"They are there now, in {folder}."]


def test_the_first_call_finds_them(warmed):
    hits, folder = run(FIRST_CALL, NUMBA_CACHE_DIR=str(warmed[0])).split()
    assert hits == "1"
    assert folder.startswith(str(warmed[0]))


def test_what_is_there_is_not_compiled_again(warmed):
    code, lines, _ = finish(start(*QUICK, folder=warmed[0]))
    assert code == 0
    assert re.match(r"4:4 float64: 0 compiled, [1-9]\d* loaded, in ", lines[0])


def test_two_at_once(half_warmed):
    both = [start(*QUICK, folder=half_warmed) for _ in range(2)]
    for code, lines, err in map(finish, both):
        assert (code, err) == (0, "")
        assert len(lines) == 2
        assert lines[-1] == f"They are there now, in {half_warmed}."
    assert not list(half_warmed.rglob("*.tmp.*"))
    _, lines, _ = finish(start(*QUICK, folder=half_warmed))
    assert " 0 compiled, " in lines[0]
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(half_warmed)).startswith("1 ")


def test_a_directory_that_takes_nothing_costs_a_warning(half_warmed):
    """Files may not grow, as on a disk that is full."""
    limited = ("sh", "-c", 'ulimit -f 1 && exec "$0" "$@"')
    code, lines, err = finish(start(*QUICK, folder=half_warmed, through=limited))
    assert code == 0
    assert "RuntimeWarning: compiled kernels of nmflow can't be saved in" in err
    assert err.count("RuntimeWarning") == 1
    assert re.search(r": 1 compiled, [1-9]\d* loaded", lines[0])
    assert lines[0].endswith("can not be kept")
    assert lines[1].startswith("Not all kernels could be kept")


def test_another_directory_than_asked_for_is_said(tmp_path):
    code, lines, err = finish(start(*QUICK, folder="/dev/null/cache"))
    assert (code, err) == (0, "")
    assert "/dev/null/cache, the NUMBA_CACHE_DIR, can't be written to" in lines[-1]


def test_without_a_compiler_there_are_no_kernels(tmp_path):
    code, lines, _ = finish(start(*QUICK, folder=tmp_path, NUMBA_DISABLE_JIT="1"))
    assert code == 0
    assert lines == ["4:4 float64: no kernels", "No kernels are needed."]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["4x8"], ["'4x8'", "4:8"]),
        (["4"], ["'4'"]),
        (["4:8:16"], ["'4:8:16'"]),
        (["a:8"], ["'a:8'"]),
        (["4:8", "8:4"], ["8:4", "1 <= n <= m"]),
        (["0:4"], ["0:4"]),
        (["2:4", "--dtype", "flaot32"], ["'flaot32'", "did you mean 'float32'?"]),
        (["2:4", "--dtype", "float32", "complex64"], ["'complex64'", "float16, bfloat16"]),
        (["2:4", "--method", "flwo"], ["did you mean 'flow'?"]),
        (["2:4", "--workers", "0"], ["workers", "0"]),
        (["8:16", "--method", "exhaustive"], ["8:16 ", "10,000"]),
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, words):
    assert cli.main(["warmup", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nmflow: error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words)


def test_a_process_that_ends_early_is_an_error(monkeypatch):
    monkeypatch.setattr(processes, "_CHILD", "import sys; sys.exit('no more memory')")
    with pytest.raises(nmflow.NmflowError, match="2:4 float64 ended early: no more memory"):
        nmflow.warmup(["2:4"], ["float64"], method="greedy")


def test_help_says_what_the_cache_goes_by(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["warmup", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for word in ("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "2:4 4:8 8:16", "--for", "--no-ragged"):
        assert word in out


def test_an_unknown_purpose():
    with pytest.raises(nmflow.NmflowError, match="purpose 'serve' is none: use one of 'solve'"):
        nmflow.warmup(["2:4"], ["float64"], purpose="serve")


EVERYTHING = """
import numpy as np, nmflow, ml_dtypes
from nmflow.warming.sample import Kernels
rng = np.random.default_rng(1)
for shape in ((256, 256), (257, 259), (3, 66)):
    weights = rng.standard_normal(shape).astype(ml_dtypes.bfloat16)
    tracker = nmflow.Tracker(shape, 4, 8)
    for _ in range(2):
        mask, _ = tracker.update(weights)
        nmflow.certify(weights, mask, 4, 8)
    nmflow.solve(weights, 4, 8)
found = Kernels.so_far()
print(found.compiled, found.loaded >= 3)
"""


@pytest.mark.slow
def test_nothing_is_left_to_compile(tmp_path):
    pytest.importorskip("ml_dtypes")
    command = ("4:8", "--dtype", "bfloat16", "--for", "train")
    code, lines, _ = finish(start(*command, folder=tmp_path))
    assert code == 0
    assert lines[-1] == f"They are there now, in {tmp_path}."
    assert run(EVERYTHING, NUMBA_CACHE_DIR=str(tmp_path)) == "0 True\n"


PRUNED = """
from nmflow.checkpoint import prune_checkpoint
report = prune_checkpoint(source, target, 4, 8)
print(report.gap, report.kernels.compiled, report.kernels.loaded > 2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "stored"), [("float32", "F32"), ("bfloat16", "BF16")])
def test_nothing_is_left_to_compile_for_a_model(dtype, stored, tmp_path):
    command = ("4:8", "--dtype", dtype, "--for", "prune", "--no-ragged")
    code, _, _ = finish(start(*command, folder=tmp_path))
    assert code == 0
    tensors = {"a.weight": floats(stored, (256, 256))}
    write_raw(tmp_path / "in.safetensors", tensors)
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("in", "out")]
    found = run(f"source, target = {paths}\n{PRUNED}", NUMBA_CACHE_DIR=str(tmp_path))
    assert found == "0.0 0 True\n"
