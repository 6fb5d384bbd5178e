"""What is asked of the conversion of a folder, and what it did, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmflow.checkpoint.report import Failure
from nmflow.problem.pattern import Pattern

if TYPE_CHECKING:
    from nmflow.torch import ConversionReport


@dataclass(frozen=True, slots=True)
class Text:
    """Calibration text, and how it is cut up.

    Attributes
    ----------
    path : Path
    samples : int
        How many are taken, the first ones.
    paragraphs : bool
        Whether a sample is a paragraph, and not a line.
    length : int or None
        Tokens at which samples are cut; None for what the model takes, 128 at most.
    batch : int
        Samples that are run at once.
    """

    path: Path
    samples: int = 256
    paragraphs: bool = False
    length: int | None = None
    batch: int = 16


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked.

    Attributes
    ----------
    source, target : Path
    pattern : Pattern
    text : Text
    dtype : str or None
        Of the model; None for what its config says.
    include, exclude : tuple of str
        Globs.
    resume : Path or None
        As for :func:`nmflow.torch.convert`.
    options : mapping of str to value
        Its other ones: method, reconstruction, inputs, damping, keep_zeros, permute, rotate,
        unreached.
    """

    source: Path
    target: Path
    pattern: Pattern
    text: Text
    dtype: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    resume: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the model was calibrated with.

    Attributes
    ----------
    samples, tokens : int
    length : int
        Tokens at which samples were cut.
    """

    samples: int
    tokens: int
    length: int


@dataclass(frozen=True, slots=True)
class FolderReport:
    """All of it.

    Attributes
    ----------
    job : Job
    calibration : Calibration
    conversion : ConversionReport
    notes : tuple of str
        What users have to know of the new folder.
    failures : tuple of Failure
        Empty if every check held.
    seconds : float
        Everything: reading, converting, writing, verifying.
    """

    job: Job
    calibration: Calibration
    conversion: ConversionReport
    notes: tuple[str, ...]
    failures: tuple[Failure, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has; what is not a finite number becomes None."""
        job, pattern = self.job, self.job.pattern
        return {
            "source": str(job.source),
            "target": str(job.target),
            "n": pattern.n,
            "m": pattern.m,
            "pattern": pattern.name,
            **job.options,
            "include": list(job.include),
            "exclude": list(job.exclude),
            "dtype": job.dtype,
            "calibration": {
                "file": str(job.text.path),
                "paragraphs": job.text.paragraphs,
                "samples": self.calibration.samples,
                "tokens": self.calibration.tokens,
                "length": self.calibration.length,
                "batch": job.text.batch,
            },
            "verified": not self.failures,
            "failures": [{"tensor": f.tensor, "problem": f.problem} for f in self.failures],
            "notes": list(self.notes),
            "conversion": self.conversion.as_dict(),
            "seconds": self.seconds,
        }
