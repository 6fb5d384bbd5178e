"""Files of which tensors are matrices in other ways than (out, in): masked and verified so."""

import json

import numpy as np
import pytest

import nmflow
from nmflow.checkpoint import Layer, Patterns, open_model, prune_checkpoint, verify_checkpoint
from nmflow.cli import main
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern

numpy_files = pytest.importorskip("safetensors.numpy")

RNG = np.random.default_rng(20260101)
ARGUMENTS = ["-n", "2", "-m", "4", "--quiet", "--no-compare"]


def save(path, **shapes):
    tensors = {name.replace("__", "."): RNG.standard_normal(s) for name, s in shapes.items()}
    numpy_files.save_file({name: t.astype(np.float32) for name, t in tensors.items()}, path)
    return path


def full(kept, axis, n=2, m=4):
    """Whether each group of m along the axis keeps n."""
    groups = np.moveaxis(kept, axis, -1).reshape(-1, m).sum(axis=-1)
    return bool((groups == n).all())


@pytest.fixture
def source(tmp_path):
    return save(
        tmp_path / "in.safetensors",
        h__0__c_fc__weight=(8, 32),
        h__0__c_fc__bias=(32,),
        moe__input_linear__weight=(6, 16, 8),
        moe__experts__gate_up_proj=(6, 8, 24),
        moe__experts__down_proj=(6, 12, 8),
        attn__in_proj_weight=(36, 12),
        moe__router__weight=(6, 8),
        lm_head__weight=(32, 8),
    )


AXES = {
    "h.0.c_fc.weight": (1, 0),
    "moe.input_linear.weight": (1, 2),
    "moe.experts.gate_up_proj": (2, 1),
    "moe.experts.down_proj": (2, 1),
    "attn.in_proj_weight": (0, 1),
}


@pytest.mark.parametrize("pattern", ["rows", "columns", "transposable", "unstructured"])
def test_groups_lie_along_inputs_and_outputs(source, tmp_path, pattern):
    target = tmp_path / "out.safetensors"
    report = prune_checkpoint(source, target, 2, 4, pattern=pattern)
    new, old = numpy_files.load_file(target), numpy_files.load_file(source)
    assert {layer.name: layer.layout.axes for layer in report.layers} == AXES
    for name, (outputs, inputs) in AXES.items():
        kept = new[name] != 0
        assert np.array_equal(new[name][kept], old[name][kept])
        assert full(kept, inputs) == (pattern in ("rows", "transposable"))
        assert full(kept, outputs) == (pattern in ("columns", "transposable"))
    for name in set(old) - set(AXES):
        assert np.array_equal(new[name], old[name])
    found = {layer["name"]: layer for layer in report.as_dict()["layers"]}
    assert found["attn.in_proj_weight"]["groups"] == 3
    assert found["moe.experts.down_proj"]["axes"] == [2, 1]
    assert report.sample.mask.ndim == 2


def test_the_projections_of_an_attention_are_masked_each_by_itself(tmp_path):
    """With 6 outputs each, groups of 4 would else reach from one into the next."""
    source = save(tmp_path / "in.safetensors", attn__in_proj_weight=(18, 6))
    target = tmp_path / "out.safetensors"
    prune_checkpoint(source, target, 2, 4)
    dense = numpy_files.load_file(source)["attn.in_proj_weight"]
    expected = np.concatenate([nmflow.solve(part, 2, 4) for part in np.split(dense, 3)])
    assert np.array_equal(numpy_files.load_file(target)["attn.in_proj_weight"] != 0, expected)


@pytest.mark.parametrize("name", AXES)
def test_verification_counts_along_the_layouts_axes(source, tmp_path, name):
    target = tmp_path / "out.safetensors"
    report = prune_checkpoint(source, target, 2, 4, pattern="rows")
    checkpoint, pattern = open_model(source), Pattern(2, 4, "rows")
    layouts = {layer.name: layer.layout for layer in report.layers}

    def failures(**changed):
        layers = [
            Layer(tensor, changed.get(tensor.name, layouts[tensor.name]))
            for tensor in checkpoint.tensors
            if tensor.name in layouts
        ]
        return verify_checkpoint(checkpoint, target, layers, Patterns(pattern), filled=True)

    assert failures() == ()
    turned = Layout(tuple(reversed(layouts[name].axes)))
    assert {failure.tensor for failure in failures(**{name: turned})} == {name}


def prune(source, target, *options):
    return main(["prune", str(source), str(target), *ARGUMENTS, *options])


def test_an_unknown_stack_is_left_and_not_to_be_included(tmp_path, capsys):
    source = save(tmp_path / "in.safetensors", experts__w__weight=(8, 8, 8), up__weight=(8, 8))
    target, report = tmp_path / "out.safetensors", tmp_path / "report.json"
    assert prune(source, target, "--json", str(report)) == 0
    (one,) = json.loads(report.read_text())["skipped"]
    assert one["reason"] == "a stack of experts by an unknown name, 'w'"
    target.unlink()
    assert prune(source, target, "--include", "experts.*") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'experts.w.weight' is F32 of shape (8, 8, 8) (a stack of experts" in error
    assert not target.exists()


@pytest.mark.parametrize("options", [[], ["--include", "*"]])
@pytest.mark.parametrize(
    "shape", [(16, 16, 0), (16, 0), (0, 16), (1,) * 65], ids=["3-D", "right", "left", "65"]
)
def test_odd_tensors_are_left(tmp_path, shape, options):
    """First in the file, so that a picture's sample would be taken from it."""
    data = bytes(4) if len(shape) == 65 else b""
    layer = RNG.standard_normal((16, 16)).astype("<f4").tobytes()
    header = {
        "a.conv.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, len(data)]},
        "b.weight": {
            "dtype": "F32",
            "shape": [16, 16],
            "data_offsets": [len(data), len(data) + len(layer)],
        },
    }
    text = json.dumps(header).encode()
    source = tmp_path / "in.safetensors"
    source.write_bytes(len(text).to_bytes(8, "little") + text + data + layer)
    target, report = tmp_path / "out.safetensors", tmp_path / "report.json"
    assert prune(source, target, "--json", str(report), *options) == 0
    found = json.loads(report.read_text())
    assert [one["name"] for one in found["layers"]] == ["b.weight"]
    assert found["skipped"][0]["reason"] in ("no entries", "more than 5 dimensions")


@pytest.mark.parametrize("option", ["target", "--json", "--figure"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_links_that_lead_in_a_circle(tmp_path, capsys, option, force):
    source = save(tmp_path / "in.safetensors", up__weight=(8, 8))
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    one.symlink_to(other)
    other.symlink_to(one)
    target = one if option == "target" else tmp_path / "out.safetensors"
    more = [] if option == "target" else [option, str(one)]
    assert prune(source, target, *more, *force) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "one.png" in error
    assert {path.name for path in tmp_path.iterdir()} == {"in.safetensors", "one.png", "other.png"}
