"""Layers worked at by a Dask cluster: the same bytes, also when a worker dies of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path, PosixPath

import numpy as np
import pytest

distributed = pytest.importorskip("distributed")
pytest.importorskip("rich")
from safetensors.numpy import save_file  # noqa: E402

import nmflow  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.checkpoint import cluster as clusters  # noqa: E402
from nmflow.checkpoint import prune as pruning  # noqa: E402
from nmflow.checkpoint import prune_checkpoint  # noqa: E402
from nmflow.checkpoint.writing import stream  # noqa: E402

# Sockets that Dask leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

LAYERS = 8


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=60,
    ) as started:
        yield started


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Layers of several bands, and tensors between them that are copied."""
    rng = np.random.default_rng(5)
    tensors = {}
    for i in range(LAYERS):
        tensors[f"layers.{i}.up.weight"] = rng.standard_normal((2048, 640)).astype(np.float32)
        tensors[f"layers.{i}.up.bias"] = rng.standard_normal(2048).astype(np.float32)
    path = tmp_path_factory.mktemp("model") / "in.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    """What threads of this process write."""
    path = tmp_path_factory.mktemp("expected") / "out.safetensors"
    prune_checkpoint(model, path, 2, 4, compare=False, workers=2)
    return path.read_bytes()


@pytest.fixture
def prune(model, tmp_path):
    def run(scheduler, **options):
        path = tmp_path / "out.safetensors"
        report = prune_checkpoint(
            *(model, path, 2, 4), compare=False, workers=1, scheduler=scheduler, **options
        )
        assert not report.failures
        return path.read_bytes()

    return run


def pids(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        return client.run(os.getpid)


def test_workers_write_what_threads_do_and_forget_it(cluster, prune, expected):
    assert prune(cluster.scheduler_address) == expected
    with distributed.Client(cluster, set_as_default=False) as client:
        assert not any(client.has_what().values())
        found = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        assert not [key for key in found if str(key).startswith("nmflow")]


def test_a_worker_that_is_killed_is_made_up_for(cluster, prune, expected):
    victim = next(iter(pids(cluster).values()))
    killed = []

    def kill(what, done, total):
        if not killed and what.startswith("layers") and done > total // 10:
            os.kill(victim, signal.SIGKILL)
            killed.append(what)

    assert prune(cluster.scheduler_address, progress=kill) == expected
    assert killed
    assert victim not in pids(cluster).values()


class Counting:
    """A client that counts what it is given to do."""

    def __init__(self, client):
        self.client, self.submitted = client, 0

    def submit(self, *arguments, **options):
        self.submitted += 1
        return self.client.submit(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.client, name)


@pytest.mark.parametrize(("size", "under_way"), [(1, 4), (300, 3), (600, 1), (5000, 1)])
def test_only_a_few_are_under_way(cluster, size, under_way):
    """Two for each of two workers, fewer where they are large."""
    with clusters.connect(cluster.scheduler_address, []) as crew:
        crew.client = Counting(crew.client)
        made = crew.in_order(abs, range(0, -12, -1), lambda _: size, 1000)
        for number, result in enumerate(made):
            assert result == number
            assert crew.client.submitted <= number + 1 + under_way
        assert crew.client.submitted == 12
        stopped = crew.in_order(abs, range(12), lambda _: size, 1000)
        next(stopped)
        stopped.close()


def test_errors_of_the_work_are_raised_in_order(cluster, tmp_path):
    path = tmp_path / "in.safetensors"
    bad = np.ones((8, 8), np.float32)
    bad[3, 4] = np.nan
    save_file({"a.weight": np.ones((8, 8), np.float32), "b.weight": bad}, path)
    target = tmp_path / "out.safetensors"
    with pytest.raises(nmflow.NmflowError, match=r"layer 'b.weight'.*nan at index \(3, 4\)"):
        prune_checkpoint(path, target, 2, 4, scheduler=cluster.scheduler_address)
    assert [each.name for each in tmp_path.iterdir()] == ["in.safetensors"]


def refused(capsys, model, tmp_path, address):
    """The one line that is said, where nothing is written."""
    target = tmp_path / "out.safetensors"
    arguments = ["prune", model, target, "-n", 2, "-m", 4, "--scheduler", address]
    assert cli.main(list(map(str, arguments))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    return err


def test_a_scheduler_that_does_not_answer(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, "nonsense://host:1", "host-that-is-not.invalid:8786"):
        assert f"no Dask scheduler answers at '{address}'" in refused(
            capsys, model, tmp_path, address
        )
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        assert "no Dask scheduler answers" in refused(capsys, model, tmp_path, address)


WORKER = """
import asyncio, sys
from distributed import Worker
{before}
async def main():
    async with Worker({address!r}, nthreads=1) as worker:
        await worker.finished()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lone():
    """A scheduler without workers."""
    with distributed.LocalCluster(
        n_workers=0, processes=True, dashboard_address=":0", silence_logs=60
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def start(lone):
    """A function that starts a worker there; what is run before is its argument."""
    started = []

    def run(before=""):
        code = WORKER.format(address=lone, before=before)
        started.append(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL))
        with distributed.Client(lone, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)

    yield run
    for process in started:
        process.kill()
        process.wait(20)


