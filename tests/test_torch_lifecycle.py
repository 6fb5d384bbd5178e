"""What happens to masks when models are copied, moved, exchanged, loaded and written to."""

import copy
import io
import pickle
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.parametrize import transfer_parametrizations_and_params  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))


def masked_of(layer):
    return layer.parametrizations.weight[0]


def dense_of(layer):
    return layer.parametrizations.weight.original


def most_kept(weight, m=4):
    """The most non-zeros in any group of m along either axis, counted here."""
    kept = weight.detach() != 0
    rows = kept.unflatten(1, (-1, m)).sum(-1).max()
    columns = kept.T.unflatten(1, (-1, m)).sum(-1).max()
    return int(max(rows, columns))


def train(model, handle, steps, lr=0.3):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        x = torch.randn(32, 8)
        optimizer.zero_grad()
        (model(x) - x.sin()).square().mean().backward()
        optimizer.step()
        if handle is not None:
            handle.step()


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


class TestCopies:
    def test_a_handle_is_copied_with_its_model(self):
        class Holder:
            pass

        holder = Holder()
        holder.handle = None
        holder.model = net()
        holder.handle = nmflow.torch.sparsify(holder.model, 2, 4, refresh=2)
        train(holder.model, holder.handle, 3)
        twin = copy.deepcopy(holder)
        before = masked_of(holder.model[0]).mask.clone()
        train(twin.model, twin.handle, 5)
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
            train(model, handle, 3)
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
        train(model, handle, 2)
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


class TestWrites:
    """The weight of a masked layer is computed: what is written to it must not be lost."""

    @pytest.fixture
    def layer(self):
        torch.manual_seed(0)
        layer = nn.Linear(8, 8)
        nmflow.torch.sparsify(layer, 2, 4)
        return layer

    @pytest.mark.parametrize(
        "merge",
        [
            lambda weight, delta: weight.data.add_(delta),
            lambda weight, delta: weight.add_(delta),
            lambda weight, delta: weight.__iadd__(delta),
            lambda weight, delta: weight.__setitem__((slice(None), 0), delta[0]),
            lambda weight, delta: setattr(weight, "data", weight + delta),
            lambda weight, delta: weight.data.addmm_(delta, delta),
            lambda weight, delta: weight.mul_(delta),
        ],
    )
    def test_merges_are_refused(self, layer, merge):
        before = layer.weight.detach().clone()
        with torch.no_grad(), pytest.raises(nmflow.NmflowError, match="the write would be lost"):
            merge(layer.weight, torch.randn(8, 8))
        assert torch.equal(layer.weight, before)

    @pytest.mark.parametrize(
        "initialise",
        [nn.init.zeros_, nn.init.xavier_uniform_, nn.init.trunc_normal_, nn.init.kaiming_normal_],
    )
    def test_initialisations_go_to_the_dense_weight(self, layer, initialise):
        plain = torch.empty(8, 8)
        torch.manual_seed(3)
        initialise(plain)
        torch.manual_seed(3)
        initialise(layer.weight)
        assert torch.equal(dense_of(layer), plain)
        assert torch.equal(layer.weight, plain * masked_of(layer).mask)
        layer.weight.data.fill_(2.0)
        assert (dense_of(layer) == 2).all()

    def test_copies_and_assignments_go_to_the_dense_weight(self, layer):
        value = torch.randn(8, 8)
        with torch.no_grad():
            layer.weight.copy_(value)
        assert torch.equal(dense_of(layer), value)
        layer.weight = 2 * value
        assert torch.equal(dense_of(layer), 2 * value)
        assert torch.equal(layer.weight, 2 * value * masked_of(layer).mask)

    def test_frozen_masks_refuse_what_they_would_take_away(self):
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4, refresh=None)
        value = torch.randn(8, 8)
        for assign in (lambda: setattr(layer, "weight", value), lambda: layer.weight.copy_(value)):
            with torch.no_grad(), pytest.raises(nmflow.NmflowError, match="masks are frozen, and"):
                assign()
        layer.weight = value * masked_of(layer).mask
        handle.unfreeze()
        layer.weight = value

    def test_tying_a_weight_to_itself_changes_nothing(self, layer):
        before = dense_of(layer).detach().clone()
        layer.weight = layer.weight
        assert torch.equal(dense_of(layer), before)

    def test_of_another_layer_the_values_are_taken(self, layer):
        other = nn.Linear(8, 8)
        nmflow.torch.sparsify(other, 2, 4)
        masked = other.weight.detach().clone()
        layer.weight = other.weight
        assert torch.equal(dense_of(layer), masked)
        with torch.no_grad():
            dense_of(layer).zero_()
        assert torch.equal(other.weight, masked)

    def test_it_computes_as_a_plain_tensor(self, layer):
        weight = layer.weight
        assert isinstance(weight, nmflow.torch.MaskedWeight)
        assert type(weight + 1) is type(weight.T) is type(weight.detach()) is torch.Tensor
        assert type(copy.deepcopy(weight)) is torch.Tensor
        file = io.BytesIO()
        torch.save(weight, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=True), weight)


