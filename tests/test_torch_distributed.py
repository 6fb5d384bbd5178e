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
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.optim import SGD  # noqa: E402

RANKS = 2


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 18), nn.Tanh(), nn.Linear(18, 8))


def masks_of(model):
    return {name: b.clone() for name, b in model.named_buffers() if name.endswith("mask")}


def train(model, inner, handle, rank, steps=4):
    """Each process on its half of the batch."""
    optimizer = SGD(model.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 64).reshape(8, 8).chunk(RANKS)[rank]
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        handle.step()
    return masks_of(inner)


def alone():
    """The same training in one process."""
    model = net(0)
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=2, rule=nmflow.torch.SRSTE(0.1))
    optimizer = SGD(model.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 64).reshape(8, 8)
    for _ in range(4):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        handle.step()
    return {"masks": masks_of(model), "weights": model.state_dict(), "flips": flips(handle)}


def flips(handle):
    return [each.sad for each in handle.history]


def data_parallel(rank):
    # Seeds differ: PyTorch makes weights and masks of rank 0 everybody's.
    model = net(rank)
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=2, rule=nmflow.torch.SRSTE(0.1))
    masks = train(DistributedDataParallel(model), model, handle, rank)
    gaps = [certificate.gap for certificate in handle.certify().values()]
    return {"masks": masks, "weights": model.state_dict(), "gaps": gaps}


def fully_sharded(rank):
    model = net(0)
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=2, rule=nmflow.torch.SRSTE(0.1))
    mesh = distributed.init_device_mesh("cpu", (RANKS,))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    masks = train(model, model, handle, rank)
    local = model[0].parametrizations.weight.original.to_local()
    assert local.shape == (9, 8), "no multiple of 4"
    gaps = [certificate.gap for certificate in handle.certify().values()]
    for call in (handle.bake, handle.remove):
        with pytest.raises(nmflow.NmflowError, match="is sharded: gather the state"):
            call()
    options = checkpoint.StateDictOptions(full_state_dict=True)
    weights = checkpoint.get_model_state_dict(model, options=options)
    late = net(0)
    fully_shard(late, mesh=mesh)
    with pytest.raises(nmflow.NmflowError, match=r"0.weight is sharded already: sparsify before"):
        nmflow.torch.sparsify(late, 2, 4)
    return {"masks": masks, "weights": weights, "gaps": gaps, "flips": flips(handle)}


def process(rank, folder):
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=RANKS)
    try:
        torch.save([data_parallel(rank), fully_sharded(rank)], f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each process found, DDP's and FSDP2's."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(process, (str(folder),), nprocs=RANKS)
    both = [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]
    return {
        "data_parallel": [each[0] for each in both],
        "fully_sharded": [each[1] for each in both],
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("way", ["data_parallel", "fully_sharded"])
def test_two_processes_find_the_masks_of_one(results, way):
    first, second = results[way]
    expected = alone()
    assert same(first["masks"], second["masks"])
    assert same(first["masks"], expected["masks"])
    assert first["gaps"] == second["gaps"] == [0, 0]
    # The full state dict of a sharded model is on rank 0 alone.
    torch.testing.assert_close(first["weights"], expected["weights"])


def test_copies_of_the_weights_stay_equal(results):
    first, second = results["data_parallel"]
    assert same(first["weights"], second["weights"])


def test_shards_flip_as_the_whole_does(results):
    first, second = results["fully_sharded"]
    assert first["flips"] == second["flips"] == alone()["flips"]
    assert sum(first["flips"][1:]) > 0
