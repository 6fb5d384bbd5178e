"""Whether all floats of an array are finite, from their bits."""

from __future__ import annotations

from nmflow.kernels.jit import compile_kernel


@compile_kernel
def largest_magnitude(bits, magnitude):
    """The largest of ``bits[k] & magnitude``: of floats as integers, all but the sign."""
    largest = bits[0] & magnitude
    for k in range(bits.size):
        largest = max(largest, bits[k] & magnitude)
    return largest
