"""What sparsify masks, says of every weight, and refuses."""

import pytest

torch = pytest.importorskip("torch")

from masked_nets import Tied, as_it_was, mlp, snapshot  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def test_every_weight_has_its_line():
    model = nn.ModuleDict(
        {
            "good": nn.Linear(8, 8),
            "ragged": nn.Linear(10, 8),
            "small": nn.Linear(8, 2),
            "depthwise": nn.Conv1d(8, 8, 3, groups=8),
            "embed": nn.Embedding(8, 8),
            "recurrent": nn.GRU(8, 8),
            "up": nn.ConvTranspose1d(8, 8, 2),
            "attention": nn.MultiheadAttention(8, 2, add_bias_kv=True),
            "lazy": nn.LazyLinear(8),
            "normed": parametrizations.spectral_norm(nn.Linear(8, 8)),
            "weighed": parametrizations.weight_norm(nn.Linear(8, 8)),
            "complex": nn.Linear(8, 8, dtype=torch.complex64),
            "out": nn.Linear(8, 8),
            "norm": nn.LayerNorm(8),
        }
    )
    handle = nmflow.torch.sparsify(model, 2, 4, exclude="out")
    notes = {line.name: line.note for line in handle.report.skipped}
    foreign = "no matrix of a linear, convolution or attention layer ({})"
    assert notes == {
        "small.weight": "matrices of 2 x 8 are too small for m = 4",
        "depthwise.weight": "matrices of 1 x 1 are too small for m = 4",
        "embed.weight": "embedding (dense unless included)",
        "recurrent.weight_ih_l0": "recurrent",
        "recurrent.weight_hh_l0": "recurrent",
        "up.weight": foreign.format("ConvTranspose1d"),
        "attention.bias_k": "bias",
        "attention.bias_v": "bias",
        "lazy.weight": "has no shape yet: run a forward pass first",
        "normed.weight": "has a parametrization of its own, _SpectralNorm",
        "weighed.weight": "has a parametrization of its own, _WeightNorm",
        "complex.weight": "of dtype torch.complex64: float16, bfloat16, float32 and float64 can be"
        " masked",
        "out.weight": "excluded",
    }
    done = {line.name: line.note for line in handle.report.sparsified}
    assert done == {
        "good.weight": "",
        "attention.in_proj_weight": "",
        "attention.out_proj.weight": "",
        "ragged.weight": "groups at the edges of 8 x 10 keep at most 2",
    }
    text = str(handle.report)
    assert text.startswith("2:4 transposable: 4 sparsified, 13 SKIPPED\n")
    assert text.count("\n") == 18


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ("[02]", None, ["0.weight", "2.weight"]),
        (["0", "2"], "2", ["0.weight"]),
        (None, lambda name, module: module.out_features == 16, ["2.weight"]),
        (lambda name, module: name == "2", (), ["2.weight"]),
    ],
)
def test_include_and_exclude(include, exclude, expected):
    handle = nmflow.torch.sparsify(mlp(), 2, 4, include=include, exclude=exclude)
    assert [line.name for line in handle.report.sparsified] == expected
    assert list(handle.certify()) == expected


def nan_in(model):
    with torch.no_grad():
        model[2].weight[3, 1] = float("nan")
    return model


def sparsified(model):
    nmflow.torch.sparsify(model, 2, 4, include="0")
    return model


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(8, 2), nn.Embedding(9, 8)),
            {},
            r"nothing to sparsify in this Sequential(.|\n)*0.weight .* too small for m = 4",
        ),
        (mlp, {"include": "layer*"}, r"include pattern 'layer\*' matches no module"),
        (mlp, {"include": ["0", "1"]}, r"include pattern '1' matches no module .*'0'"),
        (Tied, {"include": "bed*"}, r"include pattern 'bed\*' matches no module .*'head'"),
        (Tied, {"exclude": "head"}, "nothing to sparsify(.|\n)*head.weight .*: excluded"),
        (mlp, {"exclude": "head"}, "exclude pattern 'head' matches no module"),
        (mlp, {"include": "0", "exclude": "0"}, "nothing to sparsify"),
        (lambda: nan_in(mlp()), {}, r"2.weight: (.|\n)*nan at index \(3, 1\)"),
        (mlp, {"rule": "sr_ste"}, "unknown rule 'sr_ste': choose 'ste', 'sr-ste'"),
        (mlp, {"refresh": 0}, "every must be at least 1 steps, got 0"),
        (mlp, {"refresh": 2.5}, "refresh must be an integer"),
        (mlp, {"score": "l1"}, "^unknown score 'l1'"),
        (mlp, {"method": "flo"}, "unknown method 'flo'"),
        (mlp, {"pattern": "rows", "method": "greedy"}, "is approximate"),
        (mlp, {"workers": 0}, "workers must be"),
    ],
)
def test_bad_input_leaves_the_model_as_it_was(make, options, message):
    model = make()
    before = snapshot(model)
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.torch.sparsify(model, 2, 4, **options)
    assert as_it_was(model, before)


def test_sparsifying_twice():
    model = sparsified(mlp())
    keys = list(model.state_dict())
    with pytest.raises(nmflow.NmflowError, match=r"0.weight is sparsified already: remove\(\) or"):
        nmflow.torch.sparsify(model, 2, 4)
    assert list(model.state_dict()) == keys
    other = nmflow.torch.sparsify(model, 2, 4, include="2")
    assert {line.name: line.note for line in other.report.skipped}["0.weight"] == "not included"
    other.remove()
    assert model[0].weight.count_nonzero() == 96
    assert model[2].weight.count_nonzero() == 128
