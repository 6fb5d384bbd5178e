"""nmflow.torch puts the masks of solve on weights, and takes them off again."""

import copy
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from masked_nets import (  # noqa: E402
    Tied,
    as_it_was,
    masked_of,
    mlp,
    snapshot,
)
from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch.selecting.layout import layouts_of  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


@pytest.mark.parametrize(
    ("module", "name", "axes", "groups"),
    [
        (nn.Linear(12, 10), "weight", (0, 1), 1),
        (nn.Conv1d(8, 12, 3), "weight", (0, 1), 1),
        (nn.Conv2d(16, 12, (3, 2), groups=2), "weight", (0, 1), 2),
        (nn.Conv3d(4, 8, 2), "weight", (0, 1), 1),
        (nn.MultiheadAttention(6, 2), "in_proj_weight", (0, 1), 3),
        (nn.MultiheadAttention(8, 2, kdim=5), "k_proj_weight", (0, 1), 1),
    ],
)
def test_masks_are_those_of_solve(module, name, axes, groups):
    """Each group's weights on their own, out x in at each kernel position."""
    handle = nmflow.torch.sparsify(module, 2, 4)
    dense = module.parametrizations[name].original.detach()
    expected = torch.cat([nmflow.solve(part, 2, 4, axes=axes) for part in dense.chunk(groups)])
    mask = masked_of(module, name).mask
    assert mask.dtype is torch.bool
    assert torch.equal(mask, expected)
    assert torch.equal(getattr(module, name), dense * mask)
    assert handle.certify()[name].optimal


@pytest.mark.parametrize(
    ("pattern", "method", "score"),
    [
        ("rows", "flow", "square"),
        ("columns", "flow", "abs"),
        ("unstructured", "flow", "raw"),
        ("transposable", "greedy-keep", "abs"),
        ("transposable", nmflow.Flow(), "raw"),
    ],
)
def test_patterns_methods_and_scores(pattern, method, score):
    layer = nn.Linear(12, 9)
    options = {"pattern": pattern, "method": method, "score": score}
    handle = nmflow.torch.sparsify(layer, 2, 4, **options, kept_scores=True)
    dense = layer.parametrizations.weight.original.detach()
    expected = nmflow.solve(dense, 2, 4, method, pattern=pattern, score=score)
    assert torch.equal(masked_of(layer).mask, expected)
    (certificate,) = handle.certify().values()
    assert certificate.pattern.name == pattern
    statistics = handle.history[0].layers["weight"]
    assert statistics.kept_score == pytest.approx(certificate.value, rel=1e-5)
    assert statistics.sad == (~expected).sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    layer = nn.Linear(8, 8, dtype=dtype)
    nmflow.torch.sparsify(layer, 2, 4)
    assert layer.weight.dtype is dtype
    dense = layer.parametrizations.weight.original
    assert torch.equal(layer.weight != 0, nmflow.solve(dense, 2, 4))


def test_tied_weights_have_one_mask():
    model = Tied()
    before = snapshot(model)
    handle = nmflow.torch.sparsify(model, 2, 4, include="head")
    assert list(handle.history[0].layers) == ["head.weight"]
    assert "shared with embed.weight" in str(handle.report)
    assert model.embed.weight.eq(model.head.weight).all()
    assert model.embed.parametrizations.weight[0] is model.head.parametrizations.weight[0]
    assert len(list(model.parameters())) == 1
    handle.refresh()
    expected = model(torch.arange(8).reshape(2, 4))
    handle.bake()
    assert model.embed.weight is model.head.weight is before["embed.weight"][0]
    assert torch.equal(model(torch.arange(8).reshape(2, 4)), expected)
    assert (model.head.weight == 0).sum() == 64


def test_the_model_can_be_copied_baked_and_bared():
    model = mlp()
    before = snapshot(model)
    handle = nmflow.torch.sparsify(model, 2, 4)
    twin, x = copy.deepcopy(model), torch.randn(5, 12)
    expected, masks = model(x), [model[0].weight != 0, model[2].weight != 0]
    assert torch.equal(twin(x), expected)
    assert twin[0].parametrizations.weight[0].mask is not masked_of(model[0]).mask
    handle.remove()
    assert as_it_was(model, before)
    assert not torch.equal(model(x), expected)
    assert torch.equal(twin(x), expected), "the copy keeps its own"
    nmflow.torch.bake(twin)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert torch.equal(twin(x), expected)
    assert torch.equal(twin[0].weight != 0, masks[0])
    with pytest.raises(nmflow.NmflowError, match="has no masks"):
        nmflow.torch.remove(twin)
    for call in (handle.step, handle.refresh, handle.bake, handle.freeze, handle.certify):
        with pytest.raises(nmflow.NmflowError, match="the masks were removed"):
            call()
    nmflow.torch.sparsify(model, 2, 4).bake()
    assert torch.equal(model(x), expected)


def test_other_parametrizations_stay():
    layer = nn.MultiheadAttention(8, 2)
    nn.utils.parametrize.register_parametrization(layer, "in_proj_bias", nn.Identity())
    handle = nmflow.torch.sparsify(layer, 2, 4)
    handle.remove()
    assert nn.utils.parametrize.is_parametrized(layer, "in_proj_bias")
    assert isinstance(layer.in_proj_weight, nn.Parameter)


def test_parameters_keep_their_order():
    layer = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    before = snapshot(layer)
    nmflow.torch.sparsify(layer, 2, 4).bake()
    assert list(dict(layer.named_parameters())) == list(before)


def test_parametrizations_on_top_of_masks():
    layer = nn.Linear(8, 8)
    handle = nmflow.torch.sparsify(layer, 2, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    with pytest.raises(nmflow.NmflowError, match=r"^weight goes through Identity after"):
        handle.bake()
    assert handle.refresh().n == 2


def test_pruning_method_of_torch():
    conv = nn.Conv2d(8, 12, 3, groups=2)
    dense = conv.weight.detach().clone()
    assert nmflow.torch.NMPruning.apply(conv, "weight", 2, 4) is conv
    expected = torch.cat([nmflow.solve(part, 2, 4, axes=(0, 1)) for part in dense.chunk(2)])
    assert torch.equal(conv.weight, dense * expected)
    prune.remove(conv, "weight")
    assert torch.equal(conv.weight, dense * expected)
    layer = nn.Linear(8, 8)
    prune.ln_structured(layer, "weight", 0.25, n=1, dim=1)
    gone = layer.weight_mask == 0
    scores = torch.rand(8, 8)
    nmflow.torch.NMPruning.apply(
        layer, "weight", 1, 4, pattern="rows", importance_scores=scores, score="raw"
    )
    expected = nmflow.solve(scores * ~gone, 1, 4, pattern="rows", score="raw") & ~gone
    assert torch.equal(layer.weight_mask, expected.float())
    with pytest.raises(nmflow.NmflowError, match="'bias' of a Linear is no weight"):
        nmflow.torch.NMPruning.apply(nn.Linear(8, 8), "bias", 2, 4)


def test_without_pytorch_the_extra_is_named():
    code = "import sys; sys.modules['torch'] = None; import nmflow.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'nmflow[torch]'" in done.stderr


def test_other_modules_have_no_layout():
    assert layouts_of(nn.Bilinear(4, 4, 4)) == {}
