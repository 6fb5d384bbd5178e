"""Reports on layers as the journal keeps them: every float and count comes back as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nmflow.checkpoint.report import LayerReport, MaskSample
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate, Violation


def layer_record(report: LayerReport) -> dict[str, Any]:
    """A report in values that JSON has."""
    return dataclasses.asdict(report)


def layer_of(record: dict[str, Any]) -> LayerReport:
    """The report that a record is of."""
    certificate = dict(record["certificate"])
    certificate["pattern"] = Pattern(**certificate["pattern"])
    certificate["violations"] = tuple(
        Violation(**{**violation, "tile": tuple(violation["tile"])})
        for violation in certificate["violations"]
    )
    layout = record["layout"]
    return LayerReport(
        **{
            **record,
            "shape": tuple(record["shape"]),
            "layout": Layout(tuple(layout["axes"]), layout["groups"]),
            "certificate": Certificate(**certificate),
        }
    )


def sample_record(sample: MaskSample) -> dict[str, Any]:
    """A sample in values that JSON has."""
    return {"name": sample.name, "mask": sample.mask.astype(int).tolist()}


def sample_of(record: dict[str, Any]) -> MaskSample:
    """The sample that a record is of."""
    return MaskSample(record["name"], np.array(record["mask"], np.bool_))
