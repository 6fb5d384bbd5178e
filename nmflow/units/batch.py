"""A batch of matrices in units: what a solver or a certificate sees instead of the entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.arrays import HostArray, as_is, for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.workers import run_all
from nmflow.units.sums import Strip, strips, unit_sums, units_of
from nmflow.units.unit import ENTRY, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitBatch(MatrixBatch):
    """Sums of the scores of units, as a batch of matrices of their own.

    Attributes
    ----------
    entries : MatrixBatch
        What they are sums of.
    unit : tuple of int
        Rows and columns of a unit.
    threads : int
        That spread masks over the entries.
    """

    entries: MatrixBatch
    unit: Unit
    threads: int

    def restore(self, mask: NDArray[np.bool_]) -> Any:
        """The entries of a mask of units, in the shape, framework and device of the weights."""
        whole = spread_mask(mask, self.unit, self.entries.shape, self.threads)
        return self.entries.restore(whole)


def batch_in_units(batch: MatrixBatch, unit: Unit, threads: int) -> MatrixBatch:
    """The batch of sums that stands for a batch of entries; the batch itself where units are those.

    Raises
    ------
    NmflowError
        As :func:`nmflow.units.sums.unit_sums`.
    """
    if unit == ENTRY:
        return batch
    sums = unit_sums(batch, unit, threads)
    return UnitBatch(
        host=HostArray(sums, sums.dtype, False, as_is),
        matrices=sums,
        axes=(1, 2),
        # Sums of magnitudes are their own magnitudes.
        score="raw" if batch.score == "raw" else "abs",
        pattern=batch.pattern,
        entries=batch,
        unit=unit,
        threads=threads,
    )


def spread_mask(
    kept: NDArray[np.bool_], unit: Unit, shape: tuple[int, int, int], threads: int
) -> NDArray[np.bool_]:
    """The mask of entries, of that shape, that a mask of units stands for."""
    # numba takes longer to import than all of nmflow.
    from nmflow.compiling.sparing import run_sparingly
    from nmflow.units.kernels import spread

    mask = np.empty(shape, np.bool_)

    def work(strip: Strip) -> None:
        units = for_kernels(kept[units_of(strip, unit)])
        run_sparingly(spread, (units, unit, mask[strip]), mask[strip].size)

    run_all(work, strips(shape, unit[0]), threads)
    return mask
