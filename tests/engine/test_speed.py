"""`flow` keeps its speed, measured against a fixed kernel in the same process; so do certificates.

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

# The fixed kernel's time over flow's, by the widest vectors that there are: on AMD EPYC processors
# of Zen 5 and Zen 3.
RATIOS = {
    "avx512bw": {(2, 4): 15.5, (4, 8): 15.9, (8, 16): 16.2, (16, 32): 8.56},
    "avx2": {(2, 4): 13.4, (4, 8): 9.83, (8, 16): 8.56, (16, 32): 5.87},
}
# What a certificate of an optimal mask may cost, in masks: twice what was measured.
CERTIFICATES = {(2, 4): 24, (4, 8): 15, (8, 16): 11, (16, 32): 8}
PATTERNS = [(2, 4), (4, 8), (8, 16), (16, 32)]
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


def price(n, m):
    """A certificate's time over that of its mask, the median over rounds, on one core."""
    weights = np.random.default_rng(0).standard_normal((1536, 384), np.float32)
    mask = nmflow.solve(weights, n, m)
    calls = (
        lambda: nmflow.certify(weights, mask, n, m, workers=1),
        lambda: nmflow.solve(weights, n, m, workers=1),
    )
    for call in calls:
        call()
    return statistics.median(seconds(calls[0]) / seconds(calls[1]) for _ in range(ROUNDS))


def seconds(call):
    """Processor time of a call, of as many as are worth a measurement."""
    begin, count = time.thread_time(), 0
    while time.thread_time() - begin < 0.02:
        call()
        count += 1
    return (time.thread_time() - begin) / count


def vectors():
    """The widest vectors of this processor that there are ratios for."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return None
    return next((name for name in RATIOS if name in flags), None)


@pytest.mark.slow
@pytest.mark.skipif(not vectors(), reason="no ratios for this processor")
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the ratios are for compiled kernels")
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_flow_is_not_half_as_fast(n, m):
    """Half, because what shares the machine may cost something, but not that."""
    found, committed = ratio(n, m), RATIOS[vectors()][n, m]
    assert found > committed / 2, f"{found:.3g} at {n}:{m}, committed {committed}"


@pytest.mark.slow
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the prices are of compiled kernels")
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_a_certificate_costs_a_few_masks(n, m):
    found, most = price(n, m), CERTIFICATES[n, m]
    assert found < most, f"{found:.3g} times the mask at {n}:{m}"


if __name__ == "__main__":
    print({(n, m): float(f"{ratio(n, m):.3g}") for n, m in PATTERNS})
