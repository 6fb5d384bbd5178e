"""Refreshes of whole models by a few launches: the same masks, and nothing waits."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.cuda.launch import REPLACING, SOLVING  # noqa: E402
from nmflow.cuda.problem import FLIPPED, MATRICES, NOT_FINITE  # noqa: E402
from nmflow.device import kernels  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.torch.solving import joint  # noqa: E402

SHAPES = [(1, 24, 40), (1, 8, 8), (2, 17, 35), (3, 64, 16), (1, 1, 9)]


def model_of(shapes=((32, 16), (16, 32), (48, 16)), dtype=torch.float32):
    layers = [torch.nn.Linear(into, out, dtype=dtype) for out, into in shapes]
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(16, 8, 3))


def dense(layer):
    return layer.parametrizations.weight.original


def move(model, scale=0.05):
    with torch.no_grad():
        for layer in model:
            weight = dense(layer)
            weight.add_(torch.randn_like(weight), alpha=scale)


def axes_of(layer):
    return (0, 1) if isinstance(layer, torch.nn.Conv2d) else (-2, -1)


def check_masks(model, n, m):
    for layer in model:
        expected = nmflow.solve(dense(layer).detach(), n, m, axes=axes_of(layer))
        assert torch.equal(layer.parametrizations.weight[0].mask, expected)


@pytest.mark.parametrize(("n", "m", "warm"), [(2, 4, False), (4, 8, False), (4, 8, True)])
def test_masks_and_counters_are_those_of_each_alone(on_the_host, n, m, warm, rng):
    weights = [torch.from_numpy(rng.integers(-4, 5, shape).astype(np.float32)) for shape in SHAPES]
    weights[0] += torch.from_numpy(rng.standard_normal(SHAPES[0]).astype(np.float32))
    weights = weights * 7
    kind = kernels.kind_of(weights[0], Pattern(n, m), "abs", warm)
    together, apart = ([kernels.potentials_of(each, m) for each in weights] for _ in range(2))
    for _ in range(2):
        on_the_host.launches.clear()
        solved = kernels.solve_each(kind, weights, together)
        assert on_the_host.launches == [(SOLVING, MATRICES), (SOLVING, 35 - MATRICES)]
        for k, each in enumerate(weights):
            alone = kernels.solve_each(kind, [each], apart[k : k + 1])
            assert torch.equal(alone.masks[0], solved.masks[k])
            assert torch.equal(alone.masks[0], nmflow.solve(each, n, m))
            assert torch.equal(alone.counters[0], solved.counters[k])
        assert torch.equal(torch.cat(together), torch.cat(apart))
        assert bool(torch.cat(together).any()) == warm


def test_masks_in_force_of_any_layout_are_replaced_and_flips_counted(on_the_host, rng):
    weights = [torch.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in SHAPES[:4]]
    solved = kernels.solve_each(kernels.kind_of(weights[0], Pattern(2, 4), "abs"), weights)
    whole = [torch.from_numpy(rng.random(np.prod(each.shape) * 3) < 0.5) for each in weights]
    views = [
        flat[: each.numel()].reshape(each.shape)
        if k % 2
        else flat[1 : 1 + 2 * each.numel() : 2]
        .reshape(each.shape[0], each.shape[2], each.shape[1])
        .transpose(1, 2)
        for k, (flat, each) in enumerate(zip(whole, weights, strict=True))
    ]
    before = [view.clone() for view in views]
    solved.put_in_force(views, torch.tensor(1, dtype=torch.int32))
    assert all(torch.equal(a, b) for a, b in zip(views, before, strict=True))
    assert not solved.counters[:, FLIPPED].any()
    outside = [flat.clone() for flat in whole]
    solved.put_in_force(views, torch.tensor(0, dtype=torch.int32))
    for k, (view, mask) in enumerate(zip(views, solved.masks, strict=True)):
        assert torch.equal(view, mask)
        assert solved.counters[k, FLIPPED] == int((before[k] != mask).sum())
        # Nothing beside it was written.
        assert int((whole[k] != outside[k]).sum()) == solved.counters[k, FLIPPED]


def test_a_model_is_refreshed_by_the_same_launches(on_the_host):
    model, alone = model_of(), None
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1, kept_scores=True)
    assert on_the_host.launches == [(SOLVING, 4), (REPLACING, 4)]
    assert set(on_the_host.compiled) == {(4, 8, "float32", False, True)}
    check_masks(model, 4, 8)
    for _ in range(2):
        before = [layer.parametrizations.weight[0].mask.clone() for layer in model]
        versions = [layer.parametrizations.weight[0].mask._version for layer in model]
        move(model)
        statistics = handle.refresh()
        # Autograd learns of it, though a kernel wrote them.
        for layer, version in zip(model, versions, strict=True):
            assert layer.parametrizations.weight[0].mask._version > version
        check_masks(model, 4, 8)
        for layer, old, found in zip(model, before, statistics.layers.values(), strict=True):
            mask = layer.parametrizations.weight[0].mask
            assert found.sad == int((mask != old).sum()) > 0
            scores = dense(layer).detach().abs()
            assert found.kept_score == pytest.approx(float((scores * mask).sum()))
            assert found.score == pytest.approx(float(scores.sum()))
    assert on_the_host.launches == [(SOLVING, 4), (REPLACING, 4)] * 3
    assert [each.n for each in handle.history] == [4, 4, 4]
    assert handle.certify()["0.weight"].gap == 0
    alone = copy.deepcopy(handle)
    assert alone.history[1].sad == handle.history[1].sad


def test_each_weight_starts_from_what_it_left(on_the_host, monkeypatch):
    model = torch.nn.Sequential(*(torch.nn.Linear(16, 32) for _ in range(3)))
    seen, solve_each = [], kernels.solve_each

    def spy(kind, weights, warm):
        before = [each.clone() for each in warm]
        solved = solve_each(kind, weights, warm)
        for each, left, start in zip(weights, warm, before, strict=True):
            # What the same weight leaves alone, of the same start.
            solve_each(kind, [each], [start])
            assert torch.equal(left, start)
            seen.append((each.data_ptr(), left.data_ptr()))
        return solved

    monkeypatch.setattr(joint, "solve_each", spy)
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    move(model)
    handle.step()
    assert len(dict(seen)) == 3
    assert seen[3:] == seen[:3]
    assert seen[:3] == [
        (dense(layer).data_ptr(), masked.solver.potentials.data_ptr())
        for layer, masked in zip(model, handle._masks.layers, strict=True)
    ]


def test_potentials_of_something_else_are_not_taken():
    matrices = torch.ones(1, 16, 24)
    left = kernels.potentials_of(matrices, 8)
    assert kernels.potentials_of(2 * matrices, 8, left) is left
    for others in (left[1:], torch.cat([left, left]), left.to("meta")):
        again = kernels.potentials_of(matrices, 8, others)
        assert (len(again), again.device) == (len(left), matrices.device)
        assert not again.any()


def test_kinds_are_launched_apart_and_what_kernels_cannot_do_is_not(on_the_host):
    model = model_of(((32, 16), (16, 32)))
    model[1].bfloat16()
    model.append(torch.nn.Linear(16, 16))
    on_the_host.refused.add((16, 16))
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=1)
    assert sorted(on_the_host.launches) == sorted(
        [(SOLVING, 2), (SOLVING, 1), (REPLACING, 2), (REPLACING, 1)]
    )
    check_masks(model, 2, 4)
    assert list(handle.history[0].layers) == [f"{k}.weight" for k in range(4)]
    assert handle.history[0].layers["3.weight"].sad == 128
    move(model)
    handle.step()
    check_masks(model, 2, 4)


@pytest.mark.parametrize(
    "options", [{"keep_zeros": True}, {"unit": (2, 2)}, {"method": "greedy"}, {"pattern": "rows"}]
)
def test_what_kernels_know_nothing_of_is_not_theirs(on_the_host, options):
    model = model_of()
    with torch.no_grad():
        for layer in model:
            layer.weight[::2] = 0
    nmflow.torch.sparsify(model, 2, 4, refresh=1, **options)
    assert not on_the_host.launches
    if "keep_zeros" in options:
        assert not any(layer.parametrizations.weight[0].mask[::2].any() for layer in model)


def test_a_users_scores_are_asked_for_once_and_one_weight_at_a_time(on_the_host):
    called = []

    def scores(name, weight):
        called.append(name)
        return weight.abs() + 1

    model = model_of()
    nmflow.torch.sparsify(model, 4, 8, scores=scores, refresh=1)
    assert called == [f"{k}.weight" for k in range(4)]
    # A launch of several would keep all their scores.
    assert not on_the_host.launches


def test_given_masks_are_given_no_more_once_they_are_solved(on_the_host):
    model = model_of()
    masks = {"1.weight": nmflow.solve(torch.randn(16, 32), 4, 8)}
    handle = nmflow.torch.sparsify(model, 4, 8, masks=masks, refresh=1)
    assert handle.state_dict()["given"]["1.weight"]
    handle.refresh()
    assert not any(handle.state_dict()["given"].values())
    check_masks(model, 4, 8)


def test_what_is_on_several_devices_is_waited_for(on_the_host, monkeypatch):
    """None of them knows of NaN on another."""
    several = joint.Joint({})
    several._refused = {"cuda:0": None, "cuda:1": None}
    assert not several.alone
    model = model_of()
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    monkeypatch.setattr(joint.Joint, "alone", False)
    launches = len(on_the_host.launches)
    with torch.no_grad():
        dense(model[1])[0, 0] = float("nan")
    with pytest.raises(nmflow.NmflowError, match=r"1\.weight.*nan at index"):
        handle.step()
    # Nothing was put in force.
    assert on_the_host.launches[launches:] == [(SOLVING, 4)]


class Event:
    """A point of a stream that the device gets to when it is told to."""

    there = False

    def record(self, stream):
        assert stream == "the current stream of cuda:0"

    def query(self):
        return self.there

    def synchronize(self):
        self.there = True


class OnDevice:
    """As much of a tensor as it takes to read one."""

    is_cuda, device = True, "cuda:0"

    def to(self, device, non_blocking):
        assert (device, non_blocking) == ("cpu", True)
        return self


def test_reading_is_ready_when_the_device_got_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", "the current stream of {}".format)
    tensors = [OnDevice(), OnDevice()]
    reading = joint.Reading(tensors)
    assert not reading.ready()
    assert reading.wait() == tensors
    assert reading.ready()


class Late(joint.Reading):
    """Numbers that come when they are told to."""

    there = False

    def ready(self):
        return self.there

    def wait(self):
        assert self.there, "nobody may wait on the way of a step"
        return super().wait()


@pytest.fixture
def late(monkeypatch):
    monkeypatch.setattr(joint, "Reading", Late)
    monkeypatch.setattr(Late, "there", True)
    return Late


def test_steps_do_not_wait_and_what_was_not_finite_is_told_later(on_the_host, late):
    model = model_of()
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    late.there = False
    move(model)
    statistics = handle.step()
    check_masks(model, 4, 8)
    masks = [layer.parametrizations.weight[0].mask.clone() for layer in model]
    move(model)
    with torch.no_grad():
        dense(model[2])[3, 5] = float("nan")
    handle.step()
    move(model)
    handle.step()
    for layer, mask in zip(model, masks, strict=True):
        assert torch.equal(layer.parametrizations.weight[0].mask, mask)
    late.there = True
    assert statistics.flip_rate > 0
    message = r"no masks at step 2.*\n2\.weight: weight of shape \(48, 16\).*index \(3, 5\)"
    with pytest.raises(nmflow.NmflowError, match=message):
        handle.step()
    with torch.no_grad():
        dense(model[2])[3, 5] = 0
    with pytest.raises(nmflow.NmflowError, match=r"(?s)no masks at step 3.*any more"):
        handle.state_dict()
    assert [each.step for each in handle.history] == [0, 1]
    handle.step()
    check_masks(model, 4, 8)
    assert handle.certify()["2.weight"].gap == 0


@pytest.mark.parametrize("wrong", [0, 1])
def test_weights_of_any_kind_keep_all_masks_as_they_are(on_the_host, late, wrong):
    model = model_of(((32, 16), (16, 32)))
    model[1].bfloat16()
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    masks = [layer.parametrizations.weight[0].mask.clone() for layer in model]
    move(model)
    with torch.no_grad():
        dense(model[wrong])[0, 0] = float("nan")
    late.there = False
    handle.step()
    for layer, mask in zip(model, masks, strict=True):
        assert torch.equal(layer.parametrizations.weight[0].mask, mask)
    late.there = True
    with pytest.raises(nmflow.NmflowError, match=rf"step 1.*\n{wrong}\.weight"):
        handle.refresh()


def test_a_refresh_that_is_asked_for_raises_at_once(on_the_host):
    model = model_of()
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    with torch.no_grad():
        dense(model[0])[0, 0] = float("inf")
    with pytest.raises(nmflow.NmflowError, match=r"step 0.*\n0\.weight.*inf at index \(0, 0\)"):
        handle.refresh()
    assert len(handle.history) == 1


def test_a_step_waits_where_some_weights_need_the_host(on_the_host):
    model = model_of()
    on_the_host.refused.add((16, 32))
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=1)
    for wrong in (0, 1, 2):
        masks = [layer.parametrizations.weight[0].mask.clone() for layer in model]
        move(model)
        with torch.no_grad():
            kept = dense(model[wrong])[0, 0].clone()
            dense(model[wrong])[0, 0] = float("nan")
        with pytest.raises(nmflow.NmflowError, match=f"{wrong}.weight.*nan at index"):
            handle.step()
        for layer, mask in zip(model, masks, strict=True):
            assert torch.equal(layer.parametrizations.weight[0].mask, mask)
        with torch.no_grad():
            dense(model[wrong])[0, 0] = kept
    handle.step()
    check_masks(model, 4, 8)


def test_a_policy_that_asks_for_the_flip_rate_gets_it(on_the_host):
    model = model_of()
    policy = nmflow.torch.Refresh(every=1, flip_rate=0.9)
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=policy)
    handle.step()
    # No weight moved, so the next one waits twice as long.
    assert [handle.step() is None for _ in range(4)] == [True, False, True, True]


def test_masks_are_frozen_when_the_policy_ends(on_the_host):
    model = model_of()
    policy = nmflow.torch.Refresh(every=1, begin=1, until=2)
    handle = nmflow.torch.sparsify(model, 4, 8, refresh=policy)
    assert not on_the_host.launches
    for _ in range(2):
        move(model)
        handle.step()
        check_masks(model, 4, 8)
    assert handle.frozen
    handle.bake()


def test_flags_are_of_the_matrix_that_has_them(on_the_host):
    weights = [torch.ones(1, 16, 16) for _ in range(3)]
    weights[1][0, 3, 4] = float("nan")
    kind = kernels.kind_of(weights[0], Pattern(4, 8), "abs")
    solved = kernels.solve_each(kind, weights)
    assert solved.counters[:, NOT_FINITE].tolist() == [0, 1, 0]
