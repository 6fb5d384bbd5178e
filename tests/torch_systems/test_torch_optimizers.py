"""What the hooks of optimizers see, and whom they warn."""

import gc
import warnings

import pytest

torch = pytest.importorskip("torch")


from masked_nets import dense_of, masked_of, net, sgd  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch import optimizers  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def step_alone(optimizer, times):
    for _ in range(times):
        optimizer.step()


def test_a_loop_that_forgets_step_is_warned_once():
    model = net()
    nmflow.torch.sparsify(model, 2, 4)  # the handle is dropped, too
    gc.collect()
    optimizer = sgd(model)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"stepped twice without handle.step\(\)") as caught:
        optimizer.step()
    assert caught[0].filename == __file__
    step_alone(optimizer, 5)


def test_nobody_else_is_warned():
    model = net()
    handle = nmflow.torch.sparsify(model, 2, 4)
    two = [sgd(model[0]), sgd(model[2])]
    for _ in range(3):
        for optimizer in two:
            optimizer.step()
        handle.step()
    step_alone(sgd(nn.Linear(8, 8)), 3)
    handle.freeze()
    step_alone(two[0], 3)
    model = net()
    optimizer, handle = sgd(model), nmflow.torch.sparsify(model, 2, 4)
    held = model[0].parametrizations.weight
    handle.remove()
    step_alone(optimizer, 3)
    assert held.original is model[0].weight


def test_dead_models_are_not_watched():
    gc.collect()
    before = len(optimizers._WATCHED)
    model = net()
    nmflow.torch.sparsify(model, 2, 4)
    assert len(optimizers._WATCHED) == before + 2
    del model
    gc.collect()
    assert len(optimizers._WATCHED) == before


class TestOptimizers:
    def test_others_are_looked_at_once(self, monkeypatch):
        handle = nmflow.torch.sparsify(net(), 2, 4)
        other = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
        optimizer.step()
        looks = []

        class Counted(list):
            def __iter__(self):
                looks.append(1)
                return super().__iter__()

        for group in optimizer.param_groups:
            group["params"] = Counted(group["params"])
        looks_of_a_step = []
        for _ in range(3):
            looks.clear()
            optimizers._before(optimizer, (optimizer,), {})
            optimizers._after(optimizer, (optimizer,), {})
            looks_of_a_step.append(len(looks))
        assert looks_of_a_step == [0, 0, 0]
        del handle

    def test_parameters_that_come_later_are_seen(self):
        model = net()
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=1.0)
        handle = nmflow.torch.sparsify(model, 2, 4, rule=nmflow.torch.SRSTE(0.5))
        optimizer.step()
        optimizer.add_param_group({"params": list(model.parameters())})
        before, pruned = dense_of(model[0]).detach().clone(), ~masked_of(model[0]).mask
        dense_of(model[0]).grad = torch.zeros(16, 8)
        optimizer.step()
        torch.testing.assert_close(dense_of(model[0]).detach(), before - 0.5 * before * pruned)
        del handle

    def test_sr_ste_says_when_no_optimizer_is_reached(self):
        handle = nmflow.torch.sparsify(net(), 2, 4, rule="sr-ste")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(60):
                handle.step()
                assert bool(caught) == (step >= 19)
        (only,) = caught
        assert "SR-STE's decay of pruned weights is not applied" in str(only.message)
        assert only.filename == __file__

    def test_a_scaler_that_skips_steps_is_no_reason(self):
        """As it does while it looks for its factor, and after an overflow later."""
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, rule="sr-ste")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for step in range(60):
                if 10 < step < 15:
                    optimizer.step()
                handle.step()

    def test_sr_ste_says_nothing_where_one_is(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, rule="sr-ste")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                optimizer.step()
                handle.step()
