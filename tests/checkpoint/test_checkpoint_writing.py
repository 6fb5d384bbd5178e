"""The parts of going on after a kill: the journal, the folder beside, checksums on the way."""

import errno
import json
import os
import random
import zlib
from itertools import pairwise

import numpy as np
import pytest
from safetensors_files import floats, write_raw

import nmflow
from nmflow.checkpoint import prune_checkpoint
from nmflow.checkpoint.formats.model import Seal
from nmflow.checkpoint.writing import run as run_module
from nmflow.checkpoint.writing import stream
from nmflow.checkpoint.writing.journal import Journal
from nmflow.checkpoint.writing.records import layer_of, layer_record
from nmflow.checkpoint.writing.sealing import Sealer
from nmflow.checkpoint.writing.work_folder import WorkFolder


def test_a_line_that_was_cut_short_is_none(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.read() == []
    entries = [{"a": 1}, {"b": [1.5, "x"]}]
    for entry in entries:
        journal.add(entry)
    assert journal.read() == []
    journal.settle()
    whole = journal.path.read_bytes()
    assert journal.read() == entries
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        assert journal.read() == entries[: whole[:length].count(b"\n")]
    journal.path.write_bytes(b'{"a": 1}\nnonsense\n{"c": 1}\n')
    assert journal.read() == entries[:1]


@pytest.mark.parametrize("seed", range(20))
def test_checksums_follow_the_bytes(tmp_path, seed):
    """Of any pieces, and of a file that is gone on with from any place."""
    rng = random.Random(seed)
    data = bytearray(rng.randbytes(400))
    seals = [Seal(10, 60, (64, 380)), Seal(100, 101, (110,)), Seal(120, 300, (301, 390, 90))]
    expected = bytearray(data)
    for seal in seals:
        checksum = zlib.crc32(data[seal.start : seal.stop])
        for place in seal.places:
            expected[place : place + 4] = checksum.to_bytes(4, "little")
    cuts = sorted({0, len(data), *(rng.randrange(400) for _ in range(rng.randrange(12)))})
    path = tmp_path / "a"
    path.write_bytes(b"")
    begin = rng.choice(cuts)
    for part in (False, True):
        sealer = Sealer(seals)
        with path.open("r+b") as file:
            sealer.catch_up(file, begin if part else 0)
            file.seek(begin if part else 0)
            for start, stop in pairwise(cuts):
                if (start >= begin) == part:
                    file.write(sealer.pass_on(start, bytes(data[start:stop])))
            if part:
                sealer.finish(file)
    assert path.read_bytes() == expected


def test_reports_come_back_as_they_were(model, target):
    report = prune_checkpoint(model, target, 2, 4, "greedy")
    for layer in report.layers:
        assert layer_of(json.loads(json.dumps(layer_record(layer)))) == layer


@pytest.fixture
def many(tmp_path):
    tensors = {f"{k:02}.weight": floats("F32", (32, 32)) for k in range(12)}
    return write_raw(tmp_path / "in.safetensors", tensors)


class Killed(BaseException):
    pass


@pytest.fixture
def killed(many, target, monkeypatch):
    """A run that was stopped after five layers."""
    monkeypatch.setattr(stream, "NOTED_EVERY", 0)

    def kill(what, *_):
        if what == "05.weight":
            raise Killed

    with pytest.raises(Killed) as caught:
        prune_checkpoint(many, target, 2, 4, progress=kill)
    assert "--resume goes on from there" in caught.value.__notes__[0]
    return WorkFolder(target)


def again(many, target, **options):
    told = []
    report = prune_checkpoint(
        many, target, 2, 4, progress=lambda what, *_: told.append(what), **options
    )
    return report, [name for name in dict.fromkeys(told) if name.endswith("weight")]


def undisturbed(many, tmp_path):
    report = prune_checkpoint(many, tmp_path / "whole.safetensors", 2, 4)
    return report, (tmp_path / "whole.safetensors").read_bytes()


def without_times(report):
    return [(x.name, x.kept, x.total, x.certificate) for x in report.layers], report.sample.name


def test_going_on_does_what_is_left(many, target, tmp_path, killed):
    report, done = again(many, target, resume=True)
    assert done == [f"{k:02}.weight" for k in range(5, 12)]
    whole, data = undisturbed(many, tmp_path)
    assert target.read_bytes() == data
    assert without_times(report) == without_times(whole)
    assert np.array_equal(report.sample.mask, whole.sample.mask)
    assert report.resumed > 5 * 32 * 32 * 4
    assert not killed.path.exists()


@pytest.mark.parametrize("damage", ["byte", "end", "journal", "all", "longer"])
def test_what_is_damaged_meanwhile_is_done_again(many, target, tmp_path, killed, damage):
    file = killed.out / target.name
    data = bytearray(file.read_bytes())
    if damage == "byte":
        data[2 * 4096 + 2000] ^= 1
    elif damage == "end":
        del data[3 * 4096 :]
    elif damage == "longer":
        data += bytes(10_000)
    file.write_bytes(data)
    if damage == "journal":
        lines = killed.journal.path.read_bytes().split(b"\n")
        killed.journal.path.write_bytes(b"\n".join(lines[:3]) + b'\n{"file": "out')
    if damage == "all":
        file.unlink()
    report, done = again(many, target, resume=True)
    first = {"byte": 2, "end": 2, "journal": 2, "all": 0, "longer": 5}[damage]
    assert done == [f"{k:02}.weight" for k in range(first, 12)]
    whole, expected = undisturbed(many, tmp_path)
    assert target.read_bytes() == expected
    assert without_times(report) == without_times(whole)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"left 5 layers of it in .*--resume goes on from there, --force starts over"),
        ({"resume": True, "score": "square"}, "begun with another score"),
        ({"resume": True, "compare": False}, "begun with another comparison"),
        ({"resume": True, "exclude": ["03.*"]}, "begun with another layers"),
        ({"resume": True, "keep_zeros": True}, "begun with another --keep-zeros"),
    ],
)
def test_another_job_does_not_go_on(many, target, killed, options, words):
    with pytest.raises(nmflow.NmflowError, match=words):
        prune_checkpoint(many, target, 2, 4, **options)
    assert len(killed.journal.read()) == 6
    _, done = again(many, target, resume=True)
    assert len(done) == 7


