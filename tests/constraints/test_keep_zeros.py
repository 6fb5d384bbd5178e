"""Zeros of a sparser model that stay zeros: in training, and in files."""

import copy

import numpy as np
import pytest
from safetensors_files import floats, read_layer, write_raw

from nmflow import cli
from nmflow.checkpoint import prune_checkpoint

torch = pytest.importorskip("torch")
import nmflow.torch  # noqa: E402


def sparse_net(share=0.4, seed=0):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.ReLU(), torch.nn.Linear(48, 16))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[torch.rand(parameter.shape) > share] = 0
    return net


def trained(net, handle, steps):
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 32)).square().mean().backward()
        optimizer.step()
        handle.step()


@pytest.mark.parametrize("pattern", ["transposable", "rows"])
@pytest.mark.parametrize("m", [4, 8])
def test_zeros_stay_while_the_model_learns(pattern, m):
    net = sparse_net()
    zero = [net[i].weight.detach().clone() == 0 for i in (0, 2)]
    handle = nmflow.torch.sparsify(
        net, m // 2, m, pattern=pattern, keep_zeros=True, refresh=nmflow.torch.Refresh(2, ramp=4)
    )
    trained(net, handle, 7)
    handle.refresh()
    for layer, where in zip((net[0], net[2]), zero, strict=True):
        dense = layer.parametrizations.weight.original
        # The straight-through gradient moves them, and no mask keeps them.
        assert (dense[where] != 0).any()
        mask = layer.parametrizations.weight[0].mask
        assert not (mask & where).any()
        options = {"pattern": pattern, "within": ~where, "at_most": True}
        assert nmflow.certify(dense.detach(), mask, m // 2, m, **options).optimal
    for certificate in handle.certify().values():
        assert certificate.optimal
    nmflow.torch.bake(net)
    assert (net[0].weight[zero[0]] == 0).all()


def test_training_goes_on_from_a_state():
    net = sparse_net()
    handle = nmflow.torch.sparsify(net, 2, 4, keep_zeros=True, refresh=2)
    trained(net, handle, 3)
    model, state = copy.deepcopy(net.state_dict()), copy.deepcopy(handle.state_dict())
    # Made of other weights, whose zeros are elsewhere.
    again = sparse_net(seed=1)
    other = nmflow.torch.sparsify(again, 2, 4, keep_zeros=True, refresh=2)
    again.load_state_dict(model)
    other.load_state_dict(state)
    for each, its in ((net, handle), (again, other)):
        torch.manual_seed(7)
        trained(each, its, 4)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    plain = nmflow.torch.sparsify(sparse_net(), 2, 4, refresh=2)
    with pytest.raises(nmflow.NmflowError, match="zeros kept"):
        plain.load_state_dict(state)


def test_what_cannot_keep_zeros():
    with pytest.raises(nmflow.NmflowError, match="'greedy' knows neither"):
        nmflow.torch.sparsify(sparse_net(), 2, 4, method="greedy", keep_zeros=True)
    with torch.device("meta"):
        net = torch.nn.Linear(32, 32)
    with pytest.raises(nmflow.NmflowError, match="meta device"):
        nmflow.torch.sparsify(net, 2, 4, keep_zeros=True)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_files(tmp_path, dtype):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    kind, shape, data = floats(dtype, (40, 48))
    bits = np.frombuffer(data, f"u{len(data) // (40 * 48)}").copy()
    bits[np.random.default_rng(3).random(bits.size) < 0.6] = 0
    write_raw(source, {"layer.weight": (kind, shape, bits.tobytes())})
    report = prune_checkpoint(source, target, 4, 8, keep_zeros=True)
    (layer,) = report.layers
    assert layer.certificate.optimal
    kept = read_layer(target, "layer.weight") != 0
    tiles = kept.reshape(5, 8, 6, 8)
    assert tiles.sum(axis=1).max() <= 4
    assert tiles.sum(axis=3).max() <= 4
    plain = prune_checkpoint(source, tmp_path / "plain.safetensors", 4, 8)
    # A mask that must fill its tiles with zeros loses some of what a freer one keeps.
    assert layer.certificate.value >= plain.layers[0].certificate.value
    again = tmp_path / "again.safetensors"
    assert cli.main(["prune", str(source), str(again), "-n", "4", "-m", "8", "--keep-zeros"]) == 0
    assert again.read_bytes() == target.read_bytes()
