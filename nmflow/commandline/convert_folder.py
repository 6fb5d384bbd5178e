"""Convert a Hugging Face folder: read, calibrate, convert, write, read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmflow.checkpoint.files import check_folder, replacing_folder
from nmflow.checkpoint.report import Failure, VerificationError
from nmflow.checkpoint.verifying.certificates import certificate_failures
from nmflow.commandline.folder_report import Calibration, FolderReport, Job
from nmflow.commandline.outputs import write_json
from nmflow.errors import NmflowError

if TYPE_CHECKING:
    from nmflow.torch import ConversionReport
    from nmflow.torch.conversion.pretrained.loading import Loaded

REPORT = "conversion.json"
_NAMED = 3

Progress = Callable[[str, int, int], None]


def convert_folder(
    job: Job, *, overwrite: bool = False, progress: Progress | None = None
) -> FolderReport:
    """Write a copy of a folder in which the model's weights are n:m sparse.

    The folder appears under its name once it was read back and found right: if anything fails, or
    is interrupted, the target is as it was.

    Parameters
    ----------
    job : Job
    overwrite : bool
        Whether the target may be replaced, if it was written by this function.
    progress : callable, optional
        ``progress(what, done, total)``, weights done and in all.

    Returns
    -------
    FolderReport
        As it is in the new folder's ``conversion.json``.

    Raises
    ------
    NmflowError
        For what can't be read or written, and as :func:`nmflow.torch.convert`.
    MissingExtraError
        If transformers or PyTorch is not installed.
    VerificationError
        If a mask or the written folder fails a check.
    """
    from nmflow.torch.conversion.pretrained import loading

    loading.import_transformers()
    from nmflow.torch.conversion.methods.registry import find_method, find_reconstruction
    from nmflow.torch.conversion.pretrained import texts

    began = time.perf_counter()
    loading.check_folder(job.source)
    check_folder(job.target, REPORT, overwrite=overwrite)
    # Wrong names are told before the model is read, which may take minutes.
    find_reconstruction(job.options["reconstruction"], find_method(job.options["method"]))
    text = job.text
    samples = texts.read_samples(text.path, text.samples, paragraphs=text.paragraphs)
    with replacing_folder(job.target) as folder:
        try:
            report = _fill(folder, job, samples, began, progress or (lambda *_: None))
        except KeyboardInterrupt:
            # What there is to say of the model in memory means nothing once it is gone.
            raise KeyboardInterrupt from None
        write_json(folder / REPORT, report.as_dict())
        if report.failures:
            raise VerificationError(report)
    return report


def _fill(
    folder: Path, job: Job, samples: Sequence[str], began: float, tell: Progress
) -> FolderReport:
    """Write the new folder and read it back."""
    from nmflow.torch import convert
    from nmflow.torch.conversion.pretrained import loading, reading_back, saving, texts
    from nmflow.torch.selecting.select import choose_weights

    loaded = loading.load_model(job.source, job.dtype)
    model, tokenizer = loaded.model, loading.load_tokenizer(job.source)
    length = texts.length_for(model, tokenizer, job.text.length)
    batches = texts.batches_of(model, tokenizer, samples, length, job.text.batch)
    wanted, unwanted = job.include or None, job.exclude or None
    weights, _ = choose_weights(model, job.pattern, wanted, unwanted)
    _refuse_random(loaded.missing, [[site.name for site in each.sites] for each in weights])
    sparse = {each.name: (each.layout, each.pattern) for each in weights}
    notes = _notes(loaded, saving.carry_over(job.source, folder))
    saving.save_configs(model, folder)
    conversion = convert(
        model,
        batches,
        job.pattern.n,
        job.pattern.m,
        pattern=job.pattern.name,
        include=wanted,
        exclude=unwanted,
        **job.options,
        resume=job.resume,
        progress=tell,
    )
    tell("writing", len(sparse), len(sparse))
    expected = reading_back.Expected(reading_back.digests(model), sparse)
    saving.save_model(model, folder)
    # Its memory is needed for the model that is read back.
    del model, loaded, weights
    tell("verifying", len(sparse), len(sparse))
    found = reading_back.faults(folder, expected)
    return FolderReport(
        job=job,
        calibration=Calibration(
            samples=sum(len(batch["input_ids"]) for batch in batches),
            tokens=sum(_tokens(batch) for batch in batches),
            length=length,
        ),
        conversion=conversion,
        notes=notes,
        failures=_failures(conversion, sparse, found),
        seconds=time.perf_counter() - began,
    )


def _tokens(batch: Mapping[str, Any]) -> int:
    counted = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if counted is None else counted.sum())


def _refuse_random(missing: frozenset[str], weights: Sequence[Sequence[str]]) -> None:
    """Raise if there is a weight to be converted that the folder does not have."""
    lost = [names[0] for names in weights if not missing.isdisjoint(names)]
    if lost:
        raise NmflowError(
            f"the model's folder lacks weights that are to be converted, {_listed(lost)}: they"
            " would be at random; leave them out with --exclude, or check that the class that its"
            " config names is right"
        )


def _notes(loaded: Loaded, left: Sequence[str]) -> tuple[str, ...]:
    kind = type(loaded.model).__name__
    notes = {
        "At random, since the model's folder lacks them": sorted(loaded.missing),
        f"Left out, since a {kind} does not take them": sorted(loaded.unused),
        "Left out, since they hold dense weights": left,
    }
    return tuple(f"{what}: {_listed(names)}" for what, names in notes.items() if names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _failures(
    conversion: ConversionReport, sparse: Collection[str], found: Sequence[tuple[str, str]]
) -> tuple[Failure, ...]:
    layers = conversion.converted
    certificates = [(each.name, each.certificate) for each in layers if each.certificate]
    lost = sorted(set(sparse) - {layer.name for layer in layers})
    return (
        *certificate_failures(certificates, exact=True),
        *(Failure(name, "it was not converted") for name in lost),
        *(Failure(*each) for each in found),
    )
