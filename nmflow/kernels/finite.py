"""Whether all floats of an array are finite, from their bits."""

from __future__ import annotations

from nmflow.kernels.jit import compile_kernel
from nmflow.simd.lanes import largest_lane, like
from nmflow.simd.vectors import load, maximum

LINE = 64


@compile_kernel(nrt=False)
def largest_magnitude(bits, magnitude):
    """The largest of ``bits[k] & magnitude``: of floats as integers, all but the sign.

    The array holds 128 bytes or more; the last two vectors may overlap those before.
    """
    lanes = LINE // bits.itemsize
    size = bits.size
    mask = like(load(bits, 0), magnitude)
    first, second = load(bits, 0) & mask, load(bits, lanes) & mask
    for k in range(0, size - 2 * lanes + 1, 2 * lanes):
        first = maximum(first, load(bits, k) & mask)
        second = maximum(second, load(bits, k + lanes) & mask)
    first = maximum(first, load(bits, size - 2 * lanes) & mask)
    second = maximum(second, load(bits, size - lanes) & mask)
    return largest_lane(maximum(first, second))
