"""Run by ``test_jax_sharding.py`` in a process of its own, which has eight devices."""

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

import nmflow
import nmflow.jax


def refused(weights, n, m, **options):
    """The message."""
    try:
        nmflow.jax.solve(weights, n, m, **options)
    except nmflow.NmflowError as error:
        return str(error)
    raise AssertionError("not refused")


def check(kind):
    """Batch axes and tile axes, concrete and traced, on a mesh whose axes are of one kind."""
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
    jax.set_mesh(mesh)
    weights = np.random.default_rng(0).standard_normal((2, 32, 36)).astype(np.float32)
    expected = nmflow.solve(weights, 2, 4)

    def put(*spec, values=weights):
        return jax.device_put(values, NamedSharding(mesh, Spec(*spec)))

    for spec in (("b", "a"), (None, ("a", "b"))):
        mask = nmflow.jax.solve(put(*spec), 2, 4)
        assert np.array_equal(mask, expected), spec
        assert mask.sharding.is_equivalent_to(put(*spec).sharding, 3), spec
    weights_there = put("b", "a")
    gradient = jax.jit(jax.grad(lambda w: (w * nmflow.jax.solve(w, 2, 4)).sum()))
    assert np.array_equal(gradient(weights_there), expected)
    spec = Spec("b", "a")
    inside = jax.shard_map(
        lambda w: nmflow.jax.solve(w, 2, 4), mesh=mesh, in_specs=spec, out_specs=spec
    )
    assert np.array_equal(jax.jit(inside)(weights_there), expected)

    message = refused(put(None, None, "a"), 2, 4)
    assert "axis 2 is cut into 4 shards of 9" in message, message
    assert "multiple of 4" in message, message
    assert "axis 1 is cut" in refused(put(None, "a"), 8, 16)
    rows = nmflow.jax.solve(put(None, "a"), 8, 16, pattern="rows")
    assert np.array_equal(rows, nmflow.solve(weights, 8, 16, pattern="rows"))
    assert "axis 1" in refused(put(None, "a"), 8, 16, pattern="columns")
    assert "whole matrices" in refused(put(None, "a"), 2, 4, pattern="unstructured")
    loose = nmflow.jax.solve(put("b"), 2, 4, pattern="unstructured")
    assert np.array_equal(loose, nmflow.solve(weights, 2, 4, pattern="unstructured"))
    bad = weights.copy()
    bad[1, 2, 3] = np.nan
    message = refused(put("b", "a", values=bad), 2, 4)
    assert "nan at index (1, 2, 3)" in message, message


if __name__ == "__main__":
    import sys

    check(getattr(jax.sharding.AxisType, sys.argv[1]))
