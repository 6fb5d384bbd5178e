"""What happens to masks when models are copied and modules exchanged."""

import copy
import pickle
import warnings

import pytest

torch = pytest.importorskip("torch")

from masked_nets import dense_of, drift, masked_of, most_kept, net  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils.parametrize import transfer_parametrizations_and_params  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


class TestCopies:
    def test_a_handle_is_copied_with_its_model(self):
        class Holder:
            pass

        holder = Holder()
        holder.handle = None
        holder.model = net()
        holder.handle = nmflow.torch.sparsify(holder.model, 2, 4, refresh=2)
        drift(holder.model, holder.handle, 3)
        twin = copy.deepcopy(holder)
        before = masked_of(holder.model[0]).mask.clone()
        drift(twin.model, twin.handle, 5)
        twin.handle.refresh()
        assert torch.equal(masked_of(holder.model[0]).mask, before)
        expected = nmflow.solve(dense_of(twin.model[0]).detach(), 2, 4)
        assert torch.equal(masked_of(twin.model[0]).mask, expected)
        twin.handle.bake()
        assert type(twin.model[0]) is nn.Linear
        holder.handle.refresh()
        assert holder.model(torch.ones(1, 8)).shape == (1, 8)
        holder.handle.bake()

    def test_a_copy_counts_flips_of_its_own(self):
        layer = nn.Linear(64, 64)
        handle = nmflow.torch.sparsify(layer, 4, 8)
        twin = copy.deepcopy(handle)
        with torch.no_grad():
            dense_of(twin._masks.model).copy_(torch.randn(64, 64))
            dense_of(layer).copy_(torch.randn(64, 64))
        for each in (twin, handle):
            model = each._masks.model
            before = masked_of(model).mask.clone()
            assert each.refresh().sad == (before != masked_of(model).mask).sum()

    def test_sr_ste_acts_once_in_a_copy(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, rule=nmflow.torch.SRSTE(0.5))
        twin = copy.deepcopy(handle)
        layer = twin._masks.model[0]
        before, pruned = dense_of(layer).detach().clone(), ~masked_of(layer).mask
        dense_of(layer).grad = torch.zeros(16, 8)
        torch.optim.SGD(layer.parameters(), lr=1.0).step()
        torch.testing.assert_close(dense_of(layer).detach(), before - 0.5 * before * pruned)

    def test_pickling_ends_in_one_line(self):
        handle = nmflow.torch.sparsify(net(), 2, 4)
        with pytest.raises(nmflow.NmflowError, match=r"save model\.state_dict\(\) and handle\."):
            pickle.dumps(handle)

    @pytest.mark.parametrize("kind", ["weights", "weights and buffers", "every entry"])
    def test_moving_averages(self, kind):
        """Masks of an average are left behind or no masks at all; one call solves them anew."""
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=3)
        average = AveragedModel(
            model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=kind == "weights and buffers"
        )
        for _ in range(12):
            drift(model, handle, 3)
            if kind == "every entry":
                with torch.no_grad():
                    entries = zip(average.state_dict().values(), average.state_dict(), strict=True)
                    for ours, name in entries:
                        if name != "n_averaged":
                            theirs = model.state_dict()[name.removeprefix("module.")]
                            ours.copy_(0.9 * ours + 0.1 * theirs)
            else:
                average.update_parameters(model)
        if kind != "weights":
            with pytest.raises(nmflow.NmflowError, match="groups hold more than 2 of 4"):
                nmflow.torch.bake(average)
        nmflow.torch.refresh(average)
        for layer in average.module[::2]:
            expected = nmflow.solve(dense_of(layer).detach(), 2, 4)
            assert torch.equal(masked_of(layer).mask, expected)
        nmflow.torch.bake(average)
        assert [most_kept(layer.weight) for layer in average.module[::2]] == [2, 2]

    def test_a_copy_that_cannot_be_solved_stays_as_it_was(self):
        model = net()
        nmflow.torch.sparsify(model, 2, 4)
        twin = copy.deepcopy(model)
        with torch.no_grad():
            dense_of(twin[0]).copy_(torch.randn(16, 8))
            dense_of(twin[2])[1, 2] = torch.nan
        before = [masked_of(layer).mask.clone() for layer in twin[::2]]
        with pytest.raises(nmflow.NmflowError, match=r"2\.weight: .*nan at index \(1, 2\)"):
            nmflow.torch.refresh(twin)
        after = [masked_of(layer).mask for layer in twin[::2]]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class TestExchangedModules:
    def test_masks_are_found_in_the_model_as_it_is_now(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4)
        new = nn.Linear(8, 16)
        transfer_parametrizations_and_params(model[0], new)
        model[0] = new
        with torch.no_grad():
            dense_of(new).copy_(torch.randn(16, 8))
        handle.refresh()
        assert torch.equal(masked_of(new).mask, nmflow.solve(dense_of(new).detach(), 2, 4))
        handle.bake()
        assert not hasattr(new, "parametrizations")
        assert most_kept(new.weight) == 2

    def test_quantization_aware_training(self):
        ao = pytest.importorskip("torch.ao.quantization")
        model = net().train()
        handle = nmflow.torch.sparsify(model, 2, 4)
        model.qconfig = ao.default_qat_qconfig
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch moves quantization elsewhere
            ao.prepare_qat(model, inplace=True)
        assert type(model[0]).__bases__[0] is torch.ao.nn.qat.Linear
        drift(model, handle, 2)
        handle.refresh()
        handle.bake()
        assert most_kept(model[0].weight) == 2

    def test_a_layer_that_is_gone_is_said(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4)
        model[2] = nn.Identity()
        assert list(handle.refresh().layers) == ["0.weight"]
        assert "no longer in the model" in str(handle.report)
        handle.freeze()
        handle.bake()

    def test_freed_memory_is_never_read(self):
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4)
        freed = torch.empty(8, 8)
        freed.untyped_storage().resize_(0)
        dense_of(layer).data = freed
        for call in (handle.refresh, handle.bake, handle.remove, handle.certify):
            with pytest.raises(nmflow.NmflowError, match="was freed, as FullyShardedDataParallel"):
                call()