def test_another_source_does_not_go_on(many, target, killed):
    data = bytearray(many.read_bytes())
    data[-1] ^= 1
    many.write_bytes(data)
    with pytest.raises(nmflow.NmflowError, match="begun with another source"):
        prune_checkpoint(many, target, 2, 4, resume=True)
    _, done = again(many, target, resume=True, overwrite=True)
    assert len(done) == 12


@pytest.mark.parametrize("moment", ["place", "remove"])
def test_killed_at_the_last_step(many, target, tmp_path, monkeypatch, moment):
    """Before the rename all is checked again; after it nothing is left to do."""

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(stream, "NOTED_EVERY", 0)
        if moment == "place":
            patch.setattr(run_module, "place", kill)
        else:
            patch.setattr(WorkFolder, "remove", kill)
        with pytest.raises(Killed):
            prune_checkpoint(many, target, 2, 4)
    assert target.exists() == (moment == "remove")
    report, done = again(many, target, resume=True)
    assert done == []
    whole, data = undisturbed(many, tmp_path)
    assert target.read_bytes() == data
    assert without_times(report) == without_times(whole)
    assert not WorkFolder(target).path.exists()


def test_what_a_kill_left_after_the_last_step_is_cleaned(many, target, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "remove", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            prune_checkpoint(many, target, 2, 4)
    assert WorkFolder(target).path.exists()
    with pytest.raises(nmflow.NmflowError, match="it exists"):
        prune_checkpoint(many, target, 2, 4)
    assert not WorkFolder(target).path.exists()


def test_a_disk_that_fills_up_keeps_what_is_done(many, target, tmp_path, monkeypatch):
    real, count = stream.write, 0

    def full(file, data):
        nonlocal count
        count += 1
        if count == 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "NOTED_EVERY", 0)
        patch.setattr(stream, "write", full)
        with pytest.raises(nmflow.NmflowError, match="No space left on device") as caught:
            prune_checkpoint(many, target, 2, 4)
    assert "--resume goes on from there" in caught.value.__notes__[0]
    assert not target.exists()
    _, done = again(many, target, resume=True)
    assert done[0] == "06.weight"
    assert target.read_bytes() == undisturbed(many, tmp_path)[1]


def test_an_error_leaves_no_folder(many, target, monkeypatch):
    monkeypatch.setattr(stream, "NOTED_EVERY", 0)
    data = bytearray(many.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    many.write_bytes(data)
    with pytest.raises(nmflow.NmflowError, match="nan"):
        prune_checkpoint(many, target, 2, 4)
    assert [path.name for path in many.parent.iterdir()] == [many.name]


def test_what_a_kill_left_before_the_first_layer_is_cleaned(many, target):
    folder = WorkFolder(target)
    folder.out.mkdir(parents=True)
    (folder.out / target.name).write_bytes(b"half")
    prune_checkpoint(many, target, 2, 4)
    assert {path.name for path in many.parent.iterdir()} == {many.name, target.name}
