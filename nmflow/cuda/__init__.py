"""The CUDA kernels of the exact method."""
