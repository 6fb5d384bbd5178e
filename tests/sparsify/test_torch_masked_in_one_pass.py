"""Selecting in one compiled pass: the bits of PyTorch's two, and never over what others hold."""

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, mask_of  # noqa: E402
from torch import nn  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow.torch.masking import select as selecting  # noqa: E402

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def passes(monkeypatch):
    """What the compiled kernels were asked for."""
    asked = []
    kernels = selecting._kernels()

    def noting(name, kernel):
        def call(*args):
            asked.append(name)
            kernel(*args)

        return call

    noted = {
        width: (noting("written", write), noting("in place", clear))
        for width, (write, clear) in kernels.items()
    }
    monkeypatch.setattr(selecting, "_kernels", lambda: noted)
    if not noted:
        pytest.skip("kernels are not compiled")
    return asked


def layer():
    """A layer under frozen masks."""
    torch.manual_seed(0)
    made = nn.Linear(16, 8)
    nmflow.torch.sparsify(made, 4, 8, refresh=None)
    return made


def assert_masked(gradient, full, mask):
    torch.testing.assert_close(gradient, torch.where(mask, full, 0), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (7, 5), (64, 1024), (3, 4, 5, 6)], ids=str)
def test_the_bits_of_what_is_kept(dtype, shape, passes):
    values = torch.randn(shape).to(dtype)
    values.view(-1)[::3] = torch.inf
    values.view(-1)[1::5] = torch.nan
    values.view(-1)[2::7] = -0.0
    mask = torch.rand(shape) < 0.5
    found = selecting.select(values, mask)
    wanted = torch.where(mask, values, 0)
    width = selecting._BITS[values.element_size()]
    assert torch.equal(found.view(width), wanted.view(width))
    assert passes == ["written"]


@pytest.mark.parametrize(
    "values",
    [torch.randn(6, 8).T, torch.randn(8, 12)[:, ::2], torch.randn(8, 1).expand(8, 6)],
    ids=["transposed", "strided", "expanded"],
)
def test_other_memory_layouts_are_left_to_pytorch(values, passes):
    mask = torch.rand(8, 6) < 0.5
    assert torch.equal(selecting.select(values, mask), torch.where(mask, values, 0))
    assert not passes


def test_several_threads_are_left_to_pytorch(passes):
    torch.set_num_threads(2)
    values, mask = torch.randn(256, 256), torch.rand(256, 256) < 0.5
    values[::3] = torch.inf
    found, wanted = selecting.select(values, mask), torch.where(mask, values, 0)
    assert torch.equal(found.view(torch.int32), wanted.view(torch.int32))
    assert not passes


@pytest.mark.parametrize(
    ("made", "inputs"),
    [(nn.Linear(16, 8), (2, 16)), (nn.Conv2d(8, 8, 3), (2, 8, 4, 4))],
    ids=["linear", "convolution"],
)
def test_a_fresh_gradient_is_masked_in_place(made, inputs, passes):
    nmflow.torch.sparsify(made, 4, 8, refresh=None)
    passes.clear()
    made(torch.ones(inputs)).square().sum().backward()
    assert passes == ["written", "in place"]
    assert dense_of(made).grad[~mask_of(made)].eq(0).all()
    assert dense_of(made).grad[mask_of(made)].ne(0).all()


def _hook_on_the_weight(held, weight):
    weight.register_hook(held.append)
    return weight.T


def _hook_on_its_entries(held, weight):
    # The gradient that is masked is a view of this one.
    flat = weight.view(-1)
    flat.register_hook(held.append)
    return flat


def _hook_that_detaches(held, weight):
    weight.register_hook(lambda gradient: held.append(gradient.detach()))
    return weight.T


def _hook_on_the_node(held, weight):
    weight.grad_fn.register_prehook(lambda gradients: held.append(gradients[0]))
    return weight.T


def _kept_by_pytorch(held, weight):
    weight.retain_grad()
    held.append(None)
    return weight.T


@pytest.mark.parametrize(
    "hold",
    [
        _hook_on_the_weight,
        _hook_on_its_entries,
        _hook_that_detaches,
        _hook_on_the_node,
        _kept_by_pytorch,
    ],
    ids=lambda hold: hold.__name__[1:],
)
def test_a_gradient_that_somebody_holds_is_left_alone(hold):
    made, held = layer(), []
    weight = made.weight
    used = hold(held, weight)
    (used * torch.full(used.shape, 3.0)).sum().backward()
    seen = weight.grad if held[0] is None else held[0]
    assert seen.eq(3).all()
    assert_masked(dense_of(made).grad, torch.full((8, 16), 3.0), mask_of(made))


def test_a_gradient_that_is_handed_in_is_left_alone():
    made, given = layer(), torch.ones(8, 16)
    made.weight.backward(given)
    assert given.eq(1).all()
    assert_masked(dense_of(made).grad, given, mask_of(made))


def test_gradients_of_several_uses_add_up():
    made = layer()
    first, second = made.weight, made.weight
    (first.sum() + (2 * first).sum() + (3 * second).sum()).backward()
    assert_masked(dense_of(made).grad, torch.full((8, 16), 6.0), mask_of(made))
    made(torch.ones(1, 16)).sum().backward()
    assert_masked(dense_of(made).grad, torch.full((8, 16), 7.0), mask_of(made))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@torch.no_grad()
def test_what_is_recorded_computes_the_mask():
    made, inputs = layer(), torch.randn(2, 16)
    mask, doubled = mask_of(made), 2 * dense_of(made)
    traced = torch.jit.trace(made, inputs)
    drawn = make_fx(lambda weight: selecting.select(weight, mask))(dense_of(made))
    assert torch.equal(drawn(doubled), torch.where(mask, doubled, 0))
    dense_of(made).copy_(doubled)
    torch.testing.assert_close(traced(inputs), made(inputs))


def test_several_weights_under_vmap():
    weights, mask = torch.randn(3, 8, 8), torch.rand(8, 8) < 0.5
    found = torch.func.vmap(lambda weight: selecting.select(weight, mask))(weights)
    assert torch.equal(found, torch.where(mask, weights, 0))
