"""A state goes through Orbax bit for bit, and a training goes on as if it had not stopped."""

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
ocp = pytest.importorskip("orbax.checkpoint")

from jax_training import assert_same, batches, new_params, stepper  # noqa: E402

import nmflow.jax  # noqa: E402


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_stops_and_goes_on(tmp_path):
    policy = nmflow.jax.Refresh(every=2, begin=1, ramp=2, until=7, flip_rate=0.5)
    tx = nmflow.jax.sparsify(optax.adam(1e-2), 2, 4, pattern="rows", rule="sr-ste", refresh=policy)
    step, inputs = stepper(tx), batches(9)
    params = new_params()
    state = tx.init(params)
    for x in inputs[:4]:
        params, state = step(params, state, x)
    saved = {"params": params, "state": state}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", saved)
        checkpointer.wait_until_finished()
        blank = {"params": new_params(1), "state": tx.init(new_params(1))}
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, blank)
        found = checkpointer.restore(tmp_path / "checkpoint", shapes)
    assert_same(found, saved)
    again, resumed = found["params"], found["state"]
    for x in inputs[4:]:
        params, state = step(params, state, x)
        again, resumed = step(again, resumed, x)
    assert_same((again, resumed), (params, state))
    assert int(state.last.step) == 7
