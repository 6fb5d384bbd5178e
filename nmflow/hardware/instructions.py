"""Instructions that multiply structured sparse matrices, with the public documents that say so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row of the table: what an instruction of some processors takes.

    Attributes
    ----------
    vendor, generation : str
    devices : tuple of str
        Compilation targets: ``sm_80``, ``gfx942``.
    dtypes : tuple of str
        Of the sparse matrix.
    n, m : int
        Of each ``m`` consecutive units of a row at most ``n`` may hold anything.
    width : int
        Consecutive entries of a unit: 1, or 2 where they are pairs.
    instruction : str
    source : str
        Document and section.
    """

    vendor: str
    generation: str
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    n: int
    m: int
    width: int
    instruction: str
    source: str

    @property
    def pattern(self) -> str:
        """n:m in entries, as the vendors' documents have it: ``"2:4"``, ``"pair-wise 4:8"``."""
        entries = f"{self.n * self.width}:{self.m * self.width}"
        return entries if self.width == 1 else f"pair-wise {entries}"

    @property
    def call(self) -> str:
        """What :func:`nmflow.solve` is called with for masks that serve both W and W.T."""
        unit = f", unit=({self.width}, {self.width})" if self.width > 1 else ""
        return f"solve(weights, {self.n}, {self.m}{unit})"


_PTX = "NVIDIA, PTX ISA 9.0"
_MMA = f"{_PTX}, sparse matrix storage of mma.sp"
_WGMMA = f"{_PTX}, sparse matrix storage of wgmma.mma_async.sp"
_TCGEN05 = f"{_PTX}, sparse matrices of tcgen05.mma.sp"
_ROCM = "AMD, hipSPARSELt documentation, features for the Instinct MI300 series"
_SMFMAC = f"{_ROCM}; LLVM, MLIR dialect amdgpu, sparse_mfma"

_AMPERE = ("sm_80", "sm_86", "sm_87", "sm_88", "sm_89")
_HOPPER = ("sm_90",)
_BLACKWELL = ("sm_100", "sm_103")
_RTX_BLACKWELL = ("sm_120", "sm_121")
_ADA_ON = ("sm_89", *_HOPPER, *_BLACKWELL, "sm_110", *_RTX_BLACKWELL)
_EVERY = (*_AMPERE[:-1], *_ADA_ON)
_HALF = ("float16", "bfloat16")
_INT8 = ("int8", "uint8")
_FP8 = ("float8_e4m3", "float8_e5m2")
_FP6_FP4 = ("float6_e3m2", "float6_e2m3", "float4_e2m1")
_FLOATS = _HALF + _FP8 + _FP6_FP4
# With one scale for 32 and for 16 elements.
_BLOCK_SCALED_FP4 = ("mxfp4", "nvfp4")
_CDNA = ("gfx942", "gfx950")
_CDNA_TYPES = (*_HALF, *_FP8, "int8")
_NVIDIA = "NVIDIA"

INSTRUCTIONS = (
    Instruction(_NVIDIA, "Ampere and later", _EVERY, _HALF + _INT8, 2, 4, 1, "mma.sp", _MMA),
    Instruction(_NVIDIA, "Ampere and later", _EVERY, ("tf32",), 1, 2, 1, "mma.sp", _MMA),
    Instruction(_NVIDIA, "Ampere, Ada", _AMPERE, ("int4", "uint4"), 2, 4, 2, "mma.sp", _MMA),
    Instruction(_NVIDIA, "Ada and later", _ADA_ON, _FP8, 2, 4, 1, "mma.sp", _MMA),
    Instruction(
        _NVIDIA, "Hopper", _HOPPER, _HALF + _FP8 + _INT8, 2, 4, 1, "wgmma.mma_async.sp", _WGMMA
    ),
    Instruction(_NVIDIA, "Hopper", _HOPPER, ("tf32",), 1, 2, 1, "wgmma.mma_async.sp", _WGMMA),
    Instruction(_NVIDIA, "Blackwell", _BLACKWELL, _FLOATS, 2, 4, 1, "tcgen05.mma.sp", _TCGEN05),
    Instruction(_NVIDIA, "Blackwell", _BLACKWELL, ("tf32",), 1, 2, 1, "tcgen05.mma.sp", _TCGEN05),
    Instruction(
        _NVIDIA, "Blackwell", _BLACKWELL, _BLOCK_SCALED_FP4, 2, 4, 2, "tcgen05.mma.sp", _TCGEN05
    ),
    Instruction(_NVIDIA, "RTX Blackwell", _RTX_BLACKWELL, _FP6_FP4, 2, 4, 1, "mma.sp", _MMA),
    Instruction(
        _NVIDIA, "RTX Blackwell", _RTX_BLACKWELL, _BLOCK_SCALED_FP4, 2, 4, 2, "mma.sp", _MMA
    ),
    Instruction("AMD", "CDNA 3, CDNA 4", _CDNA, _CDNA_TYPES, 2, 4, 1, "v_smfmac", _SMFMAC),
)
"""All that is known here. AMD writes 4:2 for what is 2:4 here."""
