"""Order statistics of vectors by either instruction, whichever this processor would be given."""

import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from test_engine import RANKS, run_on

CHOICE = """
from nmflow.simd import order_statistics
order_statistics.bits_are_cheaper = lambda context: {}
"""


@pytest.mark.parametrize("bits", [False, True])
def test_ranks_by_minima_and_by_exclusive_or(bits, tmp_path):
    sorted_alike = run_on(None, CHOICE.format(bits) + RANKS, tmp_path).split()
    assert sorted_alike == ["4:8", "8:16", "4:16", "11:32", "2:5"]
