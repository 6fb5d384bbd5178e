"""`flow` keeps its speed, measured against a fixed kernel in the same process.

Print what to commit with ``python tests/test_speed.py``.
"""

import statistics
import time
from pathlib import Path

import numba
import numpy as np
import pytest
import reference_kernel

import nmflow

# The fixed kernel's time over flow's, on an AMD EPYC of Zen 5 with AVX-512.
RATIOS = {(2, 4): 15.5, (4, 8): 15.9, (8, 16): 16.2, (16, 32): 8.56}
ROUNDS = 9


def ratio(n, m):
    """The median over rounds, each timing both, one after the other, on one core."""
    weights = np.random.default_rng(0).standard_normal((1024, 1024), np.float32)
    calls = (
        lambda: reference_kernel.run(weights, m),
        lambda: nmflow.solve(weights, n, m, workers=1),
    )
    for call in calls:
        call()
    found = []
    for _ in range(ROUNDS):
        reference, flow = (seconds(call) for call in calls)
        found.append(reference / flow)
    return statistics.median(found)


def seconds(call):
    """Processor time of a call, of as many as are worth a measurement."""
    begin, count = time.thread_time(), 0
    while time.thread_time() - begin < 0.02:
        call()
        count += 1
    return (time.thread_time() - begin) / count


def comparable():
    """Whether this processor has the vectors that the ratios were measured with."""
    try:
        return " avx512bw " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not comparable(), reason="the ratios are for AVX-512")
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the ratios are for compiled kernels")
@pytest.mark.parametrize(("n", "m"), RATIOS)
def test_flow_is_not_half_as_fast(n, m):
    """Half, because what shares the machine may cost something, but not that."""
    found = ratio(n, m)
    assert found > RATIOS[n, m] / 2, f"{found:.3g} at {n}:{m}, committed {RATIOS[n, m]}"


if __name__ == "__main__":
    print({(n, m): float(f"{ratio(n, m):.3g}") for n, m in RATIOS})
