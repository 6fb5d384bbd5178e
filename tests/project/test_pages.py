"""README and guide say what is so: their tables are the committed results, their links lead on."""

import re
import sys
from pathlib import Path

import pytest

import nmflow

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import pages, picture, tables  # noqa: E402
from benchmarks.conversion import tables as conversion_tables  # noqa: E402
from benchmarks.training import tables as training_tables  # noqa: E402

PAGES = pages.read()
TEXT = "\n".join(PAGES.values())
REPORT = pages.report()
TRAINING = pages.report("training")


def test_tables_are_the_committed_results():
    assert pages.filled(PAGES) == PAGES, "run python -m benchmarks.pages"


def test_each_figure_has_one_place():
    with pytest.raises(ValueError, match="0 places for 'methods'"):
        pages.filled({pages.ROOT / "README.md": ""})
    with pytest.raises(ValueError, match="2 places for 'methods'"):
        pages.filled(PAGES | {pages.ROOT / "copy.md": TEXT})


def test_picture_shows_the_committed_results():
    assert picture.stamp(REPORT) in pages.PICTURE.read_text(), "run python -m benchmarks.pages"


def test_picture_is_drawn_from_results_alone(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        picture.save(REPORT, tmp_path / name)
    drawing = (tmp_path / "one.svg").read_text()
    assert drawing == (tmp_path / "two.svg").read_text()
    assert picture.stamp(REPORT) in drawing


def test_table_is_the_committed_results():
    assert (pages.RESULTS / "solvers.txt").read_text() == tables.text(REPORT) + "\n"
    expected = training_tables.text(TRAINING) + "\n"
    assert (pages.RESULTS / "training.txt").read_text() == expected


@pytest.mark.parametrize("task", TRAINING["tasks"])
def test_exact_masks_of_all_runs_are_certified(task):
    """The sentence below the table of training runs."""
    runs = TRAINING["tasks"][task]["runs"].values()
    exact = [run for run in runs if run["method"] == "flow" and run["m"]]
    assert len(exact) >= 6
    for run in exact:
        for certificate in run["certificates"]:
            assert certificate["layers"] == run["layers"]
            assert certificate["largest_gap"] == 0
            assert certificate["optimal"]


def test_exact_costs_less_than_any_approximation():
    """The sentence above the picture."""
    for points in picture.drawn(REPORT).values():
        assert min(points, key=lambda name: points[name][0]) == "flow"


def test_masks_of_every_step_end_within_the_dense_spread():
    """The sentences on what late masks cost."""
    for task in TRAINING["tasks"].values():
        for pattern in ("2:4", "4:8", "8:16"):
            assert task["runs"][f"{pattern} STE, every step"]["within_dense"]
    digits, stdlib = (TRAINING["tasks"][name] for name in ("digits", "stdlib"))
    behind = {
        name
        for name in ("2:4 STE", "4:8 STE", "8:16 STE")
        for task in (digits, stdlib)
        if not task["runs"][name]["within_dense"]
    }
    assert behind == {"4:8 STE", "8:16 STE"}
    for name in behind:
        assert round(stdlib["runs"][name]["beyond_dense"], 2) == 0.04
    assert round(797 * digits["runs"]["4:8 STE"]["beyond_dense"]) == -4
    assert digits["runs"]["8:16 STE"]["within_dense"]


def conversion(title, n, m, pattern="transposable"):
    """A row of the committed results."""
    found = pages.report("conversion")["fidelity"]
    wanted = (title, n, m, pattern)
    (row,) = (r for r in found if (r["title"], r["n"], r["m"], r["pattern"]) == wanted)
    return row


def test_conversions_are_the_committed_results():
    report = pages.report("conversion")
    text = conversion_tables.text(report) + "\n"
    assert (pages.RESULTS / "conversion.txt").read_text() == text
    assert all(row["gap"] == 0 for row in report["fidelity"])


def test_the_default_is_the_best_way_everywhere():
    rows = pages.report("conversion")["fidelity"]
    for n, m, pattern in {(row["n"], row["m"], row["pattern"]) for row in rows}:
        here = {
            row["title"]: row["cosine"]
            for row in rows
            if (row["n"], row["m"], row["pattern"]) == (n, m, pattern)
        }
        assert max(here, key=lambda title: here[title]) == "ALPS, dense aims (the default)"


def test_what_is_said_of_conversions():
    """The sentences below the table."""
    report = pages.report("conversion")
    few = {row["title"]: row["cosine"] for row in report["samples"] if row["samples"] == 16}
    assert round(few["ALPS"], 2) == 0.82
    assert round(few["ALPS, dense aims (the default)"], 2) == 0.81
    wanda = {
        (row["shape"][0], row["reconstruction"]): row
        for row in report["layers"]
        if row["method"] == "wanda"
    }
    sizes = [size for size, how in wanda if how == "adam"]
    assert len(sizes) == 2
    for size in sizes:
        slow, fast = wanda[size, "adam"], wanda[size, "least-squares"]
        assert fast["seconds"] < slow["seconds"] / 15
        assert fast["error"] < slow["error"]
    assert round(report["large"]["times_weights"], 2) == 2.96
    assert round(report["large"]["parameters"] / 1e6) == 102
    assert report["done"] == report["of"]
    assert f"all {report['of']} conversions anew" in " ".join(TEXT.split())


def test_every_method_is_listed():
    for method in nmflow.methods():
        kind = "exact" if method.exact else "approximate"
        assert re.search(rf"\| `{method.name}`( \(default\))? \| {kind} \|", TEXT), method.name


def headings(text):
    """What headings of a page are called in links."""
    found = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link, heading in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[page]):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        assert not heading or heading in headings(PAGES[target]), (link, heading)


def test_readme_leads_to_every_page_of_the_guide():
    readme = PAGES[ROOT / "README.md"]
    assert all(f"](docs/guide/{page.name}" in readme for page in PAGES if page.name != "README.md")
