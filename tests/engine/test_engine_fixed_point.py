"""The engine's constants are held to the inequalities on which exactness rests, at import."""

import inspect
import re

import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from nmflow.solvers.flow.simd_engine import fixed_point

SOURCE = inspect.getsource(fixed_point)


def test_as_they_are_they_hold():
    exec(SOURCE, {"__name__": "fixed_point"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIXED_BITS", 31),
        ("FIRST_SHIFT", 14),
        ("WARM_SHIFT", 15),
        ("STAGE_SHIFTS", (15, 15, 9, 12, 5, 1)),
        ("STAGE_SHIFTS", (15, 15, 14, 14, 13, 1)),
        ("SPARE_BITS", 14),
        ("WARM_BITS", 24),
        ("WARM_LIMIT", 1 << 29),
        ("LOWEST_EXPONENT", -97),
        ("LEAST_WARM_EXPONENT, GREATEST_WARM_EXPONENT", (-90, 120)),
        ("LEAST_WARM_EXPONENT, GREATEST_WARM_EXPONENT", (-89, 126)),
        ("TABLE_MARGIN", 0),
        ("FACE_TABLE_SHIFT", 13),
        ("POTENTIAL_LIMIT", 1 << 29),
        ("REDUCED_LIMIT", 1 << 28),
        ("FORBIDDEN", 1 << 29),
        ("FORBIDDEN", (1 << 31) - 1),
        ("PARTIAL_BITS", 16),
    ],
)
def test_others_do_not(name, value):
    changed, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", SOURCE, flags=re.M)
    assert count == 1
    with pytest.raises(AssertionError):
        exec(changed, {"__name__": "fixed_point"})
