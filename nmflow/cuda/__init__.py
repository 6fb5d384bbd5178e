"""The exact method as CUDA kernels, compiled by NVRTC when they are first needed.

Read ``solve.cu`` first, which says what the three kernels do, then :mod:`launch`. :mod:`source`
puts the text for one n:m together, :mod:`problem` is what a kernel is called with. Nothing here is
needed, or imported, on a machine without CUDA.
"""
