"""Figures of GPUs that the static model counts with, from NVIDIA's documents."""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """A GPU.

    Attributes
    ----------
    architecture : what ptxas calls it
    processors : streaming multiprocessors
    gigahertz : the clock under load, between base and boost
    bandwidth : bytes a second of its memory, from the data sheet
    registers, warps, shared_memory : of a multiprocessor: 32-bit registers, resident warps, bytes
    """

    architecture: str
    processors: int
    gigahertz: float
    bandwidth: float
    registers: int = 65536
    warps: int = 64
    shared_memory: int = 164 << 10


DEVICES = {
    "A100 SXM 80 GB": Device("sm_80", 108, 1.41, 2.039e12),
    "H100 SXM": Device("sm_90", 132, 1.755, 3.35e12, shared_memory=228 << 10),
    "H200 SXM": Device("sm_90", 132, 1.755, 4.8e12, shared_memory=228 << 10),
    "B200": Device("sm_100", 148, 1.85, 7.7e12, shared_memory=228 << 10),
}

PIPES = {
    "ALU": 64,
    "FMA": 64,
    "XU": 16,
    "memory": 32,
    "control": 128,
}
"""Lanes a clock of a multiprocessor for each class of instructions.

CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions": 32-bit integer add,
logic, shift, compare, minimum, maximum 64; multiply-add 64; population count, leading zeros, most
conversions 16; warp shuffle 32. The 16-bit DPX instructions of 9.0 are listed at 128: they are
counted at 64 here. The figures are from memory of that table and were not held against it. All
together at most 128, four warps a clock, which is what control costs."""

_FMA = ("IMAD", "FFMA", "FMUL", "FADD", "HFMA2", "HADD2", "UIMAD")
_XU = ("POPC", "FLO", "MUFU", "I2F", "F2I", "I2I", "F2F", "BREV", "I2FP", "F2IP")
_MEMORY = (
    "LDG",
    "STG",
    "LDS",
    "STS",
    "LDL",
    "STL",
    "SHFL",
    "ATOM",
    "RED",
    "LD",
    "ST",
    "LDC",
    "S2R",
)
_CONTROL = (
    *("BRA", "EXIT", "BSSY", "BSYNC", "NOP", "CALL", "RET", "WARPSYNC", "BAR", "DEPBAR", "YIELD"),
    *("BREAK", "ENDCOLLECTIVE", "NANOSLEEP", "JMP", "BRX", "ULDC", "CS2R", "R2UR", "S2UR", "VOTEU"),
    *("UMOV", "ULOP3", "UIADD3", "USHF", "UISETP", "UPOPC", "UFLO", "USEL", "ULEA", "UPRMT", "R2B"),
)


def pipe(opcode: str) -> str:
    """The class of an instruction by the first part of its name."""
    name = opcode.split(".", maxsplit=1)[0]
    for kind, names in (("FMA", _FMA), ("XU", _XU), ("control", _CONTROL)):
        if name in names:
            return kind
    return "memory" if name.startswith(_MEMORY) else "ALU"
