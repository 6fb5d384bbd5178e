"""Masks of blocks that are kept or dropped whole, while a model trains."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from masked_nets import dense_of, masked_of  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.models import Layout  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.torch.masking.counting import fault, most_kept  # noqa: E402


def moved(layer):
    with torch.no_grad():
        dense_of(layer).add_(torch.randn_like(dense_of(layer)))


@pytest.mark.parametrize("pattern", ["transposable", "rows", "columns", "unstructured"])
@pytest.mark.parametrize("unit", [(2, 2), (1, 2), (3, 1)])
def test_masks_are_those_of_solve(monkeypatch, pattern, unit):
    """Whole and ragged matrices, groups of a convolution, and weights of several blocks."""
    monkeypatch.setattr(nmflow.torch.solving.solver, "_BLOCK", 1000)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 71), nn.Conv2d(48, 48, 3, groups=2))
    handle = nmflow.torch.sparsify(model, 2, 4, pattern=pattern, unit=unit, refresh=1)
    for layer in model:
        moved(layer)
    before = [masked_of(layer).mask.clone() for layer in model]
    statistics = handle.step()
    linear, conv = (masked_of(layer).mask for layer in model)
    expected = nmflow.solve(dense_of(model[0]).detach(), 2, 4, pattern=pattern, unit=unit)
    assert torch.equal(linear, expected)
    for group in (slice(0, 24), slice(24, 48)):
        weights = dense_of(model[1]).detach()[group]
        wanted = nmflow.solve(weights, 2, 4, pattern=pattern, unit=unit, axes=(0, 1))
        assert torch.equal(conv[group], wanted)
    flips = [int((old != new).sum()) for old, new in zip(before, (linear, conv), strict=True)]
    assert [each.sad for each in statistics.layers.values()] == flips
    assert all(certificate.optimal for certificate in handle.certify().values())
    handle.bake()
    assert torch.equal(model[0].weight != 0, expected)


def test_zeros_stay_zeros():
    torch.manual_seed(0)
    layer = nn.Linear(16, 16)
    with torch.no_grad():
        layer.weight[:, 0] = 0
    handle = nmflow.torch.sparsify(layer, 2, 4, unit=(2, 2), keep_zeros=True, refresh=1)
    moved(layer)
    handle.step()
    # The unit's other column goes with it.
    assert not masked_of(layer).mask[:, :2].any()
    assert masked_of(layer).mask.any()


def test_a_ramp_counts_units():
    layer = nn.Linear(16, 16)
    ramp = nmflow.torch.Refresh(1, ramp=4)
    handle = nmflow.torch.sparsify(layer, 1, 4, unit=(2, 2), refresh=ramp)
    kept = set()
    for _ in range(6):
        handle.step()
        mask = masked_of(layer).mask
        kept.add(most_kept(mask, Layout(), Pattern(1, 4), (2, 2)))
    assert kept > {1}
    assert most_kept(masked_of(layer).mask, Layout(), Pattern(1, 4), (2, 2)) == 1


def test_states_are_of_their_units():
    model = nn.Linear(16, 16)
    state = nmflow.torch.sparsify(model, 2, 4, unit=(2, 2)).state_dict()
    other = nmflow.torch.sparsify(nn.Linear(16, 16), 2, 4, unit=(1, 2))
    with pytest.raises(
        nmflow.NmflowError, match=r"units of 2 x 2, .* there, .* units of 1 x 2, .* here"
    ):
        other.load_state_dict(state)
    again = nmflow.torch.sparsify(nn.Linear(16, 16), 2, 4, unit=(2, 2))
    again.load_state_dict(state)


def test_masks_given_must_keep_units_whole():
    mask = torch.ones(16, 16, dtype=torch.bool)
    mask.view(2, 8, 2, 8)[:, :4, :, 4:] = mask.view(2, 8, 2, 8)[:, 4:, :, :4] = False
    options = {"unit": (2, 2), "refresh": None}
    nmflow.torch.sparsify(nn.Linear(16, 16), 2, 4, masks={"weight": mask}, **options)
    mask[10, 9] = False
    with pytest.raises(nmflow.NmflowError, match=r"1 units of 2 x 2 .*begins at row 10, column 8"):
        nmflow.torch.sparsify(nn.Linear(16, 16), 2, 4, masks={"weight": mask}, **options)


def test_what_is_too_small_for_units_is_left():
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 6))
    report = nmflow.torch.sparsify(model, 2, 4, unit=(2, 2)).report
    assert "matrices of 6 x 16 are too small for m = 4 units of 2 x 2" in str(report)


def test_wrong_units_are_told():
    with pytest.raises(nmflow.NmflowError, match="unit must be"):
        nmflow.torch.sparsify(nn.Linear(16, 16), 2, 4, unit=2)


def test_mean_absorption_shares_within_tiles_of_units():
    torch.manual_seed(0)
    layer = nn.Linear(8, 8, bias=False)
    nmflow.torch.sparsify(layer, 2, 4, unit=(2, 2), mean_absorption=True)
    dense, mask = dense_of(layer).detach(), masked_of(layer).mask
    expected = mask * (dense + (dense * ~mask).sum() / 64)
    torch.testing.assert_close(layer.weight.detach(), expected)


@given(st.data())
def test_faults_are_those_of_the_certificate(data):
    unit = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rows, columns = (data.draw(st.integers(1, 14)) for _ in range(2))
    entries = data.draw(st.integers(0, (1 << 16) - 1))
    generator = torch.Generator().manual_seed(entries)
    weights = torch.rand(rows, columns, generator=generator)
    mask = nmflow.solve(weights, 2, 4, unit=unit)
    if data.draw(st.booleans()):
        where = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        mask[where] = not mask[where]
    certificate = nmflow.certify(weights, mask, 2, 4, unit=unit)
    found = fault(mask, Layout(), Pattern(2, 4), True, unit)
    assert (found is None) == (certificate.feasible and certificate.full)
