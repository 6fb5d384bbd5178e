"""DTensors are solved by shards, and the mask is that of the tensor whole, in every placement."""

import os
import random
from datetime import timedelta

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402

if not torch.distributed.is_gloo_available():
    pytest.skip("PyTorch without gloo", allow_module_level=True)

from torch import distributed, multiprocessing  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import (  # noqa: E402
    DTensor,
    Partial,
    Replicate,
    Shard,
    distribute_tensor,
    init_device_mesh,
)
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module  # noqa: E402

from nmflow.sharded.exchange import cuts_none, shard_bounds, tile_bounds  # noqa: E402

RANKS = 4
IMPORTED = ["torch._dynamo", "torch.distributed.fsdp", "nmflow.solvers.flow.method"]
PATTERNS = ["transposable", "rows", "columns", "unstructured"]


def weights(shape, dtype=torch.float32, seed=0):
    """Small integers: most tiles have ties."""
    values = np.random.default_rng(seed).integers(-3, 4, shape)
    return torch.from_numpy(values).to(dtype)


def sharded(whole, mesh, placements):
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)


def check(whole, mesh, placements, n=2, m=4, **options):
    """The mask and the certificate of a sharded tensor are those of the tensor."""
    tensor = sharded(whole, mesh, placements)
    mask = nmflow.solve(tensor, n, m, **options)
    expected = nmflow.solve(whole, n, m, **options)
    assert isinstance(mask, DTensor)
    assert mask.placements == tensor.placements
    assert mask.shape == tensor.shape
    assert mask.dtype is torch.bool
    assert mask.to_local().shape == tensor.to_local().shape
    told = f"{tuple(whole.shape)} {placements} {options}"
    assert torch.equal(mask.full_tensor(), expected), told
    for given in (mask, expected):
        found = nmflow.certify(tensor, given, n, m, **options)
        assert found == nmflow.certify(whole, expected, n, m, **options), told


def every_placement(line, square):
    """By hand: what aligns, what doesn't, ranks that get nothing, and a batch axis."""
    for placement in (Shard(0), Shard(1), Shard(-1), Replicate()):
        for shape in ((16, 32), (9, 10), (3, 5), (40, 6)):
            check(weights(shape), line, [placement])
    for axis in range(3):
        check(weights((6, 9, 10)), line, [Shard(axis)])
        check(weights((6, 9, 10)), line, [Shard(axis)], axes=(2, 0))
    for pair in (
        (Shard(0), Shard(1)),
        (Shard(1), Shard(0)),
        (Shard(0), Replicate()),
        (Replicate(), Shard(1)),
        (Replicate(), Replicate()),
        (Shard(0), Shard(0)),
        (Shard(1), Shard(1)),
    ):
        check(weights((18, 14)), square, pair)
        check(weights((16, 32)), square, pair)


def at_random(line, square):
    """Everything together; ranks draw the same."""
    draw = random.Random(7)
    kinds = [Replicate(), Shard(0), Shard(1), Shard(2)]
    for seed in range(24):
        mesh = draw.choice([line, square])
        shape = tuple(draw.randint(1, 20) for _ in range(3))
        dtype = draw.choice([torch.float32, torch.bfloat16, torch.float64, torch.int8])
        options = {
            "pattern": draw.choice(PATTERNS),
            "unit": draw.choice([(1, 1), (2, 1)]),
            "axes": draw.choice([(1, 2), (0, 2), (2, 1)]),
        }
        placements = [draw.choice(kinds) for _ in range(mesh.ndim)]
        check(weights(shape, dtype, seed), mesh, placements, **options)


def constraints(line):
    whole = weights((18, 12))
    allowed = torch.from_numpy(np.random.default_rng(1).random((18, 12)) < 0.7)
    expected = nmflow.solve(whole, 2, 4, within=allowed, at_most=True)
    for placement in (Shard(0), Shard(1)):
        tensor = sharded(whole, line, [placement])
        for within in (allowed, sharded(allowed, line, [Shard(1)])):
            mask = nmflow.solve(tensor, 2, 4, within=within, at_most=True)
            assert torch.equal(mask.full_tensor(), expected)
            found = nmflow.certify(tensor, mask, 2, 4, within=within, at_most=True)
            assert found == nmflow.certify(whole, expected, 2, 4, within=allowed, at_most=True)


