"""Weights as matrices, and what modules multiply them by."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import nmflow  # noqa: E402
from nmflow.errors import NmflowError  # noqa: E402
from nmflow.models import Layout  # noqa: E402
from nmflow.torch.conversion.calibrating.features import (  # noqa: E402
    features_of,
    output_projection_inputs,
)
from nmflow.torch.conversion.calibrating.moments import Moments  # noqa: E402
from nmflow.torch.conversion.matrices import Matrices  # noqa: E402
from nmflow.torch.selecting.layout import layouts_of  # noqa: E402
from nmflow.torch.selecting.sites import Site  # noqa: E402

LAYOUTS = [
    ((6, 8), Layout()),
    ((8, 6), Layout((1, 0))),
    ((12, 4), Layout(groups=3)),
    ((8, 4, 3, 2), Layout()),
    ((8, 4, 3, 2), Layout(groups=2)),
    ((5, 8, 4), Layout((1, 2))),
    ((5, 8, 4), Layout((-1, -2))),
]


@pytest.mark.parametrize(("shape", "layout"), LAYOUTS)
def test_there_and_back(shape, layout):
    weight = torch.randn(shape)
    matrices = Matrices(shape, layout)
    split = matrices.split(weight)
    assert split.shape[-1] == matrices.features
    assert torch.equal(matrices.join(split), weight)
    assert torch.equal(matrices.untile(matrices.tiles(split)), split)


@pytest.mark.parametrize(("shape", "layout"), LAYOUTS)
def test_tiles_are_those_that_solve_cuts(shape, layout):
    weight = torch.randn(shape)
    matrices = Matrices(shape, layout)
    mask = nmflow.solve(matrices.tiles(matrices.split(weight)).contiguous(), 1, 2)
    found = matrices.join(matrices.untile(mask))
    apart = layout.matrices(weight)
    expected = nmflow.solve(apart, 1, 2, axes=layout.matrix_axes(weight.ndim))
    assert torch.equal(found, layout.tensor(expected))


def convolutions():
    for groups, stride, dilation, padding in itertools.product((1, 2), (1, 2), (1, 2), (0, 2)):
        yield nn.Conv1d, groups, stride, dilation, padding, "zeros"
        yield nn.Conv2d, groups, stride, dilation, padding, "zeros"
    yield nn.Conv1d, 1, 1, 2, "same", "zeros"
    yield nn.Conv2d, 2, 1, 2, "same", "zeros"
    yield nn.Conv2d, 1, 2, 1, "valid", "zeros"
    yield nn.Conv2d, 1, 1, 1, 1, "circular"
    yield nn.Conv2d, 2, 1, 2, "same", "reflect"
    yield nn.Conv3d, 2, 2, 1, 1, "zeros"


@pytest.mark.parametrize(
    ("kind", "groups", "stride", "dilation", "padding", "mode"), list(convolutions())
)
def test_a_convolution_is_a_linear_layer_of_its_patches(
    kind, groups, stride, dilation, padding, mode
):
    sizes = {nn.Conv1d: 3, nn.Conv2d: (3, 2), nn.Conv3d: (2, 3, 1)}[kind]
    module = kind(
        4,
        6,
        sizes,
        stride,
        padding,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
        bias=False,
    )
    spatial = len(module.kernel_size)
    images = torch.randn(2, 4, *(9, 8, 7)[:spatial])
    expected = module(images)
    found = outputs_of(module, images).unflatten(1, expected.movedim(1, -1).shape[:-1])
    # (groups, batch, places..., outputs of a group)
    found = found.movedim(-1, 1).movedim(2, 0).flatten(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def outputs_of(module, *args, counts=None, tensor="weight"):
    """(groups, samples, outputs), from what is told of the module's call."""
    site = Site("", module, tensor, getattr(module, tensor))
    layout = layouts_of(module)[tensor]
    seen = features_of(site, layout, args, {}, counts)
    split = Matrices(tuple(site.parameter.shape), layout).split(site.parameter.detach())
    return torch.stack(seen) @ split.mT


