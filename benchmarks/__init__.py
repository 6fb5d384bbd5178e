"""What README quotes, measured by one command: ``python -m benchmarks.solvers``."""

import os

# Figures are for one core, so libraries that start threads when they are first imported may not.
# What asks for two workers, nmflow alone, is not affected.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from nmflow.compiling.sparing import compile_at_once  # noqa: E402

# What is timed is what is compiled, from the first call on.
compile_at_once()
