"""Kernels compiled for an architecture: registers, spills, and instructions of each loop."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.devices import pipe

FUNCTION = re.compile(r"Function : (\w+)")
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)(.*?);")
TARGET = re.compile(r"0x([0-9a-f]+)")


class Kernel(NamedTuple):
    """What the compiler made of one kernel.

    Attributes
    ----------
    registers, spills, shared : int
        Registers a thread, bytes spilled (stores and loads), bytes of shared memory.
    total : Counter
        Instructions by class.
    loops : list of (int, int, Counter)
        Start, end and classes of each stretch that a branch goes back over; an inner loop's
        instructions are also the outer one's.
    """

    registers: int
    spills: int
    shared: int
    total: Counter[str]
    loops: list[tuple[int, int, Counter[str]]]

    @property
    def innermost(self) -> list[Counter[str]]:
        """Loops without loops in them."""
        return [
            count
            for start, end, count in self.loops
            if not any(start <= s and e <= end and (s, e) != (start, end) for s, e, _ in self.loops)
        ]


def tool(name: str) -> str:
    """A program of the CUDA toolkit, from PyPI's packages or the path."""
    for folder in sys.path:
        for found in Path(folder).glob(f"nvidia/cu*/bin/{name}"):
            return str(found)
    found_on_path = shutil.which(name)
    if found_on_path is None:
        raise RuntimeError(
            f"no {name}: pip install nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt"
            " nvidia-cuda-runtime nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
        )
    return found_on_path


@functools.cache
def version() -> str:
    """The compiler's release."""
    out = subprocess.run([tool("nvcc"), "--version"], capture_output=True, text=True, check=True)
    return re.findall(r"V[\d.]+", out.stdout)[0]


def compile_kernels(text: str, architecture: str) -> dict[str, Kernel]:
    """Compile a source text; what became of each kernel, by name."""
    with tempfile.TemporaryDirectory() as room:
        source, binary = Path(room) / "kernels.cu", Path(room) / "kernels.cubin"
        source.write_text(text)
        command = [tool("nvcc"), f"-arch={architecture}", "-cubin", "-std=c++17", "-Xptxas", "-v"]
        made = subprocess.run(
            [*command, "-diag-suppress", "177", "-o", binary, source],
            capture_output=True,
            text=True,
            check=True,
        )
        shown = subprocess.run(
            [tool("cuobjdump"), "-sass", binary],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": f"{Path(tool('nvdisasm')).parent}:/usr/bin:/bin"},
        )
    return _read(made.stderr + made.stdout, shown.stdout)


def _read(resources: str, listing: str) -> dict[str, Kernel]:
    bodies: dict[str, list[tuple[int, str, str]]] = {}
    for line in listing.splitlines():
        if named := FUNCTION.search(line):
            body = bodies.setdefault(named[1], [])
        elif found := INSTRUCTION.match(line):
            body.append((int(found[1], 16), found[2], found[3]))
    kernels = {}
    for part in resources.split("Compiling entry function")[1:]:
        name = re.findall(r"'(\w+)'", part)[0]
        spills = sum(int(x) for x in re.findall(r"(\d+) bytes spill", part))
        registers = int(re.findall(r"Used (\d+) registers", part)[0])
        shared = sum(int(x) for x in re.findall(r"(\d+) bytes smem", part))
        kernels[name] = _kernel(registers, spills, shared, bodies[name])
    return kernels


def _kernel(registers: int, spills: int, shared: int, body: list[tuple[int, str, str]]) -> Kernel:
    classes = [(address, pipe(opcode)) for address, opcode, _ in body]
    loops = []
    for address, opcode, operands in body:
        target = TARGET.search(operands)
        if opcode.startswith("BRA") and target and int(target[1], 16) < address:
            start = int(target[1], 16)
            count = Counter(kind for at, kind in classes if start <= at <= address)
            loops.append((start, address, count))
    return Kernel(registers, spills, shared, Counter(kind for _, kind in classes), loops)
