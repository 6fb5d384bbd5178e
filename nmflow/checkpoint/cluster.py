"""The work of a file sent to a running Dask cluster, its results taken in order.

The seam is that of :mod:`nmflow.checkpoint.pipeline`: items go out a few at a time, and what they
come to is the same bytes, whoever made them. A worker that is lost costs only time: the scheduler
gives what it had to another one. Nothing here starts a cluster, and nothing is left on one.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import nmflow
from nmflow.checkpoint.pipeline import Crew, Threads
from nmflow.errors import MissingExtraError, NmflowError

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_SECONDS = 15.0
# How long there may be no worker at all, as when those of a batch system are replaced.
ALONE_SECONDS = 60.0
_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
# For each thread of the workers: one worked at, one on its way.
_UNDER_WAY = 2


class ClusterError(NmflowError):
    """A cluster that was lost. What is done is good, and can be gone on from."""


@contextmanager
def hired(scheduler: str | None, threads: int, files: Sequence[Path]) -> Iterator[Crew]:
    """The workers of a cluster, if there is one, or threads.

    Raises
    ------
    NmflowError
        As :func:`connect`.
    """
    if scheduler is None:
        yield Threads(threads)
        return
    with connect(scheduler, files) as cluster:
        yield cluster


@contextmanager
def connect(address: str, files: Sequence[Path]) -> Iterator[Cluster]:
    """A cluster whose workers can do the work.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://host:port``.
    files : sequence of Path
        What the workers are to read.

    Raises
    ------
    NmflowError
        If there is no scheduler, no worker, or one that lacks nmflow, has another version of it, or
        does not see the files as they are here.
    MissingExtraError
        If Dask is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise MissingExtraError("pruning on a cluster", "dask") from None
    with _quiet():
        _call(address)
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        try:
            cluster = Cluster(client, address)
            cluster.check_workers(files)
            yield cluster
        finally:
            with suppress(Exception):
                client.close(timeout=_CLOSE_SECONDS)


def _call(address: str) -> None:
    """Raise unless a scheduler answers. A client that finds none can't be closed in silence."""
    from distributed.comm import connect as dial

    async def ask() -> None:
        line = await dial(address, timeout=CONNECT_SECONDS, deserialize=False)
        try:
            await line.write({"op": "identity", "n_workers": 0, "reply": True})
            answer = await line.read()
            if not str(answer.get("type", "")).endswith("Scheduler"):
                raise OSError("what answers is no scheduler")
        finally:
            line.abort()

    try:
        # In a thread of its own: in notebooks this one runs a loop already.
        with ThreadPoolExecutor(1) as pool:
            # Who is silent once it has taken the call is waited for by nothing in Dask.
            pool.submit(asyncio.run, asyncio.wait_for(ask(), 2 * CONNECT_SECONDS)).result()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise NmflowError(
            f"no Dask scheduler answers at {address!r} ({_first_line(error)}): give the address"
            " that `dask scheduler` prints, such as tcp://host:8786"
        ) from None