def refusals(line, square):
    whole = weights((18, 12))
    partial = DTensor.from_local(whole, line, [Partial()])
    uneven = DTensor.from_local(
        torch.ones(2 + distributed.get_rank(), 4),
        line,
        [Shard(0)],
        run_check=False,
        shape=torch.Size((14, 4)),
        stride=(4, 1),
    )
    for tensor, message in ((partial, r"\(P.*redistribute it"), (uneven, "torch.chunk")):
        with pytest.raises(nmflow.NmflowError, match=message):
            nmflow.solve(tensor, 2, 4)
        with pytest.raises(nmflow.NmflowError, match=message):
            nmflow.certify(tensor, torch.ones(tensor.shape), 2, 4)
    tensor = sharded(whole, line, [Shard(0)])
    with pytest.raises(nmflow.NmflowError, match=r"mask of shape \(3,\)"):
        nmflow.certify(tensor, torch.ones(3), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="on the same mesh"):
        nmflow.certify(tensor, sharded(whole > 0, square, [Shard(0)] * 2), 2, 4)
    for call in (
        lambda: nmflow.solve_with_prices(tensor, 2, 4),
        lambda: nmflow.Tracker(tensor.shape, 2, 4).update(tensor),
        lambda: nmflow.certify(whole, tensor > 0, 2, 4),
    ):
        with pytest.raises(nmflow.NmflowError, match=r"is a DTensor.*full_tensor\(\)"):
            call()
    with pytest.raises(nmflow.NmflowError, match="did you mean 'flow'"):
        nmflow.solve(tensor, 2, 4, "flwo")
    with pytest.raises(nmflow.NmflowError, match=r"shape \(18, 12\).*axes"):
        nmflow.solve(tensor, 2, 4, axes=(0, 2))


def errors_are_everybodys(line, square):
    """One shard has a NaN: all raise, and say where in the whole tensor it is."""
    whole = weights((18, 12))
    whole[17, 5] = torch.nan
    for mesh, placements in ((line, [Shard(0)]), (square, [Shard(1), Replicate()])):
        tensor = sharded(whole, mesh, placements)
        with pytest.raises(nmflow.NmflowError, match=r"\(18, 12\).*nan at index \(17, 5\)"):
            nmflow.solve(tensor, 2, 4)
        with pytest.raises(nmflow.NmflowError, match=r"nan at index \(17, 5\)"):
            nmflow.certify(tensor, torch.ones(18, 12), 2, 4)


def wrong_masks_add_up(square):
    whole = weights((18, 14), torch.float64) * 1.1
    mask = nmflow.solve(whole, 2, 4)
    mask[17, 3] ^= True
    mask[5, 13] ^= True
    expected = nmflow.certify(whole, mask, 2, 4)
    for placements in ((Shard(0), Shard(1)), (Replicate(), Shard(0)), (Replicate(), Replicate())):
        found = nmflow.certify(sharded(whole, square, placements), mask, 2, 4)
        assert set(found.violations) == set(expected.violations)
        assert (found.value, found.bound, found.tiles, found.optimal_tiles) == (
            *(expected.value, expected.bound, expected.tiles, expected.optimal_tiles),
        )


def models(line, square):
    """Parameters as fully_shard leaves them, alone and on top of tensor parallelism."""
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 18)
    expected = nmflow.solve(model.weight, 2, 4)
    fully_shard(model, mesh=line)
    mask = nmflow.solve(model.weight, 2, 4)
    assert torch.equal(mask.full_tensor(), expected)
    with torch.no_grad():
        model.weight.mul_(mask)
    assert nmflow.certify(model.weight, mask, 2, 4).optimal
    both = torch.nn.Linear(12, 16)
    expected = nmflow.solve(both.weight, 2, 4)
    names = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    parallelize_module(both, names["tensor"], ColwiseParallel())
    fully_shard(both, mesh=names["data"])
    mask = nmflow.solve(both.weight, 2, 4)
    assert mask.placements == both.weight.placements
    assert torch.equal(mask.full_tensor(), expected)


def process(rank, folder):
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=60),
    )
    try:
        line = init_device_mesh("cpu", (RANKS,))
        square = init_device_mesh("cpu", (2, 2))
        every_placement(line, square)
        at_random(line, square)
        constraints(line)
        refusals(line, square)
        errors_are_everybodys(line, square)
        wrong_masks_add_up(square)
        models(line, square)
    finally:
        distributed.destroy_process_group()


def test_shards_find_the_mask_of_the_whole_tensor(tmp_path):
    nmflow.solve(weights((18, 12)), 2, 4)  # so that kernels are compiled once
    # All begin as copies of one process, which has imported what takes longest.
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED)
    multiprocessing.start_processes(
        process, (str(tmp_path),), nprocs=RANKS, start_method="forkserver"
    )


def test_bounds_are_those_of_torch_chunk_and_multiples_of_tiles():
    for length in range(1, 30):
        for shards in range(1, 6):
            bounds = shard_bounds(length, shards)
            sizes = [len(part) for part in torch.arange(length).chunk(shards)]
            assert np.diff(bounds).tolist() == sizes + [0] * (shards - len(sizes))
            for step in range(1, 6):
                wanted = tile_bounds(length, shards, step)
                assert (wanted[0], wanted[-1], len(wanted)) == (0, length, shards + 1)
                assert cuts_none(wanted, step)
                assert np.diff(wanted).max() <= -(-bounds[1] // step) * step
                assert cuts_none(bounds, step) == (
                    not any(bound % step for bound in bounds if bound != length)
                )
