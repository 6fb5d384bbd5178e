"""The benchmark measures what it says: peers find optima, losses are losses, rounds are rounds."""

import sys
from pathlib import Path

import numpy as np
import pytest

import nmflow

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import problems, tiles, timing
from benchmarks.peers import PEERS
from benchmarks.quality import quality


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (4, 8)])
# What peers warn of, or their dependencies, is not this project's to mend.
@pytest.mark.filterwarnings("ignore")
def test_peers_find_the_optimum(name, n, m, rng):
    peer = PEERS[name]
    if not peer.installed or m > peer.largest:
        pytest.skip("not installed, or too large a tile")
    weights = rng.standard_normal((m, 20 * m))
    tiles = problems.tiles_of(weights, m)
    optima = problems.tiles_of(nmflow.solve(weights, n, m), m)
    assert np.array_equal(peer.solve(np.abs(tiles), n), optima)


def test_tiles_and_matrices():
    matrix = np.arange(8 * 16).reshape(8, 16)
    tiles = problems.tiles_of(matrix, 4)
    assert np.array_equal(tiles[5], matrix[4:, 4:8])
    assert np.array_equal(problems.tiles_of(problems.matrix_of(tiles), 4), tiles)
    some = problems.some_of(np.repeat(tiles, 10, axis=0), 16 * 16)
    assert np.array_equal(some[::2], tiles)


def test_quality():
    scores = np.array([[[4.0, 1.0], [1.0, 4.0]]] * 4)
    optima = np.array([np.eye(2, dtype=bool)] * 4)
    masks = optima.copy()
    masks[1] = ~masks[1]
    masks[2, 0] = False
    found = quality(scores, masks, optima, 1)
    assert found == {"mean_loss": 0.3125, "worst_loss": 0.75, "optimal": 0.5, "not_full": 0.25}


def test_quality_tells_what_rounding_hides():
    scores = np.array([[[1.0, 2.0**-60], [0.0, 1.0]]])
    better = quality(scores, ~np.eye(2, dtype=bool)[None], np.eye(2, dtype=bool)[None], 1)
    assert better["optimal"] == 0
    with pytest.raises(RuntimeError, match="better"):
        quality(scores, np.eye(2, dtype=bool)[None], ~np.eye(2, dtype=bool)[None], 1)


def test_rounds_take_turns():
    order = []
    now = [0.0]

    def call(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds

        return run

    calls = {"base": call("base", 2.0), "one": call("one", 1.0), "two": call("two", 3.0)}
    times = timing.interleaved(calls, "base", 2, clock=lambda: now[0])
    assert order == ["base", "base", "one", "base", "two"] * 2
    assert times["base"] == ([2.0] * 6, [])
    assert times["two"] == ([3.0] * 2, [1.5] * 2)
    assert timing.spread([3.0, 1.0, 2.0], 10) == {"median": 20, "min": 10, "max": 30}


def test_slow_calls_sit_out():
    calls = {"base": lambda: None, "call": lambda: None}
    times = timing.interleaved(calls, "base", 9, allowance=0, fewest=4)
    assert len(times["call"].seconds) == 4


@pytest.fixture
def small_field(monkeypatch):
    """Contests of nmflow's own methods on few weights."""
    monkeypatch.setattr(tiles, "WEIGHTS", {"few": lambda: problems.gaussian(32, 32)})
    monkeypatch.setattr(tiles, "PEERS", {})
    monkeypatch.setattr(tiles, "SAMPLES", {"lp": 32})


def test_passes_add_up(small_field):
    contest = tiles.Contest("few", 2, 4)
    contest.play(2, allowance=float("inf"))
    contest.play(3, allowance=0)
    rows = contest.rows()
    assert set(rows) == {method.name for method in nmflow.methods()}
    assert all(row["rounds"] == 2 + 1 for name, row in rows.items() if name != "flow")
    assert rows["flow"]["times_flow"] == 1
    assert rows["lp"]["tiles"] < rows["flow"]["tiles"] == rows["greedy"]["tiles"] == 64


def test_a_contest_without_proof_is_called_off(small_field, monkeypatch):
    monkeypatch.setattr(tiles, "quality", lambda *_: {"optimal": 0.5})
    with pytest.raises(RuntimeError, match="not exact at 2:4 on few"):
        tiles.Contest("few", 2, 4)
