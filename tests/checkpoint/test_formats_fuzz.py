"""Readers meet anything: a model, or one line. `tools/fuzz_readers.py` does so for minutes."""

import importlib.util
import io
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors_files import floats, write_raw

import nmflow
from nmflow.checkpoint import open_model
from nmflow.checkpoint.formats.pickled import read_pickle
from nmflow.checkpoint.formats.symbols import PickleError

PATH = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"
FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def one_line(error):
    assert "\n" not in str(error)


def opened(path):
    """What opening comes to; anything but an NmflowError is the test's."""
    try:
        model = open_model(path)
    except nmflow.NmflowError as error:
        one_line(error)
        return None
    for tensor in model.tensors:
        assert 0 <= tensor.start <= tensor.stop <= model.shards[tensor.shard].size
        if not tensor.obstacle:
            assert model.read_bits(tensor).shape == tensor.shape
    return model


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F64", "U8", "F8_E4M3", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 5) | st.integers(), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 70), min_size=2, max_size=2) | JSON,
    }
)


@FEW
@given(header=st.dictionaries(st.text(max_size=4), ENTRY, max_size=3) | JSON, body=st.binary())
def test_any_header(tmp_path, header, body):
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    opened(path)


@FEW
@given(index=JSON | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_any_index(tmp_path, index):
    write_raw(tmp_path / "a", {"b": floats("F32", (2, 2))})
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    opened(tmp_path)


@FEW
@given(st.binary(max_size=200) | JSON.map(lambda value: pickle.dumps(value, 2)))
def test_any_pickle(body):
    try:
        found = read_pickle(io.BytesIO(body))
    except PickleError as error:
        one_line(error)
    else:
        assert found.views == []


@pytest.mark.parametrize("kind", range(5))
def test_changed_files_of_every_kind(tmp_path, kind):
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("fuzz_readers", PATH)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    (tmp_path / "made").mkdir()
    (tmp_path / "cases").mkdir()
    source = fuzz.samples(tmp_path / "made")[kind]
    fuzz.look(source)
    for seed in range(60):
        path = fuzz.one_case(source, tmp_path / "cases", random.Random(seed))
        try:
            fuzz.look(path)
        except nmflow.NmflowError as error:
            one_line(error)
