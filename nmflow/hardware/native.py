"""Which instructions take a mask."""

from __future__ import annotations

from nmflow.errors import NmflowError
from nmflow.hardware.instructions import INSTRUCTIONS, Instruction
from nmflow.problem.pattern import Pattern, check_known
from nmflow.units.unit import as_unit


def table() -> tuple[Instruction, ...]:
    """All instructions that are known here.

    Returns
    -------
    tuple of Instruction

    Notes
    -----
    Read from the vendors' public documents, which each row names; targets of ``mma.sp`` are those
    for which ptxas of CUDA 13.0 assembles it. ``int4`` ends with Ada: later targets assemble it
    too, but what they run it on is not documented. Nobody documents 4:8, 8:16 or 16:32 of single
    entries: such masks save memory, or are run by software.
    """
    return INSTRUCTIONS


def native(
    n: int,
    m: int,
    *,
    unit: tuple[int, int] = (1, 1),
    dtype: str | None = None,
    device: str | None = None,
) -> tuple[Instruction, ...]:
    """Which instructions multiply by weights under masks of :func:`nmflow.solve`.

    Parameters
    ----------
    n, m, unit
        As for :func:`nmflow.solve`. It is asked for W times something, of which rows count. For W.T
        turn the unit round: ``unit=unit[::-1]``.
    dtype : str, optional
        One that the table has, such as ``"bfloat16"``, ``"tf32"``, ``"nvfp4"``.
    device : str, optional
        One that the table has, such as ``"sm_100"``, ``"gfx942"``. A letter behind the number, as
        in ``"sm_90a"``, makes no difference.

    Returns
    -------
    tuple of Instruction
        Those whose every group of a row holds no more than they take, whatever the mask: for 1:2
        those for 2:4 too.

    Raises
    ------
    NmflowError
        For n, m or unit that make no sense, and a dtype or device that is not in the table.

    Examples
    --------
    >>> sorted({d for row in native(2, 4, device="sm_90a") for d in row.dtypes})
    ['bfloat16', 'float16', 'float8_e4m3', 'float8_e5m2', 'int8', 'uint8']
    >>> [row.devices for row in native(1, 2, dtype="tf32", device="sm_80")][0][:2]
    ('sm_80', 'sm_86')
    """
    pattern, (_, width) = Pattern(n, m, "rows"), as_unit(unit)
    if dtype is not None:
        check_known("dtype", dtype, sorted({name for row in INSTRUCTIONS for name in row.dtypes}))
    if device is not None:
        device = _without_letter(device)
        check_known(
            "device", device, sorted({name for row in INSTRUCTIONS for name in row.devices})
        )
    return tuple(
        row
        for row in INSTRUCTIONS
        if (dtype is None or dtype in row.dtypes)
        and (device is None or device in row.devices)
        and _most_held(pattern, width, row) <= row.n
    )


def _without_letter(device: str) -> str:
    """The target without what says that code is for it alone, or for its family."""
    if not isinstance(device, str):
        raise NmflowError(f"device must be a name such as 'sm_90' or 'gfx942', got {device!r}")
    return device.rstrip("af") if device.startswith("sm_") else device


def _most_held(pattern: Pattern, width: int, row: Instruction) -> int:
    """How many of the units of an instruction's group a mask's kept units can touch at most.

    The mask's groups of m units and the instruction's begin at multiples of their lengths. Where
    neither length divides the other nothing is promised.
    """
    group, theirs = pattern.m * width, row.m * row.width
    if width % row.width and row.width % width:
        return row.m
    # What one kept unit touches.
    touched = max(1, width // row.width)
    if theirs % group == 0:
        per_group = min(pattern.n * touched, -(-group // row.width))
        return min(row.m, theirs // group * per_group)
    if group % theirs == 0:
        return min(row.m, pattern.n * touched)
    return row.m
