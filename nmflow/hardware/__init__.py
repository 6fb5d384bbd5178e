"""What sparse hardware takes natively, and 2:4 masks packed as it reads them.

:func:`table` lists the instructions that multiply structured sparse matrices, by dtype and
generation, each with the public document that says so; :func:`native` those that take masks of one
n:m. :func:`pack_2_4` makes values and metadata of weights and a 2:4 mask, bit for bit as PyTorch
does, and :func:`unpack_2_4` weights of those. Nothing but numpy is needed.

>>> import nmflow.hardware
>>> [row.instruction for row in nmflow.hardware.native(2, 4, unit=(1, 2), dtype="nvfp4")]
['tcgen05.mma.sp', 'mma.sp']
>>> nmflow.hardware.native(4, 8)
()
"""

from nmflow.hardware.instructions import Instruction
from nmflow.hardware.native import native, table
from nmflow.hardware.packing import Packed, pack_2_4, unpack_2_4

__all__ = ["Instruction", "Packed", "native", "pack_2_4", "table", "unpack_2_4"]
