"""How many bits scores, tables and their sums take, so that 64-bit integers never overflow."""

from __future__ import annotations

from nmflow.problem.ties import TABLE_BITS


def score_bits(rows: int, columns: int) -> int:
    """Bits, less the sign, that scores may have so that nothing in the kernel leaves 64 bits.

    In units of the largest score: the start's potentials are at most 4, and each step of the
    ascent adds at most 1, so at most 32 after 10 rounds. A path's length telescopes to at most
    2 m for its scores and 2 * 32 for the potentials of its ends, one of which no augmentation
    moved; so potentials stay below 4 m + 64 and reduced costs below 8 m + 129. Twice more is
    'infinity' (2**61), twice that a forbidden arc.
    """
    return 60 - (8 * max(rows, columns) + 129).bit_length()


def margin_bits(rows: int, columns: int) -> int:
    """Zero bits below the tie tables: sums differ by more units than m + 1 or not at all."""
    return (max(rows, columns) + 1).bit_length()


def table_width(rows: int, columns: int) -> int:
    """Bits of the sum of one table over any part of a tile's cycle."""
    return TABLE_BITS + max(rows, columns).bit_length()