class Cluster:
    """A connection to a scheduler; :func:`connect` makes and closes it.

    Attributes
    ----------
    threads_each : int
        Workers have as many threads as items, so each item has one.
    """

    threads_each = 1

    def __init__(self, client: Any, address: str) -> None:
        self.client = client
        self.address = address

    def check_workers(self, files: Sequence[Path]) -> None:
        """Raise unless all workers there are can do the work."""
        if not self._workers():
            raise NmflowError(
                f"the Dask scheduler at {self.address} has no workers: start some, by"
                f" `dask worker {self.address}`"
            )
        wanted = [(str(path), path.stat().st_size) for path in files]
        for worker, found in self.client.run(_look_round, wanted, on_error="return").items():
            # What can't even be unpickled there comes back in words.
            if isinstance(found, ImportError) or "ModuleNotFoundError" in str(found):
                raise NmflowError(
                    f"the Dask worker {worker} has no nmflow ({_first_line(found)}): install"
                    f" nmflow {nmflow.__version__} there"
                )
            if isinstance(found, BaseException):
                raise NmflowError(f"the Dask worker {worker} failed: {_first_line(found)}")
            version, missing = found
            if version != nmflow.__version__:
                raise NmflowError(
                    f"the Dask worker {worker} has nmflow {version}, and here is"
                    f" {nmflow.__version__}: install the same version on both"
                )
            if missing:
                raise NmflowError(
                    f"the Dask worker {worker} does not see {missing[0]} as it is here: the model"
                    " must lie on a file system that all workers share, under the same path"
                )

    def in_order(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        size_of: Callable[[Item], int],
        most: int,
    ) -> Generator[Result, None, None]:
        """``work`` of each item, by the workers, in the order of the items.

        Parameters
        ----------
        work : callable
            One that can be pickled, and gives the same wherever it is called.
        items : iterable
        size_of : callable
        most : int
            What the sizes of the items under way may add up to.

        Raises
        ------
        NmflowError
            As ``work``; if workers die of an item again and again, if none is left for a minute,
            and if the scheduler is lost.
        """
        rest = deque(enumerate(items))
        waiting: deque[tuple[int, Any]] = deque()
        run = uuid.uuid4().hex
        under_way = _UNDER_WAY * max(1, sum(self._workers().values()))

        def send_more() -> None:
            while rest and len(waiting) < under_way:
                number, item = rest[0]
                size = size_of(item)
                if waiting and size + sum(taken for taken, _ in waiting) > most:
                    return
                rest.popleft()
                key = f"nmflow-{run}-{number}"
                waiting.append((size, self.client.submit(work, item, key=key, pure=False)))

        try:
            send_more()
            while waiting:
                _, first = waiting.popleft()
                result = self._result(first)
                # What is not asked for any more, a worker forgets.
                first.release()
                del first
                send_more()
                yield result
                del result
        except NmflowError:
            raise
        except Exception as error:
            if self.client.status in ("running", "connecting"):
                raise
            raise self._lost(error) from None
        finally:
            with suppress(Exception):
                self.client.cancel([future for _, future in waiting], force=True)

    def _result(self, future: Any) -> Any:
        """What a future comes to, however often it is begun anew."""
        from distributed import KilledWorker

        seen = time.monotonic()
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except NmflowError:
                raise
            except TimeoutError as error:
                if self.client.status == "closed":
                    raise self._lost(error) from None
                if self._workers():
                    seen = time.monotonic()
                elif time.monotonic() - seen > ALONE_SECONDS:
                    raise ClusterError(
                        f"the Dask scheduler at {self.address} has had no worker for"
                        f" {ALONE_SECONDS:.0f} s: the work is given up"
                    ) from None
            except KilledWorker as error:
                raise ClusterError(
                    f"workers died {error.allowed_failures + 1} times of one piece of the model,"
                    f" the last was {error.last_worker.address}: do they have memory enough?"
                ) from None
            except (CancelledError, OSError) as error:
                raise self._lost(error) from None

    def _workers(self) -> dict[str, int]:
        """The threads of each worker that there is now."""
        try:
            # A client that is calling a scheduler which went away knows of none.
            workers = self.client.scheduler_info(n_workers=-1).get("workers", {})
        except (OSError, CancelledError) as error:
            raise self._lost(error) from None
        return {name: int(worker["nthreads"]) for name, worker in workers.items()}

    def _lost(self, error: BaseException) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler at {self.address} was lost ({_first_line(error)}):"
            " start it anew, and this command"
        )


def _look_round(files: Sequence[tuple[str, int]]) -> tuple[str, list[str]]:
    """On a worker: its version, and which files it does not see as they are elsewhere."""
    missing = []
    for path, size in files:
        try:
            same = Path(path).stat().st_size == size
        except OSError:
            same = False
        if not same:
            missing.append(path)
    return nmflow.__version__, missing


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Dask logs of workers that come and go: errors that matter are raised."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
