"""``nmflow report``: one page, complete in itself, that a browser shows without a complaint."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("rich")
from safetensors.numpy import load_file, save_file

import nmflow
from nmflow import cli
from nmflow.checkpoint.page.figures import share_range, ticks
from nmflow.checkpoint.page.markup import count, duration, gap_of
from nmflow.checkpoint.page.page import report_page
from nmflow.checkpoint.page.view import View

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
VOID = {"meta", "link", "line", "rect", "polyline", "input", "wbr"}
HOSTILE = 'a.0.</script><script>alert("x")</script><img src=http://example.org/x>.weight'


@pytest.fixture
def saved(prune, tmp_path):
    path = tmp_path / "pruned.json"
    assert prune("--quiet", "--json", path)[0] == 0
    return path


@pytest.fixture
def report(capsys, tmp_path):
    """Run ``nmflow report``; return exit code, the page, standard error."""

    def run(*arguments):
        page = tmp_path / "page.html"
        code = cli.main(["report", *map(str, arguments), "-o", str(page), "--force"])
        return code, page.read_text() if page.exists() else "", capsys.readouterr().err

    return run


class Parts(HTMLParser):
    """Elements, what they say, and whether each that is opened is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.links, self.said = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.said.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.said))


def test_what_a_page_says(report, saved, model, target):
    code, page, err = report(saved)
    assert (code, err) == (0, "")
    parts, told = Parts(page), json.loads(saved.read_text())
    for each in told["layers"]:
        assert each["name"] in parts.text
        assert f"{100 * each['kept_share']['transposable']:.2f}" in parts.text
    assert "4:8 transposable, masks by method flow" in parts.text
    assert f"{100 * told['kept_share']['rows']:.2f}" in parts.text
    assert "Every gap is 0" in parts.text
    for words in ("Verified", "embed_tokens.weight", "embedding", str(model), str(target)):
        assert words in parts.text
    assert f"nmflow {nmflow.__version__}" in parts.text
    assert parts.tags.count("svg") > 2
    assert "Time" in parts.text


def test_nothing_is_loaded_from_anywhere(report, saved):
    _, page, _ = report(saved)
    assert Parts(page).links == ["data:,"]
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", page)
    assert "default-src 'none'" in page


def test_the_same_report_makes_the_same_page(report, saved):
    assert report(saved)[1] == report(saved)[1]


def test_two_models_are_compared(report, prune, model, target):
    assert prune("--quiet")[0] == 0
    code, page, _ = report(model, target)
    text = Parts(page).text
    assert code == 0
    assert "Every gap is 0" in text
    for words in ("unstructured", "rows", "transposable", "4:8", "Verified"):
        assert words in text
    assert "Finding the masks" not in text


def test_what_failed_stands_first(report, prune, model, target):
    assert prune("--quiet")[0] == 0
    tensors = load_file(target)
    tensors["encoder.layer.0.query.weight"][0] = 3.0
    tensors["ids"][0] = 9
    save_file(tensors, target, metadata={"format": "np"})
    code, page, _ = report(model, target)
    text = Parts(page).text
    assert code == 0
    assert "Verified" not in text
    assert "a kept weight is not the source's" in text
    assert text.index("What does not hold") < text.index("Kept score by layer")
    assert 'class="failed"' in page


def test_gaps_are_listed(report, prune, tmp_path):
    path = tmp_path / "pruned.json"
    assert prune("--quiet", "--method", "greedy-keep", "--json", path)[0] == 0
    text = Parts(report(path)[1]).text
    assert "Every gap is 0" not in text
    assert "tiles are proved optimal. The gap is" in text
    assert re.search(r"Certified gap\d\.\de-0\d", text)


def test_names_are_text_and_nothing_else(report, saved):
    told = json.loads(saved.read_text())
    told["layers"][0]["name"] = told["skipped"][0]["name"] = told["target"] = HOSTILE
    told["method"] = told["skipped"][0]["reason"] = "<b>bold</b>"
    saved.write_text(json.dumps(told))
    parts = Parts(report(saved)[1])
    assert HOSTILE in parts.text
    assert "<b>bold</b>" in parts.text
    assert parts.tags.count("script") == 1
    assert "img" not in parts.tags


