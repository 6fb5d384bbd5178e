"""Exit codes of failed checks and interrupts, and the command as a process."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file

from nmflow import priced  # noqa: E402


def test_a_failed_verification_says_which_layer(prune, tmp_path, untouched, monkeypatch):
    real = priced.solve_for_certificate

    def careless(weights, *args, **options):
        mask, prices = real(weights, *args, **options)
        if weights.shape[0] == 9:
            mask[0] = True
        return mask, prices

    monkeypatch.setattr(priced, "solve_for_certificate", careless)
    code, out, err = prune()
    assert (code, out) == (1, "")
    assert "nmflow: verification failed: encoder.layer.1.conv.weight: " in err
    assert "query.weight" not in err
    assert err.splitlines()[-1] == "nmflow: nothing was written"
    assert untouched()
    report = tmp_path / "report.json"
    assert prune("--json", report)[0] == 1
    found = json.loads(report.read_text())
    assert found["verified"] is False
    assert {failure["tensor"] for failure in found["failures"]} == {"encoder.layer.1.conv.weight"}
    assert found["gap"] is None


def test_an_interrupt(prune, untouched, monkeypatch):
    real, count = priced.solve_for_certificate, 0

    def interrupted(*args, **options):
        nonlocal count
        count += 1
        # Before the layers, kernels are loaded by a small matrix of each kind.
        if count == 5:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(priced, "solve_for_certificate", interrupted)
    code, out, err = prune()
    assert (code, out, err.splitlines()[-1]) == (130, "", "nmflow: interrupted")
    assert untouched()


def test_importing_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, nmflow.cli; "
        "heavy = {'rich', 'safetensors', 'matplotlib', 'numba', 'torch', 'jax', 'scipy'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_that_closes_early(model, target):
    """``nmflow prune ... | true`` is no failed verification."""
    command = [sys.executable, "-m", "nmflow.cli", "prune", model, target, "-n", "2", "-m", "4"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert done.returncode == 0, done.stderr
    assert target.exists()
