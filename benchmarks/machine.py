"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy",
    "numba",
    "scipy",
    "torch",
    "jax",
    "ortools",
    "POT",
    "pulp",
    "networkx",
    "scikit-learn",
    "transformers",
)


def describe() -> dict[str, object]:
    """Processor, cores, Python and package versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
    }


def processor() -> str:
    """The processor's name, with its family and widest vectors where Linux says them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    name = facts.get("model name", platform.processor())
    numbers = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
    vectors = ", AVX-512" if "avx512f" in facts.get("flags", "") else ""
    return f"{name} ({numbers}{vectors})"


def installed(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
