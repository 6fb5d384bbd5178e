"""Whatever goes wrong leaves no half-written file."""

import errno
import os
import sys

import numpy as np
import pytest
from safetensors_files import (
    LAYERS,
    floats,
    write_raw,
)

import nmflow
from nmflow.checkpoint import (
    prune_checkpoint,
)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("failing_write", [1, 2, 4])
def test_a_full_disk_leaves_the_target_as_it_was(
    model, target, monkeypatch, existing, failing_write
):
    module = sys.modules["nmflow.checkpoint.writing.stream"]
    real, count = module.write, 0

    def full(file, data):
        nonlocal count
        count += 1
        if count == failing_write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    monkeypatch.setattr(module, "write", full)
    if existing:
        target.write_bytes(b"precious")
    with pytest.raises(nmflow.NmflowError, match=r"out\.safetensors: No space left on device"):
        prune_checkpoint(model, target, 2, 4, overwrite=True)
    assert {path.name for path in model.parent.iterdir()} == {model.name} | (
        {target.name} if existing else set()
    )
    assert not existing or target.read_bytes() == b"precious"


def test_a_real_limit_on_the_file_size(model, target):
    resource = pytest.importorskip("resource")
    prune_checkpoint(model, target, 2, 4)
    target.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(nmflow.NmflowError, match="cannot write"):
            prune_checkpoint(model, target, 2, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


@pytest.mark.parametrize("moment", ["compiling", *LAYERS, "verifying"])
def test_an_interrupt_at_any_moment_leaves_nothing(model, target, moment):
    def interrupt(what, *_):
        if what == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_checkpoint(model, target, 2, 4, progress=interrupt)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_source_that_shrinks_meanwhile(model, target):
    def shrink(what, *_):
        if what == LAYERS[1]:
            os.truncate(model, 2000)

    with pytest.raises(nmflow.NmflowError, match="shorter while it was read"):
        prune_checkpoint(model, target, 2, 4, progress=shrink)
    assert not target.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_the_layer(tmp_path, target, value):
    weights = np.ones((8, 8), np.float32)
    weights[3, 5] = value
    tensors = {
        "fine.weight": floats("F32", (8, 8)),
        "broken.weight": ("F32", (8, 8), weights.tobytes()),
    }
    source = write_raw(tmp_path / "in.safetensors", tensors)
    with pytest.raises(nmflow.NmflowError, match=r"layer 'broken\.weight': .*3.*5"):
        prune_checkpoint(source, target, 2, 4)
    assert not target.exists()


@pytest.mark.parametrize("option", [{"workers": 0}, {"score": "abz"}, {"pattern": "diagonal"}])
def test_wrong_options_are_refused_before_any_layer(model, target, option):
    seen = []
    with pytest.raises(nmflow.NmflowError) as caught:
        prune_checkpoint(model, target, 2, 4, progress=lambda *a: seen.append(a[0]), **option)
    assert set(seen) <= {"compiling"}
    assert repr(next(iter(option.values()))) in str(caught.value)
