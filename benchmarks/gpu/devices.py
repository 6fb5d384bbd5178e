"""Figures of GPUs that the static model counts with, and the documents that they were held against.

Instructions: NVIDIA, CUDA C++ Best Practices Guide 13, 12.1.1, Table 5, "Throughput of Native
Arithmetic Instructions", read in full.

Devices: NVIDIA's data sheets of A100 (SXM, 80 GB: 2,039 GB/s, 19.5 TFLOPS of float32), H100 (SXM:
3.35 TB/s, 67), H200 (SXM: 4.8 TB/s, 67) and B200 (HGX: 7.7 TB/s, 75), and the H100 white paper (132
multiprocessors, 1.98 GHz, 1.83 under tensor instructions). The sheets themselves were not at hand:
these are their figures as others quote them, of whom OpenXLA (cuda_core_info_table.cc) has clocks
and lanes. A test holds clocks to the sheets, since two operations a clock of each float32 lane make
the TFLOPS: they are the highest clocks, under which a hot GPU stays. A B200 says of itself that it
has 148 multiprocessors, 64 warps and 228 KB of shared memory each, and a bus of 7680 bits at 3.996
GHz, which makes 7.67 TB/s (pytorch/ao, pull request 4002); 8 is quoted, too.
"""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """A GPU.

    Attributes
    ----------
    architecture : what ptxas calls it
    processors : streaming multiprocessors
    gigahertz : the highest clock
    float_lanes : float32 multiply-adds a clock of a multiprocessor
    teraflops : of float32, from the data sheet
    bandwidth : bytes a second of its memory, from the data sheet
    registers, warps, shared_memory : of a multiprocessor: 32-bit registers, resident warps, bytes
    """

    architecture: str
    processors: int
    gigahertz: float
    bandwidth: float
    float_lanes: int
    teraflops: float
    registers: int = 65536
    warps: int = 64
    shared_memory: int = 164 << 10


_SHARED = 228 << 10
DEVICES = {
    "A100 SXM 80 GB": Device("sm_80", 108, 1.41, 2.039e12, 64, 19.5),
    "H100 SXM": Device("sm_90", 132, 1.98, 3.35e12, 128, 67, shared_memory=_SHARED),
    "H200 SXM": Device("sm_90", 132, 1.98, 4.8e12, 128, 67, shared_memory=_SHARED),
    "B200": Device("sm_100", 148, 1.98, 7.7e12, 128, 75, shared_memory=_SHARED),
}

PIPES = {
    "ALU": 64,
    "FMA": 64,
    "XU": 16,
    "memory": 32,
    "control": 128,
}
"""Lanes a clock of a multiprocessor for each class of instructions, on all three architectures.

Table 5 has for 8.0, 9.0 and 10.0: integer addition of three operands, shifts and logic 64; minimum
and maximum of integers 64 before 10.0, of two halves (``max.f16x2``) 64 on 8.0; DPX, also on two
16-bit numbers, 64 on 9.0; multiply-add of integers 64; leading zeros and population count 16; warp
shuffle 32; float16 to float32 64. It has more than is counted here for addition of two operands
(128, on two pipes), for minimum, maximum and DPX of two operands on 10.0 (128), for float32 from
9.0 on (128) and for votes. Memory is counted as one access of 32 lanes a clock, and all together as
four warps a clock, one for each scheduler, which is what control costs."""

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
