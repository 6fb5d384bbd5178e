"""Two processes agree on their masks, whether they share weights or cut them up."""

import os

import pytest

torch = pytest.importorskip("torch")

from torch import multiprocessing, nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402

if not torch.distributed.is_gloo_available():
    pytest.skip("PyTorch without gloo", allow_module_level=True)

from torch import distributed  # noqa: E402
from torch.distributed.checkpoint import state_dict as checkpoint  # noqa: E402
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.optim import SGD  # noqa: E402

RANKS = 2


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 18), nn.Tanh(), nn.Linear(18, 8))


def masks_of(model):
    return {name: b.clone() for name, b in model.named_buffers() if name.endswith("mask")}


def flips(handle):
    return [each.sad for each in handle.history]


def sparsify(model):
    return nmflow.torch.sparsify(model, 2, 4, refresh=2, rule=nmflow.torch.SRSTE(0.1))


def train(model, handle, part=slice(None)):
    """A few steps on a part of the batch; masks, flips and gaps after them."""
    optimizer = SGD(model.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 64).reshape(8, 8)[part]
    for _ in range(4):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        handle.step()
    gaps = [certificate.gap for certificate in handle.certify().values()]
    return {"masks": masks_of(model), "flips": flips(handle), "gaps": gaps}


def halves(rank):
    return slice(4 * rank, 4 * rank + 4)


def alone():
    model = net(0)
    return train(model, sparsify(model)) | {"weights": model.state_dict()}


def data_parallel(rank):
    # Seeds differ: PyTorch makes weights and masks of rank 0 everybody's.
    model = net(rank)
    handle = sparsify(model)
    found = train(DistributedDataParallel(model), handle, halves(rank))
    found["masks"] = masks_of(model)
    return found | {"weights": model.state_dict()}


def data_parallel_first(rank):
    """Masks put on a model that is wrapped already."""
    wrapped = DistributedDataParallel(net(0))
    handle = sparsify(wrapped)
    found = train(wrapped, handle, halves(rank))
    state = handle.sparse_state_dict()
    assert next(iter(state)).startswith("module.")
    names = {name: name.removeprefix("module.") for name in found["masks"]}
    found["masks"] = {names[name]: mask for name, mask in found["masks"].items()}
    return found | {"weights": wrapped.module.state_dict()}


def sharded_the_old_way(rank):
    """FSDP1 frees the memory of weights: one clear error instead of a crash."""
    model = net(0)
    handle = sparsify(model)
    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    wrapped(torch.ones(4, 8)).sum().backward()
    for call in (handle.refresh, handle.bake, handle.certify):
        with pytest.raises(nmflow.NmflowError, match="use FSDP2"):
            call()


def fully_sharded(rank):
    model = net(0)
    handle = sparsify(model)
    mesh = distributed.init_device_mesh("cpu", (RANKS,))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    found = train(model, handle, halves(rank))
    local = model[0].parametrizations.weight.original.to_local()
    assert local.shape == (9, 8), "9 is no multiple of 4"
    for call in (handle.bake, handle.remove):
        with pytest.raises(nmflow.NmflowError, match="is sharded: gather the state"):
            call()
    late = net(0)
    fully_shard(late, mesh=mesh)
    with pytest.raises(nmflow.NmflowError, match=r"0.weight is sharded already: sparsify before"):
        nmflow.torch.sparsify(late, 2, 4)
    options = checkpoint.StateDictOptions(full_state_dict=True)
    return found | {"weights": checkpoint.get_model_state_dict(model, options=options)}


def process(rank, folder):
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=RANKS)
    try:
        found = [data_parallel(rank), data_parallel_first(rank), fully_sharded(rank)]
        torch.save(found, f"{folder}/{rank}.pt")
        sharded_the_old_way(rank)
    finally:
        distributed.destroy_process_group()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_find_the_masks_of_one(tmp_path):
    expected = alone()  # first, so that kernels are compiled once
    multiprocessing.spawn(process, (str(tmp_path),), nprocs=RANKS)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for first, second in zip(*ranks, strict=True):
        assert same(first["masks"], second["masks"])
        assert same(first["masks"], expected["masks"])
        assert first["flips"][1:] == second["flips"][1:] == expected["flips"][1:]
        assert first["gaps"] == second["gaps"] == [0, 0]
        torch.testing.assert_close(first["weights"], expected["weights"])
    assert sum(expected["flips"][1:]) > 0
    copies = [found[0]["weights"] for found in ranks]
    assert same(*copies)
