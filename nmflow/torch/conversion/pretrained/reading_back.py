"""Whether a written folder holds the model that was written, with weights that are n:m."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.torch.conversion.pretrained.loading import load_model
from nmflow.torch.conversion.store import digest
from nmflow.torch.masking.counting import fault


@dataclass(frozen=True, slots=True)
class Expected:
    """What a folder is to hold.

    Attributes
    ----------
    digests : mapping of str to str
        Of all tensors of the model.
    sparse : mapping of str to (Layout, Pattern)
        Of the converted weights.
    """

    digests: Mapping[str, str]
    sparse: Mapping[str, tuple[Layout, Pattern]]


def digests(model: Any) -> dict[str, str]:
    """Of all tensors of a model, by name."""
    return {name: digest(tensor) for name, tensor in model.state_dict().items()}


def faults(folder: Path, expected: Expected) -> list[tuple[str, str]]:
    """Names of tensors, each with what is wrong; none if all is well.

    The model is read by the way that users read it, so that names and shapes in the files are what
    its class takes them for.

    Parameters
    ----------
    folder : Path
    expected : Expected
    """
    try:
        tensors = load_model(folder).model.state_dict()
    except NmflowError as error:
        return [("(folder)", str(error))]
    found = []
    for name, before in expected.digests.items():
        if name not in tensors:
            found.append((name, "it is missing"))
        elif digest(tensors[name]) != before:
            found.append((name, "it is not what was written, bit for bit"))
    for name, (layout, pattern) in expected.sparse.items():
        # A weight that is kept may be 0 by chance, so that groups can seem to hold fewer.
        problem = name in tensors and fault(tensors[name] != 0, layout, pattern, full=False)
        if problem:
            found.append((name, problem))
    return found
