"""When masks are refreshed, and how many entries they keep by then."""

import pytest

torch = pytest.importorskip("torch")


from masked_nets import dense_of, exact, masked_of, net, sgd, train  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import Refresh  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


@pytest.mark.parametrize(
    ("policy", "steps", "expected"),
    [
        (3, 7, [(0, 2), (3, 2), (6, 2)]),
        (Refresh(every=2, until=5), 9, [(0, 2), (2, 2), (4, 2), (5, 2)]),
        (Refresh(every=4, begin=6), 12, [(6, 2), (10, 2)]),
        (Refresh(every=2, ramp=6), 9, [(4, 3), (6, 2), (8, 2)]),
        (Refresh(every=3, begin=2, ramp=4, until=7), 9, [(5, 3), (7, 2)]),
        (Refresh(every=2, ramp=8, schedule="cubic"), 9, [(2, 3), (4, 3), (6, 3), (8, 2)]),
        (Refresh(every=2, ramp=8, schedule=lambda share: share**2), 9, [(6, 3), (8, 2)]),
    ],
)
def test_refresh_policies(policy, steps, expected):
    """At which steps there are new masks, and how many of every 4 they keep."""
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=policy)
    optimizer = sgd(model, 0.01)

    def look(refreshed):
        assert refreshed is None or exact(model, refreshed.n, 4)

    train(model, optimizer, handle, steps, look)
    assert [(each.step, each.n) for each in handle.history] == expected
    assert handle.frozen == (getattr(policy, "until", None) is not None)


def test_refreshes_grow_rare_while_masks_hold():
    model = net()
    policy = Refresh(every=2, ramp=4, flip_rate=0.01, longest=6)
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=policy)
    for _ in range(24):
        handle.step()
    assert [each.step for each in handle.history] == [2, 4, 6, 10, 16, 22]
    with torch.no_grad():
        dense_of(model[0]).copy_(torch.randn(16, 8))
    for _ in range(12):
        handle.step()
    assert [each.step for each in handle.history][-3:] == [28, 30, 34]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1"),
        ({"ramp": -1}, "ramp must be at least 0"),
        ({"until": 0}, "until must be at least 1"),
        ({"begin": 5, "ramp": 5, "until": 9}, "until=9 comes before the ramp ends at step 10"),
        ({"flip_rate": 1.5}, "flip_rate must be between 0 and 1"),
        ({"every": 1.5}, "every must be an integer"),
    ],
)
def test_wrong_policies(options, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        Refresh(**options)


class TestPolicies:
    def test_masks_follow_again_after_unfreezing(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=Refresh(every=3, until=3))
        for _ in range(4):
            handle.step()
        assert handle.frozen
        handle.unfreeze()
        with torch.no_grad():
            dense_of(model[0]).copy_(torch.randn(16, 8))
        assert handle.step().sad > 0
        assert [bool(handle.step()) for _ in range(6)] == [False, False, True] * 2
        model(torch.ones(1, 8)).sum().backward()
        assert (dense_of(model[0]).grad[~masked_of(model[0]).mask] != 0).any()
        handle.freeze()
        handle.unfreeze(refresh=2)
        assert [bool(handle.step()) for _ in range(4)] == [True, False, True, False]

    def test_an_earlier_state_thaws_what_froze_since(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=Refresh(every=2, until=4))
        handle.step()
        early = handle.state_dict()
        for _ in range(4):
            handle.step()
        assert handle.frozen
        handle.load_state_dict(early)
        assert not handle.frozen
        assert [bool(handle.step()) for _ in range(4)] == [True, False, True, False]
        assert handle.frozen

    @pytest.mark.parametrize("schedule", ["quartic", 3])
    def test_unknown_schedules(self, schedule):
        with pytest.raises(nmflow.NmflowError, match="choose linear, cubic, or a function"):
            Refresh(ramp=4, schedule=schedule)

    def test_a_schedule_that_leaves_its_range(self):
        policy = Refresh(every=1, ramp=4, schedule=lambda share: 2 * share)
        handle = nmflow.torch.sparsify(net(), 2, 4, refresh=Refresh(every=100))
        handle.unfreeze(policy)
        for _ in range(2):
            handle.step()
        with pytest.raises(nmflow.NmflowError, match=r"schedule\(0.75\) must be .* got 1.5"):
            handle.step()

    def test_stages_are_known_beforehand(self):
        policy = Refresh(every=3, begin=2, ramp=10)
        pattern = nmflow.Pattern(2, 8)
        assert policy.stages(pattern) == {policy.kept(step, pattern) for step in (2, 5, 8, 11, 12)}

    def test_history_is_bounded(self):
        handle = nmflow.torch.sparsify(net(), 2, 4, refresh=1)
        for _ in range(150):
            handle.step()
        assert [each.step for each in handle.history] == list(range(51, 151))
