"""``nmflow diversity``: the table of all patterns, and its errors."""

import math

import pytest

pytest.importorskip("rich")

from nmflow import cli
from nmflow.diversity import table
from nmflow.diversity.table import compare_patterns


@pytest.fixture
def diversity(capsys, monkeypatch):
    """Run ``nmflow diversity``; return exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        return cli.main(["diversity", *map(str, arguments)]), *capsys.readouterr()

    return run


def cells(out):
    """The table's rows by pattern."""
    rows = [line.replace("│", " ").split() for line in out.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


def test_the_papers_piece(diversity):
    code, out, err = diversity(4, 8)
    assert (code, err) == (0, "")
    assert out.startswith("Masks of 4:8 on 8x8")
    assert "asymptotic" not in out
    assert cells(out) == {
        "unstructured": ["1,832,624,140,942,590,534", "18.263", "1.8326e18", "1"],
        "rows": ["576,480,100,000,000", "14.761", "5.7648e14", "1"],
        "columns": ["576,480,100,000,000", "14.761", "5.7648e14", "1"],
        "transposable": ["116,963,796,250", "11.068", "1.7558e13", "150.1"],
        "sequential": ["390,625", "5.592", "390,625", "1"],
    }


@pytest.mark.parametrize(
    ("n", "m", "piece"), [(1, 1, "8x8"), (1, 2, "8x8"), (2, 4, "8x8"), (2, 3, "3x3")]
)
def test_the_piece_is_8x8_where_m_divides_8(diversity, n, m, piece):
    assert f"Masks of {n}:{m} on {piece}" in diversity(n, m)[1]


def test_two_of_four_on_the_same_piece(diversity):
    found = cells(diversity(2, 4)[1])
    assert found["transposable"] == ["65,610,000", "7.817", "4.2998e8", "6.554"]
    assert found["rows"][0] == "2,821,109,907,456"


def test_long_numbers_are_shown_by_their_leading_digits(diversity):
    found = cells(diversity(8, 16)[1])
    assert found["transposable"] == ["3.4812e55", "55.542", "3.7396e74", "1.0742e19"]


def test_a_shape_of_millions(diversity):
    found = cells(diversity(4, 8, "--shape", 2, 4096, 4096)[1])
    assert found["transposable"][1] == "5802846.562"
    assert found["transposable"][0].endswith("e5802846")


def test_a_ragged_shape_has_no_paper_formula(diversity):
    out = diversity(3, 4, "--shape", 6, 7)[1]
    assert "on 6x7" in out
    found = cells(out)
    assert found["transposable"] == ["1,166,400,000", "9.067", "for", "whole", "tiles"]
    assert found["unstructured"][2:] == ["1.4714e9", "1"]


def test_a_ratio_below_one(diversity):
    assert cells(diversity(2, 16)[1])["transposable"][3] == "0.7481"
    # 0.7481**1024
    many = cells(diversity(2, 16, "--shape", 512, 512)[1])["transposable"][3]
    assert many.endswith("e-130")


def test_out_of_reach_is_marked(diversity):
    out = diversity(16, 32)[1]
    assert "~ asymptotic: the exact count is out of reach" in out
    found = cells(out)
    assert found["transposable"][0].startswith("~")
    assert not found["rows"][0].startswith("~")
    neither = cells(diversity(16, 32, "--shape", 64, 57)[1])["transposable"]
    assert neither == ["out", "of", "reach", "for", "whole", "tiles"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((5, 4), "5:4"),
        ((-1, 4), "-1:4"),
        ((0, 0), "0:0"),
        ((2, 4, "--shape", 8), "two or more"),
        ((2, 4, "--shape", 8, -8), "negative"),
    ],
)
def test_wrong_input(diversity, arguments, word):
    code, out, err = diversity(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("nmflow: error: ")
    assert err.count("\n") == 1
    assert word in err


@pytest.mark.parametrize("arguments", [("4",), ("4", "x"), ("4.5", "8"), ("4", "8.5")])
def test_arguments_that_are_no_integers(diversity, arguments):
    with pytest.raises(SystemExit) as ended:
        diversity(*arguments)
    assert ended.value.code == 2


def test_the_comparison_as_values():
    comparison = compare_patterns(2, 4, (4, 4))
    rows = {row.pattern: row for row in comparison.rows}
    assert comparison.shape == (4, 4)
    assert rows["transposable"].count == 90
    assert rows["transposable"].method == "exact"
    assert rows["transposable"].paper_log10 == pytest.approx(math.log10(144))
    ragged = compare_patterns(16, 32, [64, 57]).rows[3]
    assert (ragged.method, ragged.count) == (None, None)
    assert math.isnan(ragged.log10)


@pytest.mark.parametrize(
    ("log10", "shown"),
    [
        (0, "1"),
        (math.log10(999_999), "999,999"),
        (6, "1.0000e6"),
        (9.9999999, "1.0000e10"),
        (400.5, "3.1623e400"),
    ],
)
def test_leading_digits(log10, shown):
    assert table._number(log10) == shown
