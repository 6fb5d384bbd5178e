"""Masks of weights that have no values yet, lose them, or lie elsewhere."""

import pytest

torch = pytest.importorskip("torch")

from masked_nets import masked_of, most_kept, net  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


class TestMetaDevice:
    @pytest.fixture
    def model(self):
        with torch.device("meta"):
            return net()

    @staticmethod
    def give_values(model):
        model.to_empty(device="cpu")
        torch.manual_seed(1)
        for parameter in model.parameters():
            nn.init.normal_(parameter)

    def test_masks_wait_and_say_so(self, model):
        handle = nmflow.torch.sparsify(model, 2, 4)
        assert not handle.report.sparsified
        assert [layer.name for layer in handle.report.waiting] == ["0.weight", "2.weight"]
        assert handle.history == []

    def test_memory_that_comes_is_never_taken_for_a_mask(self, model):
        nmflow.torch.sparsify(model, 2, 4)
        used = [torch.randint(0, 2, (128,), dtype=torch.uint8) for _ in range(1000)]
        del used
        self.give_values(model)
        assert all(masked_of(layer).mask.all() for layer in model[::2])

    def test_the_first_step_solves(self, model):
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=40)
        self.give_values(model)
        assert handle.step().step == 1
        assert len(handle.report.sparsified) == 2
        assert all(certificate.optimal for certificate in handle.certify().values())
        assert handle.step() is None

    def test_fixed_masks_freeze_after_the_first_solve(self, model):
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=None)
        assert not handle.frozen
        with pytest.raises(nmflow.NmflowError, match="were never solved"):
            handle.freeze()
        self.give_values(model)
        handle.step()
        assert handle.frozen
        handle.bake()
        assert [most_kept(layer.weight) for layer in model[::2]] == [2, 2]

    def test_nothing_that_was_not_solved_is_baked(self, model):
        handle = nmflow.torch.sparsify(model, 2, 4)
        self.give_values(model)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for bake in (handle.bake, lambda: nmflow.torch.bake(model), handle.sparse_state_dict):
            with pytest.raises(nmflow.NmflowError, match=r"0\.weight: its mask was never solved"):
                bake()
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_masks_may_come_with_the_state_dict(self, model):
        source = net()
        nmflow.torch.sparsify(source, 2, 4)
        handle = nmflow.torch.sparsify(model, 2, 4)
        model.load_state_dict(source.state_dict(), assign=True)
        assert len(handle.report.sparsified) == 2
        handle.bake()
        assert most_kept(model[0].weight) == 2

    def test_values_that_are_lost_take_the_mask_along(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4)
        self.give_values(model)
        assert masked_of(model[0]).mask.all()
        assert len(handle.report.waiting) == 2
        model.half().float()
        handle.refresh()
        model.to(torch.float64)
        assert len(handle.report.sparsified) == 2

    def test_what_is_offloaded_meanwhile_keeps_its_mask(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4)
        mask = masked_of(model[2]).mask.clone()
        original = model[2].parametrizations.weight
        values = original.original
        original.original = nn.Parameter(values.to("meta"))
        assert list(handle.refresh().layers) == ["0.weight"]
        original.original = values
        assert torch.equal(masked_of(model[2]).mask, mask)
        assert list(handle.refresh().layers) == ["0.weight", "2.weight"]
