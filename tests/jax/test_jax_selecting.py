"""Which parameters are masked, along which axes: Flax Linen, Flax NNX, Equinox, plain trees."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from jax_training import new_params  # noqa: E402

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402
from nmflow.jax.selecting import Selection  # noqa: E402
from nmflow.models import Layout  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402


def chosen(params, n=2, m=4, pattern="transposable", **options):
    """What is masked, with its axes, and why all else is not."""
    weights, report = Selection(Pattern(n, m, pattern), **options).choose(params)
    assert [layer.name for layer in report.sparsified] == [weight.path for weight in weights]
    layouts = {weight.path: weight.layout for weight in weights}
    return layouts, {layer.name: layer.note for layer in report.skipped}


def odd_params():
    """With a layer whose edges are ragged."""
    return new_params() | {"odd": {"kernel": jnp.ones((16, 11))}}


def test_linen():
    nn = pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, image, tokens):
            x = nn.Conv(8, (3, 3))(image)
            x = nn.Conv(16, (3, 3))(nn.BatchNorm(use_running_average=True)(x))
            x = nn.Conv(16, (3, 3), feature_group_count=16, name="depthwise")(x)
            y = nn.Embed(12, 16)(tokens)
            y = nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(y))
            y = nn.RNN(nn.LSTMCell(16))(y)
            router = nn.Dense(4, name="router")(y)
            x = nn.ConvTranspose(8, (2, 2))(x)
            y = nn.Dense(8)(nn.Dense(16)(y))
            return nn.Dense(8, name="head")(x.mean((1, 2)) + y.mean(1)), router

    inputs = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 5), int)
    for tree in (lambda v: v, lambda v: v["params"]):
        params = tree(jax.eval_shape(Net().init, jax.random.key(0), *inputs))
        layouts, skipped = chosen(params)
        prefix = "params/" if "params" in params else ""
        attention = f"{prefix}MultiHeadDotProductAttention_0"
        assert layouts == {
            f"{prefix}Conv_1/kernel": Layout((3, 2)),
            f"{prefix}Dense_0/kernel": Layout((1, 0)),
            f"{prefix}Dense_1/kernel": Layout((1, 0)),
            f"{attention}/query/kernel": Layout((2, 0)),
            f"{attention}/key/kernel": Layout((2, 0)),
            f"{attention}/value/kernel": Layout((2, 0)),
            f"{attention}/out/kernel": Layout((2, 1)),
        }
        why = {name.removeprefix(prefix): note for name, note in skipped.items()}
        assert why["Embed_0/embedding"] == "embedding (dense unless included)"
        assert why["router/kernel"] == "router (dense unless included)"
        assert why["head/kernel"] == "head (dense unless included)"
        assert why["Conv_0/kernel"] == "matrices of 8 x 3 are too small for m = 4"
        assert why["depthwise/kernel"] == "matrices of 16 x 1 are too small for m = 4"
        assert why["ConvTranspose_0/kernel"] == "transposed convolution"
        recurrent = [note for name, note in why.items() if "LSTMCell_0" in name]
        assert set(recurrent) == {"recurrent (dense unless included)"}
        assert len(recurrent) == 8


def test_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(12, 16, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(16, 16, rngs=rngs) for _ in range(2)])
            self.norm = nnx.BatchNorm(16, rngs=rngs)
            self.conv = nnx.Conv(16, 8, (3, 3), rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 16, rngs=rngs, decode=False)
            self.adapter = nnx.LoRA(16, 4, 16, rngs=rngs)
            self.head = nnx.Linear(16, 8, rngs=rngs)

    model = Net(nnx.Rngs(0))
    layouts = {
        "attention/key/kernel": Layout((2, 0)),
        "attention/out/kernel": Layout((2, 1)),
        "attention/query/kernel": Layout((2, 0)),
        "attention/value/kernel": Layout((2, 0)),
        "blocks/0/kernel": Layout((1, 0)),
        "blocks/1/kernel": Layout((1, 0)),
        "conv/kernel": Layout((3, 2)),
    }
    for params in (nnx.state(model, nnx.Param), nnx.as_pure(nnx.state(model, nnx.Param)), model):
        found, skipped = chosen(params)
        assert found == layouts
        assert skipped["adapter/lora_a"].startswith("adapter")
        assert skipped["embed/embedding"] == "embedding (dense unless included)"
        assert skipped["head/kernel"] == "head (dense unless included)"


def test_equinox():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        table: eqx.nn.Embedding
        layers: list
        up: eqx.nn.ConvTranspose2d
        norm: eqx.nn.LayerNorm
        attention: eqx.nn.MultiheadAttention
        cell: eqx.nn.GRUCell
        stack: eqx.nn.Linear
        value: jax.Array
        head: eqx.nn.Linear
        activation: object

        def __init__(self, key):
            keys = jax.random.split(key, 9)
            self.table = eqx.nn.Embedding(12, 16, key=keys[0])
            self.layers = [
                eqx.nn.Conv2d(16, 8, 3, groups=2, key=keys[1]),
                eqx.nn.Conv1d(8, 8, 3, key=keys[2]),
                eqx.nn.Linear(8, 16, key=keys[3]),
            ]
            self.up = eqx.nn.ConvTranspose2d(8, 16, 2, key=keys[4])
            self.norm = eqx.nn.LayerNorm((8, 16))
            self.attention = eqx.nn.MultiheadAttention(2, 16, key=keys[5])
            self.cell = eqx.nn.GRUCell(16, 16, key=keys[6])
            make = eqx.filter_vmap(lambda key: eqx.nn.Linear(16, 8, key=key))
            self.stack = make(jax.random.split(keys[7], 3))
            self.value = jnp.ones((8, 8))
            self.head = eqx.nn.Linear(16, 8, key=keys[8])
            self.activation = jax.nn.relu

    model = Net(jax.random.key(0))
    for params in (model, eqx.filter(model, eqx.is_inexact_array)):
        layouts, skipped = chosen(params)
        assert layouts == {
            "layers/0/weight": Layout((0, 1), groups=2),
            "layers/1/weight": Layout((0, 1)),
            "layers/2/weight": Layout((0, 1)),
            **{f"attention/{name}_proj/weight": Layout((0, 1)) for name in ("key", "output")},
            **{f"attention/{name}_proj/weight": Layout((0, 1)) for name in ("query", "value")},
            "stack/weight": Layout((1, 2)),
        }
        assert skipped["table/weight"] == "embedding (dense unless included)"
        assert skipped["up/weight"] == "transposed convolution"
        assert skipped["cell/weight_ih"] == "recurrent (dense unless included)"
        assert skipped["value"] == "not named weight (dense unless included)"
        assert skipped["head/weight"] == "head (dense unless included)"
        assert skipped["norm/weight"].startswith("norm")
    state = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4).init(eqx.filter(model, eqx.is_inexact_array))
    grouped = np.asarray(model.layers[0].weight)
    wanted = nmflow.solve(grouped.reshape(2, 4, 8, 3, 3), 2, 4, axes=(1, 2))
    assert np.array_equal(nmflow.jax.masks(state)["layers/0/weight"], wanted.reshape(8, 8, 3, 3))
    masked = nmflow.jax.apply_masks(model, state)
    assert masked.activation is model.activation
    assert (
        np.asarray(masked.layers[0].weight) == np.where(wanted.reshape(8, 8, 3, 3), grouped, 0)
    ).all()


def test_include_and_exclude():
    params = odd_params() | {"head": {"kernel": jnp.ones((8, 8))}}
    everything = {"up/kernel", "down/kernel", "odd/kernel"}
    assert set(chosen(params)[0]) == everything
    layouts, skipped = chosen(params, exclude=["up/*", lambda path, leaf: leaf.shape[1] == 11])
    assert set(layouts) == {"down/kernel"}
    assert skipped["up/kernel"] == skipped["odd/kernel"] == "excluded"
    layouts, skipped = chosen(params, include=["head", "embed/embedding"], exclude="*embed*")
    assert set(layouts) == {"head/kernel"}
    assert skipped["up/kernel"] == "not included"
    assert set(chosen(params, include=lambda path, leaf: path.startswith("u"))[0]) == {"up/kernel"}


def test_layouts_of_your_own():
    params = {"linear": {"w": jnp.ones((8, 12))}, "mix": {"w": jnp.ones((4, 8, 12))}}
    with pytest.raises(nmflow.NmflowError, match="nothing to sparsify"):
        chosen(params)
    layouts, _ = chosen(params, layouts={"*/w": (-1, -2)})
    assert layouts == {"linear/w": Layout((1, 0)), "mix/w": Layout((2, 1))}
    for axes, fault in (((1,), "needs its axes"), ((0, 5), "needs its axes"), ((1, -1), "twice")):
        with pytest.raises(nmflow.NmflowError, match=rf"layouts: 'linear/w' has .*{fault}"):
            chosen(params, layouts={"linear/w": axes})


def test_globs_that_match_nothing():
    params = new_params()
    for options, name in (
        ({"include": "encoder/*"}, "include pattern 'encoder/\\*'"),
        ({"exclude": ["up/*", "dwn/kernel"]}, "exclude pattern 'dwn/kernel'"),
        ({"layouts": {"upp/kernel": (1, 0)}}, "layouts pattern 'upp/kernel'"),
    ):
        with pytest.raises(nmflow.NmflowError, match=rf"{name} matches no .*nearest are '\w+/kern"):
            chosen(params, **options)
    with pytest.raises(nmflow.NmflowError, match="include takes globs and functions"):
        chosen(params, include=[3])
    patterns = Selection({"upp/*": Pattern(2, 4)})
    with pytest.raises(nmflow.NmflowError, match=r"the pattern 'upp/\*' matches no"):
        patterns.choose(params)


def test_parameters_with_nothing_to_mask():
    with pytest.raises(nmflow.NmflowError, match="head/kernel is dense by default, include='head"):
        chosen({"head": {"kernel": jnp.ones((8, 8))}})
    with pytest.raises(nmflow.NmflowError, match="of dtype int32: float16"):
        chosen({"a": {"kernel": jnp.ones((8, 8), int)}})


def test_the_report():
    params = odd_params() | {"names": "not an array"}
    tx = nmflow.jax.sparsify(optax.sgd(1.0), {"up*": (2, 4), "odd*": (4, 8)})
    assert str(tx.report(params)).splitlines() == [
        "4:8 transposable, 2:4 transposable: 2 sparsified, 2 SKIPPED",
        "  down/kernel      32 x 16  SKIPPED: no pattern is given for it",
        "  embed/embedding   9 x 16  SKIPPED: embedding",
        "  odd/kernel       16 x 11  sparsified 4:8 transposable: groups at the edges of 11 x 16"
        " keep at most 4",
        "  up/kernel        16 x 32  sparsified 2:4 transposable",
        "1,376 of 1,376 parameters are masked (50 %)".replace("1,376 of 1,376", "688 of 1,376"),
    ]
