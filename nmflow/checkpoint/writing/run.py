"""One run: write, verify, put in place; and what becomes of it if it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nmflow.checkpoint.cluster import ClusterError
from nmflow.checkpoint.pipeline import Crew
from nmflow.checkpoint.report import Failure, PruneReport, VerificationError, natural_key
from nmflow.checkpoint.verifying.certificates import certificate_failures
from nmflow.checkpoint.verifying.verify import verify_checkpoint
from nmflow.checkpoint.verifying.verify_masks import verify_masks
from nmflow.checkpoint.writing.pieces import PieceWork
from nmflow.checkpoint.writing.placing import copy_extras, finish, place, put_back, was_placed
from nmflow.checkpoint.writing.planning import Plan
from nmflow.checkpoint.writing.stream import Settling, Writer, Written
from nmflow.checkpoint.writing.work_folder import WorkFolder
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.warming.sample import Kernels, sample_shape

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many bytes of how many are done."""


class Run:
    """One run of a plan.

    Parameters
    ----------
    plan : Plan
    source, target : str
        As the caller gave them.
    crew : Crew
        Who makes what is written.
    threads : int
        That verify it.
    begin : float
        When it all began.
    progress : callable
    """

    def __init__(
        self,
        plan: Plan,
        source: str,
        target: str,
        crew: Crew,
        threads: int,
        begin: float,
        progress: Progress,
    ) -> None:
        self.plan, self.source, self.target = plan, source, target
        self.threads, self.begin, self.progress = threads, begin, progress
        self.crew = crew
        self.kernels, self.kernel_seconds = Kernels(0, 0, ()), 0.0

    def in_folder(self, folder: WorkFolder, *, resume: bool, overwrite: bool) -> PruneReport:
        """All of it, in a folder that is this run's.

        Raises
        ------
        NmflowError
            For a layer that can't be pruned, or a target that can't be written.
        VerificationError
            If a mask or what was written fails a check.
        OSError
            For a full disk. What is done stays, if it is much.
        """
        plan = self.plan
        put_back(folder)
        if resume and (written := was_placed(folder)):
            # Killed between the last step and the end.
            folder.remove()
            return self.report(written, ())
        try:
            entries = folder.begin(plan.fingerprint(), resume=resume, restart=overwrite)
            plan.check_target(overwrite=overwrite)
        except NmflowError:
            if not folder.journal.read():
                folder.remove()
            raise
        try:
            with Settling() as settling:
                written = self._write(folder, entries, settling)
                failures = self._verify(folder, written)
                settling.wait()
            report = self.report(written, failures)
            if failures:
                raise VerificationError(report)
            finish(folder, plan, written)
            place(folder, folder.out if plan.writes_folder else folder.out / plan.target.name)
        except BaseException as error:
            # From anything else that is wrong one would go on to the same error.
            passing = isinstance(error, ClusterError) or not isinstance(error, NmflowError)
            if passing and folder.has_work:
                error.add_note(
                    f"what is done is kept in {folder.path}: --resume goes on from there"
                )
            else:
                folder.remove()
            raise
        folder.remove()
        return report

    def _write(
        self, folder: WorkFolder, entries: list[dict[str, Any]], settling: Settling
    ) -> Written:
        plan, total = self.plan, self.plan.size
        self.progress("compiling", 0, total)
        self._load_kernels()
        writer = Writer(folder, plan.outputs(), entries)

        def tell(what: str, done: int) -> None:
            self.progress(what, done, total)

        work = PieceWork(plan.job, self.crew.threads_each)
        written = writer.run(work, self.crew, tell, settling)
        if plan.writes_folder:
            copy_extras(plan.model, folder.out)
        return written

    def _load_kernels(self) -> None:
        """Compile now, or load, what the layers need, so that no layer's time does.

        Refuses wrong options as well.
        """
        begin, before, job = time.perf_counter(), Kernels.so_far(), self.plan.job
        kinds = set()
        for layer in self.plan.selection.layers:
            pattern, matrix = job.pattern_of(layer), layer.layout.matrix_size(layer.tensor.shape)
            shape = sample_shape(*matrix, pattern.m)
            kinds.add((shape, layer.tensor.dtype, pattern.n, pattern.m, pattern.name))
        for shape, dtype, n, m, name in sorted(kinds):
            job.rehearse(shape, dtype, Pattern(n, m, name))
        self.kernels = Kernels.so_far().since(before)
        self.kernel_seconds = time.perf_counter() - begin

    def _verify(self, folder: WorkFolder, written: Written) -> tuple[Failure, ...]:
        plan, job, total = self.plan, self.plan.job, self.plan.size
        self.progress("verifying", 0, total)
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self.progress("verifying", min(done, total), total)

        certificates = [(layer.name, layer.certificate) for layer in written.layers.values()]
        wrong = certificate_failures(certificates, exact=job.method.exact)
        options: dict[str, Any] = {
            "filled": job.method.exact and not job.keep_zeros,
            "workers": self.threads,
            "tell": tell,
        }
        layers, path = plan.selection.layers, folder.out
        if plan.masks_only:
            found = verify_masks(path / plan.target.name, layers, job.patterns, **options)
        else:
            path = path if plan.writes_folder else path / plan.target.name
            found = verify_checkpoint(plan.model, path, layers, job.patterns, **options)
        self.progress("verifying", total, total)
        return wrong + found

    def report(self, written: Written, failures: tuple[Failure, ...]) -> PruneReport:
        """What came of it."""
        assert written.sample is not None  # choose_layers returns at least one
        layers = sorted(written.layers.values(), key=lambda layer: natural_key(layer.name))
        return PruneReport(
            source=self.source,
            target=self.target,
            pattern=self.plan.job.patterns.default,
            method=self.plan.job.method.name,
            score=self.plan.job.score,
            layers=tuple(layers),
            skipped=self.plan.selection.skipped,
            failures=failures,
            kernels=self.kernels,
            kernel_seconds=self.kernel_seconds,
            seconds=time.perf_counter() - self.begin,
            sample=written.sample,
            left_out=tuple(map(str, self.plan.model.left_out)),
            size=self.plan.size,
            resumed=written.resumed,
            masks_only=self.plan.masks_only,
        )
