"""Two roads to a count, by quadrature and by states, and what each costs."""

import math

import pytest
from counting import A008300
from hypothesis import given
from hypothesis import strategies as st

from nmflow import mask_diversity
from nmflow.diversity import states, tile
from nmflow.diversity.quadrature import Quadrature
from nmflow.diversity.residues import find_primes


def test_the_quadrature_itself_knows_no_symmetry():
    for n, m in [(1, 2), (3, 4), (5, 8), (6, 8), (7, 8), (7, 11)]:
        assert Quadrature.exactly(m, n).count() == mask_diversity(m - n, m)


@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_partial_tiles_two_ways(rows, columns, data):
    """Quadrature and states share no code."""
    n = data.draw(st.integers(1, min(rows, columns) - 1))
    expected = states.count_at_most(rows, columns, n)
    assert Quadrature.at_most(rows, columns, n).count() == expected
    assert Quadrature.at_most(columns, rows, n).count() == expected
    assert tile.count_partial(rows, columns, n) == expected


@given(st.integers(0, 8), st.integers(0, 8))
def test_partial_tiles_between_their_ends(rows, columns):
    counts = [tile.count_partial(rows, columns, n) for n in range(9)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] == 2 ** (rows * columns)
    # n = 1: rooks that do not attack each other.
    rooks = sum(
        math.comb(rows, k) * math.comb(columns, k) * math.factorial(k)
        for k in range(min(rows, columns) + 1)
    )
    assert counts[1] == rooks


def test_large_partial_tiles():
    """Sizes at which the choice falls on the quadrature, and on the states."""
    chosen = [(15, 15, 8), (15, 13, 7), (14, 15, 13), (15, 15, 2), (30, 18, 16)]
    for rows, columns, n in chosen:
        assert tile.count_partial(rows, columns, n) == tile.count_partial(columns, rows, n)
    assert tile.count_partial(11, 10, 6) == states.count_at_most(11, 10, 6)


def test_steps_between_states_are_no_more_than_said(monkeypatch):
    taken = 0
    moves = states._moves

    def counted(*arguments):
        nonlocal taken
        for move in moves(*arguments):
            taken += 1
            yield move

    monkeypatch.setattr(states, "_moves", counted)
    for rows, columns, n in [(5, 6, 2), (7, 7, 5), (6, 9, 3), (9, 9, 1), (12, 3, 2)]:
        taken = 0
        states.count_at_most(rows, columns, n)
        assert 0 < taken <= states.work(rows, columns, n)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 8), (4, 8), (4, 9), (5, 10), (5, 12), (8, 16)])
def test_terms_are_those_of_the_sum(n, m, monkeypatch):
    """The limit is set in them."""
    from nmflow.diversity import quadrature

    expected = mask_diversity(n, m)
    visited = 0
    block = quadrature.NodeSum._block

    def counted(self, a, b, *weights):
        nonlocal visited
        visited += a.shape[0] * a.shape[1] * b.shape[2]
        return block(self, a, b, *weights)

    monkeypatch.setattr(quadrature.NodeSum, "_block", counted)
    chosen = Quadrature.exactly(m, n)
    assert chosen.count() == expected
    primes = len(find_primes(chosen.order, chosen.bound))
    said = chosen.bound.bit_length() // 24 + 1
    assert primes <= said <= primes + 1
    assert visited == chosen.terms // said * primes


@pytest.mark.parametrize(("entries", "block"), [(1, 1), (1, 1 << 17), (1 << 21, 50)])
def test_batches_and_blocks_change_nothing(entries, block, monkeypatch):
    from nmflow.diversity import quadrature

    monkeypatch.setattr(quadrature, "TABLE_ENTRIES", entries)
    monkeypatch.setattr(quadrature, "BLOCK_ENTRIES", block)
    assert Quadrature.exactly(8, 4).count() == A008300[8][4]
    assert Quadrature.at_most(5, 4, 2).count() == states.count_at_most(5, 4, 2)
