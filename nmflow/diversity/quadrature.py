"""Counting 0/1 matrices by a quadrature over roots of unity, modulo primes.

The r x c matrices with n ones in each row, sorted by their column sums a, have the generating
function e_n(x_1 ... x_c)**r = sum_a (number of matrices) x**a, with e_n the elementary symmetric
polynomial. To count those whose column sums lie in a set K, apply to each variable the linear
functional f that takes x**k to 1 for k in K and to 0 for the other k up to r. Written with the
L-th roots of unity w**j as nodes,

    f(p) = sum_j q_j p(w**j),   q_j = 1/L sum_(k in K) w**(-j k),

it turns the count into a sum over the nodes that the c variables take. The summand is symmetric,
so only the multiplicities k_j of the nodes matter:

    count = sum over k_0 + k_1 + ... = c of  c!/prod k_j!  prod q_j**k_j  e_n(k)**r,

with C(c + N - 1, N - 1) terms for N nodes. Few nodes do:

- Exactly n ones in each column of an m x m tile: any L > n. Column sums that are too large need not
  be told from n, because as the sums total n m another would be too small. The summand does not
  change when all variables are multiplied by w, which adds m to sum j k_j modulo L, so only
  gcd(m, L) of those L classes have to be visited; L = n + 1 or the next few are best.
- At most n ones in each row and column (e_0 + ... + e_n for e_n, K = 0 ... n): any L > r, and q_j
  is zero where L divides j (n + 1), j > 0. L = 2 n + 2 serves r <= 2 n + 1 with n + 2 nodes.

The nodes are split into two groups with a table of multiplicities each, of which e_n takes the
coefficients of prod (1 + x t)**k_j: e_n of a union is a scalar product, and so the values for all
pairs are a matrix product. The idea of evaluating at roots of unity instead of expanding is McKay's
("Applications of a technique for labelled enumeration", Congressus Numerantium 40, 1983).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmflow.diversity.residues import Floats, Residues, combine, find_primes, root_of_unity

# Residues in a table of one group, all primes together: what one batch of primes may take.
TABLE_ENTRIES = 1 << 21
# Values of a block, all primes together: few enough to stay in a cache.
BLOCK_ENTRIES = 1 << 17


@dataclass(frozen=True)
class Quadrature:
    """The number of ``rows`` x ``columns`` matrices, and the work to find it.

    Attributes
    ----------
    rows, columns, n : int
    exact : bool
        Whether every row and column holds exactly n (square tiles alone), or at most n.
    order : int
        L, the order of the roots of unity.
    nodes : tuple of int
        The powers of the root that have a weight.
    """

    rows: int
    columns: int
    n: int
    exact: bool
    order: int
    nodes: tuple[int, ...]

    @classmethod
    def exactly(cls, m: int, n: int) -> Quadrature:
        """Matrices of m x m with n ones in each row and column, 1 <= n < m."""
        sums = (cls(m, m, n, True, L, tuple(range(L))) for L in range(n + 1, n + 4))
        return min(sums, key=lambda candidate: candidate.terms)

    @classmethod
    def at_most(cls, rows: int, columns: int, n: int) -> Quadrature:
        """Matrices with at most n ones in each row and column, 1 <= n < rows."""
        order = min(range(rows + 1, 2 * rows + 3), key=lambda order: order - math.gcd(order, n + 1))
        nodes = (j for j in range(order) if j == 0 or j * (n + 1) % order)
        return cls(rows, columns, n, False, order, tuple(nodes))

    @property
    def bound(self) -> int:
        """No less than the count: the rows or the columns alone."""
        if self.exact:
            # The last row follows from the others.
            return int(math.comb(self.rows, self.n) ** (self.rows - 1))
        by_rows = int(at_most_of(self.columns, self.n) ** self.rows)
        return min(by_rows, int(at_most_of(self.rows, self.n) ** self.columns))

    @property
    def terms(self) -> int:
        """Terms of the sum, times the number of primes: what the time is proportional to."""
        visited = math.comb(self.columns + len(self.nodes) - 1, len(self.nodes) - 1)
        if self.exact:
            visited = visited * math.gcd(self.columns, self.order) // self.order
        return visited * (self.bound.bit_length() // 24 + 1)

    def count(self) -> int:
        """The count, exact; see :attr:`terms` for the time, O(sqrt(terms)) memory."""
        primes = find_primes(self.order, self.bound)
        half = max(len(self.nodes) // 2, 1)
        largest = math.comb(self.columns + half, half) * (self.n + 1)
        batch = max(TABLE_ENTRIES // largest, 1)
        residues: list[int] = []
        for first in range(0, len(primes), batch):
            residues += NodeSum(self, Residues(primes[first : first + batch]), self.n).run()
        return combine(primes, residues)


def at_most_of(length: int, n: int) -> int:
    """How many subsets of ``length`` things hold at most n."""
    return sum(math.comb(length, k) for k in range(min(length, n) + 1))


@dataclass(frozen=True, slots=True)
class Table:
    """All ways to give ``size`` variables to some nodes.

    Attributes
    ----------
    coefficients : ndarray, shape (primes, ways, degree + 1)
        Of prod (1 + x t)**k_j.
    weights : ndarray, shape (primes, ways)
        prod q_j**k_j / k_j!.
    classes : ndarray of int, shape (ways,)
        sum j k_j modulo the number of classes.
    """

    coefficients: Floats
    weights: Floats
    classes: NDArray[np.int64]

    def sorted(self, count: int) -> tuple[Table, NDArray[np.intp]]:
        """The same with equal classes side by side, and where each of ``count`` begins."""
        if count == 1:
            return self, np.array([0, len(self.classes)], np.intp)
        order = np.argsort(self.classes, kind="stable")
        classes = self.classes[order]
        table = Table(self.coefficients[:, order], self.weights[:, order], classes)
        return table, np.searchsorted(classes, np.arange(count + 1))


class NodeSum:
    """The sum of one quadrature modulo one batch of primes.

    ``degree``: of the elementary symmetric polynomials that tables go up to.
    """

    def __init__(self, quadrature: Quadrature, residues: Residues, degree: int) -> None:
        self.q = quadrature
        self.residues = residues
        self.degree = degree
        # Where columns may hold fewer the summand has no symmetry: all terms are one class.
        self.classes = quadrature.order if quadrature.exact else 1
        self.visited = math.gcd(quadrature.columns, quadrature.order) if quadrature.exact else 1
        primes = residues.primes
        roots = [root_of_unity(quadrature.order, p) for p in primes]
        kept = [quadrature.n] if quadrature.exact else range(quadrature.n + 1)
        self._points = [
            [pow(w, j, p) for j in quadrature.nodes] for w, p in zip(roots, primes, strict=True)
        ]
        self._weights = [
            [sum(pow(w, -j * k, p) for k in kept) * pow(quadrature.order, -1, p) % p
             for j in quadrature.nodes]
            for w, p in zip(roots, primes, strict=True)
        ]  # fmt: skip

    def run(self) -> list[int]:
        """The count modulo each prime."""
        columns = self.q.columns
        half = len(self.q.nodes) // 2
        left = [table.sorted(self.classes) for table in self.tables(range(half))]
        totals = np.zeros(len(self.residues.primes))
        for size, table in enumerate(self.tables(range(half, len(self.q.nodes)))):
            self._add_products(totals, left[columns - size], table.sorted(self.classes))
        factor = math.factorial(columns) * self.classes // self.visited
        return [
            int(total) * factor % p for total, p in zip(totals, self.residues.primes, strict=True)
        ]

    def tables(self, nodes: range) -> Iterator[Table]:
        """Tables of some nodes for 0, 1, ... variables; only the last of each stays in memory."""
        tables = self._no_nodes()
        for node in nodes:
            tables = self._with_node(tables, node)
        return tables

    def _no_nodes(self) -> Iterator[Table]:
        primes = len(self.residues.primes)
        for ways in [1] + [0] * self.q.columns:
            coefficients = np.zeros((primes, ways, self.degree + 1))
            coefficients[:, :, 0] = 1
            yield Table(coefficients, np.ones((primes, ways)), np.zeros(ways, np.int64))

    def _with_node(self, tables: Iterator[Table], node: int) -> Iterator[Table]:
        """Either none of the variables takes the node, or one does and the others as before."""
        residues, primes = self.residues, self.residues.primes
        point = residues.centred([[row[node]] for row in self._points])[:, :, None]
        # How often the node was taken: the k-th time divides the weight by k.
        times = np.zeros(1, np.int64)
        shares = residues.centred(
            [[row[node] * pow(k, -1, p) for k in range(1, self.q.columns + 1)]
             for row, p in zip(self._weights, primes, strict=True)]
        )  # fmt: skip
        last = next(tables)
        yield last
        for without in tables:
            grown = last.coefficients.copy()
            grown[:, :, 1:] += residues.reduce(last.coefficients[:, :, :-1] * point)
            weights = residues.reduce(last.weights * shares[:, times])
            classes = (last.classes + self.q.nodes[node]) % self.classes
            times = np.concatenate([np.zeros(len(without.classes), np.int64), times + 1])
            last = Table(
                np.concatenate([without.coefficients, residues.reduce(grown)], 1),
                np.concatenate([without.weights, weights], 1),
                np.concatenate([without.classes, classes]),
            )
            yield last

    def _add_products(
        self,
        totals: Floats,
        left: tuple[Table, NDArray[np.intp]],
        right: tuple[Table, NDArray[np.intp]],
    ) -> None:
        """Add the terms of one size of either group."""
        (ours, our_starts), (others, other_starts) = left, right
        coefficients = others.coefficients
        if not self.q.exact:
            coefficients = self.residues.reduce(np.cumsum(coefficients, axis=2))
        # Coefficient n of a product: k of one factor with n - k of the other, or with all up to it.
        flipped = np.ascontiguousarray(coefficients[:, :, ::-1].transpose(0, 2, 1))
        side = max(math.isqrt(BLOCK_ENTRIES // len(totals)), 1)
        for first in range(self.classes):
            for target in range(self.visited):
                second = (target - first) % self.classes
                for rows in chunks(our_starts[first], our_starts[first + 1], side):
                    for columns in chunks(other_starts[second], other_starts[second + 1], side):
                        totals += self._block(
                            ours.coefficients[:, rows],
                            flipped[:, :, columns],
                            ours.weights[:, rows],
                            others.weights[:, columns],
                        )
            self.residues.reduce(totals)

    def _block(self, a: Floats, b: Floats, a_weights: Floats, b_weights: Floats) -> Floats:
        """sum_ij (weight of i) (weight of j) ((a b)_ij)**rows, modulo each prime."""
        residues = self.residues
        values = residues.power(residues.reduce(a @ b), self.q.rows)
        # In halves of 12 bits the weights leave room to add up a row before reducing.
        high = np.rint(b_weights / 4096)
        sums = residues.reduce(values @ np.stack([high, b_weights - 4096 * high], -1))
        terms = residues.reduce(4096 * sums[:, :, 0] + sums[:, :, 1]) * a_weights
        total: Floats = residues.reduce(terms).sum(axis=1)
        return total


def chunks(start: int, stop: int, step: int) -> Iterator[slice]:
    """What lies from ``start`` to ``stop``, so much at a time."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
