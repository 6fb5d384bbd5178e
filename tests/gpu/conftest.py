"""Kernels that run in host memory, where there is a C++ compiler."""

import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


class HostKernels:
    """What a GPU would be to the kernels' callers.

    Attributes
    ----------
    compiled : list
        What kernels were asked for, in order.
    launches : list of (tuple of str, int)
        Kernels and matrices of each launch.
    refused : set of (int, int)
        Rows and columns of matrices that kernels are not asked to solve.
    """

    def __init__(self):
        self.compiled = []
        self.launches = []
        self.refused = set()


@pytest.fixture
def on_the_host(monkeypatch):
    """Tensors of the CPU taken for a GPU's, and kernels that run there."""
    pytest.importorskip("torch")
    from benchmarks.gpu import host_kernels
    from nmflow.cuda import launch
    from nmflow.device import kernels

    if host_kernels.compiler() is None:
        pytest.skip("no C++ compiler")
    host = HostKernels()

    def compiled(n, m, dtype, signed, warm, device):
        host.compiled.append((n, m, dtype, signed, warm))
        return launch.Kernels(host_kernels.library(n, m, dtype, signed, warm), host_kernels.BLOCKS)

    def run(found, names, stream, table):
        assert stream == 77
        host.launches.append((names, table.count))
        host_kernels.launch(found.each, names, table)

    monkeypatch.setattr(
        kernels, "on_cuda", lambda tensor: tuple(tensor.shape[-2:]) not in host.refused
    )
    monkeypatch.setattr(kernels, "stream_of", lambda device: contextlib.nullcontext(77))
    monkeypatch.setattr(launch, "kernels", compiled)
    monkeypatch.setattr(launch, "launch", run)
    return host
