"""Masks are counted before they are baked."""

import pytest

torch = pytest.importorskip("torch")

from masked_nets import drift, masked_of, net  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


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

    @pytest.mark.parametrize("line", ["row", "column"])
    def test_one_direction_is_not_enough(self, line):
        """The same entries kept in every row, or in every column: n in each of the one."""
        layer = nn.Linear(8, 8)
        handle = nmflow.torch.sparsify(layer, 2, 4)
        kept = torch.tensor([True, True, False, False]).repeat(8, 2)
        with torch.no_grad():
            masked_of(layer).mask.copy_(kept if line == "column" else kept.T)
        with pytest.raises(nmflow.NmflowError, match=f"8 {line} groups hold more than 2 of 4"):
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
        drift(model, handle, 3)
        with pytest.raises(nmflow.NmflowError, match="its mask keeps 3 of 4 until the ramp ends"):
            handle.bake()

    def test_groups_and_kernels(self):
        convolution = nn.Conv2d(16, 16, 3, groups=2)
        handle = nmflow.torch.sparsify(convolution, 2, 4)
        with torch.no_grad():
            masked_of(convolution).mask[9, :4, 1, 2] = True
        with pytest.raises(nmflow.NmflowError, match="1 row groups hold more than 2 of 4"):
            handle.bake()
