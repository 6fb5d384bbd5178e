"""What ``make plant`` plants is a bug of the sources as they are, and has tests that there are."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from plant_bugs import Bug, matching, node_ids_of, read_table  # noqa: E402

BUGS = read_table()


@functools.cache
def names_of_tests():
    """Files of tests, and the classes and functions in them."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.add(path.name)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
    return found


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted_and_has_tests(bug):
    assert bug.problem(ROOT) is None
    assert bug.new != bug.old
    known = names_of_tests()
    for pattern in bug.tests:
        name = pattern.partition("[")[0].rpartition("::")[2]
        means = re.compile(re.escape(name).replace(r"\*", ".*"))
        assert any(map(means.fullmatch, known)), f"no test is called {pattern}"


def test_names_tell_bugs_apart():
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert len({(bug.file, bug.old, bug.new) for bug in BUGS}) == len(BUGS)


def test_planting(tmp_path):
    source = tmp_path / "a.py"
    source.write_text("x = 1 + 1\ny = 2\n")
    bug = Bug("b", "why", "a.py", "2", "3", ("test_y",))
    assert bug.problem(tmp_path) is None
    bug.plant(tmp_path)
    assert source.read_text() == "x = 1 + 1\ny = 3\n"
    with pytest.raises(ValueError, match="holds '2' 0 times"):
        bug.plant(tmp_path)
    twice = Bug("b", "why", "a.py", "1", "3", ("test_y",))
    assert twice.problem(tmp_path) == "a.py holds '1' 2 times, not once"
    assert Bug("b", "why", "b.py", "1", "3", ()).problem(tmp_path) == "b.py is not there"


IDS = ["tests/test_a.py::test_one[2-4]", "tests/test_a.py::test_one[4-8]", "tests/test_b.py::T::m"]


@pytest.mark.parametrize(
    ("pattern", "means"),
    [
        ("test_one", ["tests/test_a.py::test_one"]),
        ("test_one[4-*", ["tests/test_a.py::test_one[4-8]"]),
        ("test_b.py", ["tests/test_b.py::T::m"]),
        ("test_a.py::test_*[2-4]", ["tests/test_a.py::test_one[2-4]"]),
        ("T", ["tests/test_b.py::T::m"]),
        ("one", []),
        ("test_on", []),
    ],
)
def test_what_a_pattern_means(pattern, means):
    assert matching(pattern, IDS) == means


def test_a_bug_without_tests_is_an_error():
    bug = Bug("b", "why", "a.py", "2", "3", ("test_one", "test_gone"))
    with pytest.raises(SystemExit, match="b: no test is called test_gone"):
        node_ids_of([bug], IDS)