def test_an_image_without_a_batch():
    module, image = nn.Conv2d(4, 6, 3, bias=False), torch.randn(4, 5, 5)
    found = outputs_of(module, image)[0].T.reshape(6, 3, 3)
    torch.testing.assert_close(found, module(image), rtol=1e-5, atol=1e-5)


def test_padding_is_left_out():
    module, tokens = nn.Linear(4, 6, bias=False), torch.randn(2, 3, 4)
    counts = torch.tensor([[True, True, False], [True, False, False]])
    expected = module(tokens)[counts]
    torch.testing.assert_close(outputs_of(module, tokens, counts=counts)[0], expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention(batch_first):
    module = nn.MultiheadAttention(8, 2, bias=False, batch_first=batch_first).eval()
    query, key = torch.randn(3, 2, 8), torch.randn(3, 2, 8)
    found = outputs_of(module, query, key, key, tensor="in_proj_weight")
    parts = module.in_proj_weight.detach().chunk(3)
    for one, rows, part in zip(found, (query, key, key), parts, strict=True):
        torch.testing.assert_close(one, rows.reshape(-1, 8) @ part.T)
    (seen,) = output_projection_inputs(module, (query, key, key), {})
    expected = module(query, key, key)[0].reshape(-1, 8)
    torch.testing.assert_close(seen @ module.out_proj.weight.T, expected)


def test_a_call_without_features_is_named():
    site = Site("odd", nn.Linear(4, 6), "weight", nn.Linear(4, 6).weight)
    with pytest.raises(NmflowError, match=r"odd.weight: its module \(Linear\) is called"):
        features_of(site, Layout(), (torch.randn(2, 5),), {}, None)


def test_moments_of_calls_are_those_of_all_samples():
    generator = torch.Generator().manual_seed(0)
    # Far from 0 for their spread, where sums of plain squares in float32 would be rounded away.
    seen = torch.randn(60, 5, generator=generator) + torch.tensor([0.0, 1e3, -3e3, 1.0, 0.0])
    dense = seen + torch.randn(60, 5, generator=generator)
    moments = Moments(with_dense=True, keep_inputs=True)
    for k in range(0, 60, 20):
        moments.add([seen[k : k + 20]], [dense[k : k + 20]])
    moments.add([seen[:0]], [dense[:0]])
    x, z = seen.double(), dense.double()
    torch.testing.assert_close(moments.second()[0], x.T @ x / 60, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        moments.second(True)[0], torch.cov(x.T, correction=0), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(moments.cross()[0], z.T @ x / 60, rtol=1e-6, atol=1e-6)
    centred = (z - z.mean(0)).T @ (x - x.mean(0)) / 60
    torch.testing.assert_close(moments.cross(True)[0], centred, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moments.mean()[0], x.mean(0))
    torch.testing.assert_close(moments.dense_mean()[0], z.mean(0))
    assert torch.equal(moments.inputs()[0], seen)
    assert moments.samples == 60


def test_where_the_dense_model_sees_other_samples_there_is_no_other_aim():
    moments, rows = Moments(with_dense=True), torch.randn(6, 3)
    moments.add([rows], [torch.randn(5, 3)])
    assert torch.equal(moments.cross(), moments.second())


def test_offsets_count_from_the_first_call_on():
    moments, rows = Moments(with_dense=True), torch.randn(30, 3)
    offset = torch.randn(20, 2) + 5
    moments.add([rows[:20]], [rows[:20]], offset)
    moments.add([rows[20:]], [rows[20:]])
    whole = torch.cat([offset, torch.zeros(10, 2)]).double()
    product, mean = moments.offset()
    torch.testing.assert_close(product[0], whole.T @ rows.double() / 30, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mean[0], whole.mean(0))
    centred = (whole - whole.mean(0)).T @ (rows - rows.mean(0)).double() / 30
    torch.testing.assert_close(moments.offset(True)[0][0], centred, rtol=1e-5, atol=1e-6)
    late = Moments(with_dense=True)
    late.add([rows[:20]], [rows[:20]])
    late.add([rows[20:]], [rows[20:]], offset[:10])
    assert late.offset() == (None, None)
