"""Parameters on several devices: masks lie where they do. In a process with eight virtual ones."""

import os
import sys
from pathlib import Path

import pytest
from processes import run

pytest.importorskip("jax")
pytest.importorskip("optax")

CODE = """
import jax, jax.numpy as jnp, numpy as np, optax, nmflow, nmflow.jax
from jax.sharding import NamedSharding, PartitionSpec as P
from jax_training import assert_solved, batches, new_params, stepper

assert len(jax.devices()) == 8
tx = nmflow.jax.sparsify(optax.adam(1e-2), 2, 4, refresh=2, PATTERN)
mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
specs = {"up": {"kernel": P("x", "y"), "bias": P()}, "down": {"kernel": P("y", None)},
         "embed": {"embedding": P()}}
place = lambda tree: jax.tree.map(
    lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)), tree, specs)
alone, sharded = new_params(), place(new_params())
step = stepper(tx)
one, other = tx.init(alone), tx.init(sharded)
for x in batches(3):
    alone, one = step(alone, one, x)
    sharded, other = step(sharded, other, x)
    for path, mask in nmflow.jax.masks(other).items():
        weight = sharded[path.split("/")[0]]["kernel"]
        assert mask.sharding.is_equivalent_to(weight.sharding, 2), (mask.sharding, weight.sharding)
        assert len(mask.sharding.device_set) == 8
assert int(other.last.refreshes) == 2
print("done")
"""

# Of copies on all devices, and of ``init`` under jit.
MORE = """
host = jax.tree.map(np.asarray, sharded)
again = tx.init(host)
jitted = jax.jit(tx.init)(sharded)
for path, mask in nmflow.jax.masks(jitted).items():
    assert np.array_equal(mask, nmflow.jax.masks(again)[path]), path

# Copies on all devices, each with its own part of the batch.
copies = lambda tree: jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), tree)

def mean_step(params, state, inputs):
    from jax_training import masked_loss
    grads = jax.lax.pmean(jax.grad(masked_loss)(params, state, inputs), "devices")
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

many = jax.pmap(mean_step, axis_name="devices")
params, state = copies(new_params()), copies(tx.init(new_params()))
for x in batches(2):
    params, state = many(params, state, x[:, None])
    for mask, path in ((m, p) for p, m in nmflow.jax.masks(state).items()):
        assert all(np.array_equal(mask[0], each) for each in mask[1:])
first = jax.tree.map(lambda leaf: np.asarray(leaf[0]), (params, state))
assert_solved(*first, 2, 4, PATTERN)
"""


@pytest.mark.parametrize("pattern", ["rows", pytest.param("transposable", marks=pytest.mark.slow)])
def test_masks_lie_where_parameters_do(pattern):
    # What compiles fast is looked at from all sides.
    code = (
        CODE if pattern == "transposable" else CODE.replace('print("done")', MORE + 'print("done")')
    )
    path = [str(Path(__file__).parent), *sys.path]
    found = run(
        code.replace("PATTERN", f"pattern={pattern!r}"),
        XLA_FLAGS=f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        JAX_PLATFORMS="cpu",
        PYTHONPATH=":".join(path),
    )
    assert found.splitlines()[-1] == "done"
