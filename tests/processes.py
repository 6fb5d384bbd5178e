"""Python in a process of its own."""

import os
import subprocess
import sys

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
SMALL = """
import numpy as np, nmflow
weights = np.random.default_rng(3).standard_normal((17, 24)).astype(np.float32)
ties = np.floor(weights)
for n, m in ((2, 4), (4, 8)):
    for values in (weights, ties, np.ones((5, 8)), weights * 10.0 ** (50 * ties.astype(float))):
        mask = nmflow.solve(values, n, m)
        print(nmflow.certify(values, mask, n, m).optimal, np.packbits(mask).tobytes().hex())
"""


def run(code, **environment):
    """Run Python with warnings as errors; its output."""
    command = [sys.executable, "-W", "error", "-c", code]
    env = ENVIRONMENT | environment
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
