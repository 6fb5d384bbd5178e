"""What counting refuses, and what it takes."""

import time

import numpy as np
import pytest

import nmflow
from nmflow import log10_mask_diversity, mask_diversity
from nmflow.diversity import count

PATTERNS = ("transposable", "rows", "columns", "unstructured", "sequential")


@pytest.mark.parametrize("function", [mask_diversity, log10_mask_diversity])
@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((5, 4), {}, ["5:4", "0 <= n <= m", "not the zeros"]),
        ((-1, 4), {}, ["-1:4"]),
        ((0, 0), {}, ["0:0", "m >= 1"]),
        ((2.0, 4), {}, ["n must be an integer", "2.0", "float"]),
        ((2, "4"), {}, ["m must be an integer", "'4'", "str"]),
        ((True, 4), {}, ["n must be an integer", "bool"]),
        ((2, None), {}, ["m must be an integer", "None"]),
        ((2, 4, "transposeable"), {}, ["'transposeable'", "did you mean 'transposable'"]),
        ((2, 4, "diagonal"), {}, ["'diagonal'", "'rows'", "'sequential'"]),
        ((2, 4, 7), {}, ["unknown pattern 7"]),
        ((2, 4), {"method": "exakt"}, ["'exakt'", "did you mean 'exact'"]),
        ((2, 4), {"method": None}, ["unknown method None", "'paper'"]),
        ((2, 4), {"shape": (8,)}, ["(8,)", "two or more"]),
        ((2, 4), {"shape": ()}, ["()", "two or more"]),
        ((2, 4), {"shape": 8}, ["shape must be a sequence", "8"]),
        ((2, 4), {"shape": (8, -8)}, ["(8, -8)", "negative"]),
        ((2, 4), {"shape": (8, 8.0)}, ["a side of shape must be an integer", "8.0"]),
        ((2, 4), {"shape": (8, True)}, ["a side of shape must be an integer", "True"]),
        ((16, 32), {}, ["16:32", "32 x 32", "5.0e+12", "3.5e+09", "method='asymptotic'"]),
        ((100, 200), {}, ["100:200", "terms", "method='asymptotic'"]),
        ((400, 999), {}, ["400:999", "10^", "method='asymptotic'"]),
        ((16, 32), {"shape": (31, 30)}, ["31 x 30", "at most 16", "ragged"]),
        ((16, 32), {"shape": (64, 57), "method": "asymptotic"}, ["32 x 25", "ragged"]),
        ((2, 4), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6", "(8, 6)", "exact"]),
        ((2, 4, "rows"), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6"]),
        ((2, 4, "columns"), {"shape": (6, 8), "method": "paper"}, ["4 does not divide 6"]),
        ((2, 4, "sequential"), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6"]),
    ],
)
def test_wrong_input(function, arguments, options, words):
    started = time.perf_counter()
    with pytest.raises(nmflow.NmflowError) as raised:
        function(*arguments, **options)
    for word in words:
        assert word in str(raised.value)
    # Work is estimated, not tried.
    assert time.perf_counter() - started < 1


def test_paper_formulas_ask_for_whole_groups_where_there_are_groups():
    for pattern, shape in [("rows", (3, 8)), ("columns", (8, 3)), ("unstructured", (3, 5))]:
        assert mask_diversity(2, 4, pattern, shape=shape, method="paper") == mask_diversity(
            2, 4, pattern, shape=shape
        )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_numbers_too_long_are_refused(pattern):
    with pytest.raises(nmflow.NmflowError, match=r"digits.*log10_mask_diversity") as raised:
        mask_diversity(4, 8, pattern, shape=(8, 4096, 4096))
    assert "(8, 4096, 4096)" in str(raised.value)
    with pytest.raises(nmflow.NmflowError, match=r"10\^\d.*float.*log10_mask_diversity"):
        mask_diversity(4, 8, pattern, shape=(256, 256), method="asymptotic")
    assert mask_diversity(4, 8, pattern, shape=(16, 16), method="asymptotic") > 0


def test_the_limit_on_digits_is_where_it_says(monkeypatch):
    monkeypatch.setattr(count, "DIGITS_LIMIT", 31)
    # log10 of 6 is 0.778: 6**40 has 32 digits.
    with pytest.raises(nmflow.NmflowError, match="has 32 digits, and no more than 31"):
        mask_diversity(2, 4, "rows", shape=(40, 4))
    assert mask_diversity(2, 4, "rows", shape=(39, 4)) == 6**39


def test_integers_of_any_kind_and_shapes_of_any_kind():
    assert mask_diversity(np.int64(2), np.uint8(4), shape=np.array([4, 8])) == 90**2
    assert mask_diversity(2, 4, shape=np.ones((8, 4)).shape) == 90**2
    assert mask_diversity(2, 4, shape=range(4, 6)) == mask_diversity(2, 4, shape=[4, 5])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_shape_without_entries_has_one_mask(pattern):
    for shape in [(0, 4), (4, 0), (0, 4, 4), (0, 0), (3, 0, 5)]:
        assert mask_diversity(2, 4, pattern, shape=shape) == 1
        assert log10_mask_diversity(2, 4, pattern, shape=shape) == 0
