"""Counting the tiles that hold *at most* n, by their number of ones, by one quadrature.

A row and a column of slack make at most n exactly n: if column j lacks s_j ones, its sum and s_j
total n, and the s_j total m n - k where k ones are placed. All ways to spread a slack of t over
the columns are h_t, the complete symmetric polynomial. So

    N_k = [x_1**n ... x_m**n]  [z**k] (1 + z e_1 + ... + z**n e_n)**m  h_(m n - k)(x_1 ... x_m),

every term of degree m n in x, as in :mod:`quadrature <nmflow.diversity.quadrature>` for exactly n:
the same few nodes serve, with the same symmetry. The power of z is read off by a discrete Fourier
transform of order m n + 1, after the sum over the nodes, where it is one matrix product.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmflow.diversity.quadrature import NodeSum, Quadrature, Table, at_most_of, chunks
from nmflow.diversity.residues import Floats, Residues, combine, find_primes, root_of_unity

# As for a quadrature without grades.
TABLE_ENTRIES = 1 << 21
BLOCK_ENTRIES = 1 << 19
# Products of residues that may be summed before they are reduced.
_SUMMED = 31


@dataclass(frozen=True)
class GradedQuadrature:
    """N_0 ... N_(m n): the m x m tiles with at most n in each row and column, by their ones.

    Attributes
    ----------
    m, n : int
        1 <= n < m.
    """

    m: int
    n: int

    @property
    def grades(self) -> int:
        """How many numbers of ones there are."""
        return self.m * self.n + 1

    @property
    def bound(self) -> int:
        """No less than any of the counts: the rows alone."""
        return int(at_most_of(self.m, self.n) ** self.m)

    @property
    def terms(self) -> int:
        """Terms of the sum, times grades and primes: what the time is proportional to."""
        quadrature = Quadrature.exactly(self.m, self.n)
        nodes = len(quadrature.nodes)
        visited = math.comb(self.m + nodes - 1, nodes - 1) * math.gcd(self.m, quadrature.order)
        primes = self.bound.bit_length() // 24 + 1
        return visited // quadrature.order * primes * self.grades

    def count(self) -> list[int]:
        """The counts, exact."""
        quadrature = Quadrature.exactly(self.m, self.n)
        primes = find_primes(math.lcm(quadrature.order, self.grades), self.bound)
        half = max(len(quadrature.nodes) // 2, 1)
        largest = math.comb(self.m + half, half) * (self.m + 1)
        batch = max(TABLE_ENTRIES // largest, 1)
        residues: list[list[int]] = []
        for first in range(0, len(primes), batch):
            some = Residues(primes[first : first + batch])
            residues += _GradedSum(quadrature, some, self.grades).counts()
        return [combine(primes, each) for each in zip(*residues, strict=True)]


class _GradedSum(NodeSum):
    """The sum modulo one batch of primes."""

    def __init__(self, quadrature: Quadrature, residues: Residues, grades: int) -> None:
        # The complete symmetric polynomials follow from all elementary ones.
        super().__init__(quadrature, residues, quadrature.rows)
        self.grades = grades
        self._roots = [root_of_unity(grades, p) for p in residues.primes]
        powers = [
            [pow(w, i * e, p) for i in range(quadrature.n + 1) for e in range(grades)]
            for w, p in zip(self._roots, residues.primes, strict=True)
        ]
        self._transform = residues.centred(powers).reshape(-1, quadrature.n + 1, grades)

    def counts(self) -> list[list[int]]:
        """The counts modulo each prime."""
        m, nodes = self.q.columns, len(self.q.nodes)
        left = [table.sorted(self.classes) for table in self.tables(range(nodes // 2))]
        totals = np.zeros((len(self.residues.primes), self.grades, self.grades))
        for size, table in enumerate(self.tables(range(nodes // 2, nodes))):
            self._add_pairs(totals, left[m - size], table.sorted(self.classes))
        factor = math.factorial(m) * self.classes // self.visited
        return [
            _transformed_back(total, root, factor, p)
            for total, root, p in zip(totals, self._roots, self.residues.primes, strict=True)
        ]

    def _add_pairs(self, totals: Floats, left: tuple[Table, Any], right: tuple[Table, Any]) -> None:
        (ours, our_starts), (others, other_starts) = left, right
        side = max(math.isqrt(BLOCK_ENTRIES // (len(totals) * self.grades)), 1)
        for first, target in itertools.product(range(self.classes), range(self.visited)):
            second = (target - first) % self.classes
            for rows in chunks(our_starts[first], our_starts[first + 1], side):
                for columns in chunks(other_starts[second], other_starts[second + 1], side):
                    weights = ours.weights[:, rows, None] * others.weights[:, None, columns]
                    self.residues.reduce(weights)
                    a, b = ours.coefficients[:, rows], others.coefficients[:, columns]
                    totals += self._block_sums(
                        self._joined(a, b), weights.reshape(len(weights), -1)
                    )
                    self.residues.reduce(totals)

    def _joined(self, a: Floats, b: Floats) -> Floats:
        """e_0 ... e_m of all pairs, shape (m + 1, primes, pairs)."""
        ours = np.ascontiguousarray(np.moveaxis(a, 2, 0))[:, :, :, None]
        others = np.ascontiguousarray(np.moveaxis(b, 2, 0))[::-1, :, None, :]
        joined = np.empty((self.degree + 1, len(a), a.shape[1] * b.shape[1]))
        for i in range(self.degree + 1):
            total = self._dot(ours[: i + 1], others[self.degree - i :])
            joined[i] = total.reshape(len(a), -1)
        return joined

    def _block_sums(self, elementary: Floats, weights: Floats) -> Floats:
        """For each root of unity e and grade k the sum over pairs, shape (primes, e, k)."""
        residues, last = self.residues, self.grades - 1
        picks = np.ascontiguousarray(np.moveaxis(elementary[: self.q.n + 1], 0, 2))
        rows = residues.power(residues.reduce(picks @ self._transform), self.q.rows)
        # Slack m n - k stands at k, so that the ones to sum lie side by side.
        slack = np.empty((self.grades, *weights.shape))
        slack[last] = weights
        signed = elementary[1:].copy()
        signed[1::2] *= -1
        for t in range(1, self.grades):
            known = min(t, self.degree)
            slack[last - t] = self._dot(signed[:known], slack[last - t + 1 :][:known])
        # In halves of 12 bits there is room to sum all pairs before reducing.
        slack = np.ascontiguousarray(np.moveaxis(slack, 0, 2))
        high = np.rint(slack / 4096)
        rows = rows.transpose(0, 2, 1)
        return residues.reduce(
            4096 * residues.reduce(rows @ high) + residues.reduce(rows @ (slack - 4096 * high))
        )

    def _dot(self, a: Floats, b: Floats) -> Floats:
        """The sum of products along the first axis, reduced; the primes come next."""
        total: Floats | None = None
        for first in range(0, len(a), _SUMMED):
            part = slice(first, first + _SUMMED)
            products: Floats = np.einsum("i...,i...->...", a[part], b[part])
            total = self.residues.reduce(products if total is None else products + total)
        assert total is not None
        return total


def _transformed_back(total: Floats, root: int, factor: int, p: int) -> list[int]:
    grades = len(total)
    factor = factor * pow(grades, -1, p) % p
    powers = [pow(root, -e, p) for e in range(grades)]
    return [
        sum(int(total[e, k]) * powers[e * k % grades] for e in range(grades)) * factor % p
        for k in range(grades)
    ]