def test_reports_with_less_in_them():
    """A conversion, a run without comparison, one layer, an infeasible mask, no layer at all."""
    layer = {"name": "up", "shape": [8, 8], "n": 2, "m": 4, "pattern": "rows", "kept_score": 0.7}
    skipped = layer | {"name": "head", "status": "skipped", "note": "head"}
    page = report_page(View.of({"conversion": {"layers": [layer, skipped]}}, "1"))
    assert "70.00" in page
    assert "2:4 rows" in page
    infeasible = layer | {"gap": None, "feasible": False, "tiles": 4, "optimal_tiles": 3}
    assert "infeasible" in report_page(View.of({"layers": [infeasible]}, "1"))
    bare = {"name": "up", "shape": [8, 8], "n": 2, "m": 4, "pattern": "rows"}
    for layers in ([], [bare]):
        Parts(report_page(View.of({"layers": layers}, "1")))


def test_numbers_have_their_units():
    told = {0.0: "0 s", 0.0042: "4.2 ms", 1.5: "1.5 s", 119: "119 s", 120: "2.0 min", 9000: "2.5 h"}
    assert {each: duration(each) for each in told} == told
    counts = {7: "7", 9999: "9,999", 41472: "41.5 k", 10616832: "10.6 M", 402653184000: "403 G"}
    assert {each: count(each) for each in counts} == counts
    assert [gap_of(each) for each in (None, 0.0, 5e-324, float("nan"))] == [
        *("–", "0", "4.9e-324", "infeasible"),  # noqa: RUF001
    ]


def test_axes_have_round_numbers():
    for low, high in ((0.7671, 0.8294), (0.2, 0.97), (0.5, 0.5), (0.0, 1.0), (0.61, 0.6101)):
        first, last, step = share_range([low, high])
        labels = ticks(first, last, step)
        assert first <= low + 1e-9
        assert high - 1e-9 <= last
        assert 2 <= len(labels) <= 8
        assert all(abs(each * 100 - round(each * 100)) < 1e-6 for each in labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no report that prune or convert saved"),
        ("[]", "no report"),
        ('{"layers": [{"name": 3}]}', "no report"),
        ('{"layers": [{"name": "up", "shape": [4, 4]}]}', "can't be shown (KeyError: 'pattern')"),
    ],
)
def test_what_is_no_report(report, tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_text(content)
    code, page, err = report(path)
    assert (code, page) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_too_many_files(report, saved):
    code, _, err = report(saved, saved, saved)
    assert code == 2
    assert "3 files: give a report, or a dense and a sparse model" in err


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium")
    return found


def look(browser, page, tmp_path, *options):
    """Open a page without a window; what the browser printed, and what it logged."""
    command = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", *options),
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


@pytest.mark.parametrize("width", [1200, 500])
def test_a_photograph(browser, report, saved, tmp_path, width):
    """Nothing is blank, and the pictures have the patterns' colours."""
    image = pytest.importorskip("matplotlib.image")
    report(saved)
    picture = tmp_path / "page.png"
    window = f"--window-size={width},2400"
    look(browser, tmp_path / "page.html", tmp_path, f"--screenshot={picture}", window)
    pixels = (image.imread(picture)[..., :3] * 255).round().astype(int)
    assert pixels.shape[0] > 2000
    assert pixels.shape[1] == width
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    for part in np.array_split(pixels, 12):
        assert part.std() > 1, "a blank stretch"
    for colour in ((0x00, 0x72, 0xB2), (0xC7, 0x77, 0x00), (0x00, 0x80, 0x5E)):
        assert (pixels == colour).all(axis=2).sum() > 50


_PROBE = """
<script>
const column = [...document.querySelectorAll("thead th")].findIndex(
  (head) => head.textContent === "transposable");
const button = document.querySelectorAll("thead button")[column];
const read = () => [...document.querySelectorAll("tbody tr")].map(
  (row) => row.cells[column].textContent);
const found = {before: read()};
button.click();
found.up = read();
button.click();
found.down = read();
found.sorted = button.parentElement.getAttribute("aria-sort");
const filter = document.querySelector("#filter");
filter.value = "LAYER.1";
filter.dispatchEvent(new Event("input"));
found.shown = document.querySelector("#shown").textContent;
found.wide = document.documentElement.scrollWidth - window.innerWidth;
document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
</script>
"""


def test_the_table_is_sorted_and_filtered(browser, report, saved, tmp_path):
    _, page, _ = report(saved)
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", f"{_PROBE}</body>"))
    shown = look(browser, probed, tmp_path, "--dump-dom", "--window-size=500,900")
    found = json.loads(re.search(r"FOUND(.*)END", shown)[1])
    assert sorted(map(float, found["before"])) == list(map(float, found["up"]))
    assert found["down"] == found["up"][::-1]
    assert found["sorted"] == "descending"
    assert found["shown"] == "2 of 3 layers"
    assert found["wide"] <= 0, "the page itself never scrolls sideways"