def test_no_workers(lone, model, tmp_path, capsys):
    assert f"{lone} has no workers" in refused(capsys, model, tmp_path, lone)


def test_a_worker_without_nmflow(lone, start, model, tmp_path, capsys):
    start("sys.modules['nmflow'] = None")
    said = refused(capsys, model, tmp_path, lone)
    assert "the Dask worker tcp://" in said
    assert "has no nmflow" in said


def test_a_worker_of_another_version(cluster, model, tmp_path, capsys, monkeypatch):
    had = nmflow.__version__
    monkeypatch.setattr(nmflow, "__version__", "99.9")
    said = refused(capsys, model, tmp_path, cluster.scheduler_address)
    assert f"has nmflow {had}, and here is 99.9" in said


class Elsewhere(PosixPath):
    """A file that only this process sees."""

    def stat(self, **_):
        return Path(__file__).stat()


def test_a_worker_that_does_not_see_the_model(cluster):
    path = Elsewhere("/nowhere/model.safetensors")
    with (
        pytest.raises(nmflow.NmflowError, match="does not see /nowhere/model"),
        clusters.connect(cluster.scheduler_address, [path]),
    ):
        pass


def test_without_workers_it_ends(lone, start, monkeypatch):
    """In a bounded time."""
    monkeypatch.setattr(clusters, "ALONE_SECONDS", 2.0)
    start()
    with clusters.connect(lone, []) as crew:
        made = crew.in_order(time.sleep, [0.0, 60.0], lambda _: 1, 1000)
        next(made)
        pid = next(iter(crew.client.run(os.getpid).values()))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(clusters.ClusterError, match="has had no worker for 2 s"):
            next(made)


class Gone:
    """A crew that is lost after a few pieces."""

    threads_each = 1

    def in_order(self, work, items, size_of, most):
        for number, item in enumerate(items):
            if number == 6:
                raise clusters.ClusterError("the scheduler was lost")
            yield work(item)


def test_what_is_done_outlives_a_lost_cluster(model, expected, tmp_path, monkeypatch):
    """And a scheduler that does not answer harms nothing of it."""
    target = tmp_path / "out.safetensors"
    monkeypatch.setattr(stream, "NOTED_EVERY", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(pruning, "hired", lambda *_: contextlib.nullcontext(Gone()))
        with pytest.raises(clusters.ClusterError, match="was lost") as caught:
            prune_checkpoint(model, target, 2, 4, compare=False)
        assert "--resume goes on" in caught.value.__notes__[0]
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    with pytest.raises(nmflow.NmflowError, match="no Dask scheduler answers"):
        prune_checkpoint(model, target, 2, 4, compare=False, resume=True, scheduler="tcp://[::]:1")
    report = prune_checkpoint(model, target, 2, 4, compare=False, resume=True)
    assert report.resumed > 0
    assert target.read_bytes() == expected
    assert [each.name for each in tmp_path.iterdir()] == ["out.safetensors"]
