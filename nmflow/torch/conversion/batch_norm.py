"""Running statistics of batch norms, taken anew once the weights before them have changed."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from nmflow.torch.conversion.calibrating.calibration import Calibration


@torch.no_grad()
def reestimate(model: Any, calibration: Calibration) -> int:
    """Set running means and variances to the averages over the calibration batches.

    Returns
    -------
    int
        How many batch norms there are with statistics to keep.

    References
    ----------
    Sun et al., "Hybrid 8-bit floating point training and inference", NeurIPS 2019, and Hubara
    et al., "Accurate post training quantization with small calibration sets", ICML 2021, sec. 3.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return 0
    before = [(norm, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            # Without a momentum it takes the plain average of batches.
            norm.momentum = None
            norm.train()
        for call in calibration.calls():
            call()
    finally:
        for norm, momentum in before:
            norm.momentum = momentum
            norm.eval()
    return len(norms)