class TestInfinitePrunedEntries:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("mean_absorption", [False, True])
    def test_they_stay_out(self, dtype, mean_absorption):
        layer = nn.Linear(8, 8, dtype=dtype)
        handle = nmflow.torch.sparsify(layer, 2, 4, refresh=None, mean_absorption=mean_absorption)
        masked, pruned = masked_of(layer), ~masked_of(layer).mask
        with torch.no_grad():
            dense_of(layer)[pruned] = -torch.inf if not mean_absorption else -1.0
        layer(torch.ones(1, 8, dtype=dtype)).sum().backward()
        assert torch.isfinite(layer.weight).all()
        assert torch.isfinite(dense_of(layer).grad).all()
        assert not torch.signbit(layer.weight[~masked.mask]).any()
        handle.bake()
        assert torch.isfinite(layer.weight).all()
        assert (layer.weight[pruned] == 0).all()

    def test_of_a_decay(self):
        layer = nn.Linear(8, 8, bias=False)
        handle = nmflow.torch.sparsify(layer, 2, 4, rule=nmflow.torch.SRSTE(0.1))
        kept = masked_of(layer).mask
        with torch.no_grad():
            dense_of(layer)[kept] = torch.inf
        dense_of(layer).grad = torch.zeros(8, 8)
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
        assert torch.isfinite(dense_of(layer).grad).all()
        handle.remove()


class TestPlainStateDict:
    def test_it_loads_into_the_model_without_masks(self):
        model = nn.Sequential(net(), nn.MultiheadAttention(8, 2))
        handle = nmflow.torch.sparsify(model, 2, 4, refresh=2)
        train(model[0], handle, 3)
        state = handle.sparse_state_dict()
        plain = nn.Sequential(net(1), nn.MultiheadAttention(8, 2))
        assert set(state) == set(plain.state_dict())
        plain.load_state_dict(state)
        assert most_kept(plain[0][0].weight) == most_kept(plain[1].in_proj_weight) == 2
        x = torch.randn(3, 8)
        assert torch.equal(plain[0](x), model[0](x))
        handle.bake()
        assert all(torch.equal(a, state[name]) for name, a in model.state_dict().items())

    def test_of_a_layer_as_a_whole_model(self):
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4)
        assert set(handle.sparse_state_dict()) == {"weight", "bias"}

    def test_of_shared_weights(self):
        model = net()
        model.append(nn.Linear(8, 16))
        model[3].weight = model[0].weight
        handle = nmflow.torch.sparsify(model, 2, 4)
        state = handle.sparse_state_dict()
        assert torch.equal(state["0.weight"], state["3.weight"])


class TestNothingButNm:
    def test_counts_before_baking(self):
        model = net()
        handle = nmflow.torch.sparsify(model, 2, 4)
        with torch.no_grad():
            masked_of(model[2]).mask[5, 8:12] = True
        with pytest.raises(
            nmflow.NmflowError,
            match=r"^these masks(.|\n)*2\.weight: 1 row groups hold more than 2 of 4; the first,"
            r" row 5, columns 8 to 11, holds 4",
        ):
            handle.bake()
        with torch.no_grad():
            masked_of(model[2]).mask[4:8, 8:12] = False
        with pytest.raises(nmflow.NmflowError, match=r"2\.weight: 4 row groups hold fewer than 2"):
            handle.bake()
        handle.refresh()
        handle.bake()

    @pytest.mark.parametrize("shape", [(10, 8), (8, 11), (9, 9)])
    @pytest.mark.parametrize("pattern", ["transposable", "rows", "columns", "unstructured"])
    def test_ragged_edges_and_other_patterns_count_right(self, pattern, shape):
        layer = nn.Linear(*shape[::-1])
        nmflow.torch.sparsify(layer, 3, 4, pattern=pattern).bake()
        layer = nn.Linear(*shape[::-1])
        handle = nmflow.torch.sparsify(layer, 3, 4, pattern=pattern)
        with torch.no_grad():
            masked_of(layer).mask.fill_(True)
        with pytest.raises(nmflow.NmflowError, match=r"more than 3 of 4|keeps \d+ entries instead"):
            handle.bake()

    def test_a_stage_of_a_ramp_is_not_baked(self):
        model = net()
        policy = nmflow.torch.Refresh(every=2, ramp=4)
        handle = nmflow.torch.sparsify(model, 1, 4, refresh=policy)
        train(model, handle, 3)
        with pytest.raises(nmflow.NmflowError, match="its mask keeps 3 of 4 until the ramp ends"):
            handle.bake()

    def test_groups_and_kernels(self):
        convolution = nn.Conv2d(16, 16, 3, groups=2)
        handle = nmflow.torch.sparsify(convolution, 2, 4)
        with torch.no_grad():
            masked_of(convolution).mask[9, :4, 1, 2] = True
        with pytest.raises(nmflow.NmflowError, match="1 row groups hold more than 2 of 4"):
            handle.bake()
