"""What hardware takes, as the guide says it, and 2:4 masks packed bit for bit as PyTorch does."""

import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

import nmflow
from nmflow.hardware import Packed, native, pack_2_4, table, unpack_2_4

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "constraints.md").read_text()


def guide_rows():
    """The table as the guide has it."""
    for row in table():
        devices = ", ".join(row.devices)
        dtypes = ", ".join(row.dtypes)
        yield (
            f"| {row.vendor} {row.generation}: {devices} | {dtypes} | {row.pattern} |"
            f" `{row.instruction}` | `{row.call}` |"
        )


def test_the_guide_has_the_table():
    _, _, rest = GUIDE.partition("<!-- hardware -->\n")
    shown, _, _ = rest.partition("<!-- /hardware -->")
    assert shown.splitlines()[2:] == list(guide_rows())


def test_every_row_has_its_source():
    for row in table():
        assert row.source
        assert row.devices
        assert row.dtypes
        assert 2 * row.n == row.m


def holders(n, m, **options):
    return {(row.instruction, row.pattern) for row in native(n, m, **options)}


def test_what_takes_which():
    assert holders(2, 4, dtype="bfloat16", device="sm_80") == {("mma.sp", "2:4")}
    assert holders(2, 4, dtype="bfloat16", device="sm_90a") == {
        ("mma.sp", "2:4"),
        ("wgmma.mma_async.sp", "2:4"),
    }
    assert holders(2, 4, dtype="float16", device="gfx942") == {("v_smfmac", "2:4")}
    assert holders(2, 4, dtype="tf32") == set()
    assert {pattern for _, pattern in holders(1, 2, dtype="tf32")} == {"1:2"}
    for dtype in ("nvfp4", "mxfp4"):
        assert holders(2, 4, dtype=dtype) == set()
        for unit in ((1, 2), (2, 2)):
            assert holders(2, 4, unit=unit, dtype=dtype) == {
                ("mma.sp", "pair-wise 4:8"),
                ("tcgen05.mma.sp", "pair-wise 4:8"),
            }
    assert holders(2, 4, unit=(2, 2), dtype="int4") == {("mma.sp", "pair-wise 4:8")}


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16), (16, 32)])
def test_nobody_takes_wider_groups_of_single_entries(n, m):
    assert native(n, m) == ()


def test_what_is_4_bits_forward_is_2_4_backward():
    unit = (1, 2)
    assert native(2, 4, unit=unit, dtype="nvfp4")
    assert native(2, 4, unit=unit[::-1], dtype="bfloat16")


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 2), (2, 2), (1, 3), (1, 4), (2, 4), (3, 4)])
def test_native_is_what_holds_of_every_mask(n, m, width):
    """Counted on all rows of two groups, for instructions whose groups fit in or around them."""
    rows = []
    for chosen in product(combinations(range(m), n), repeat=4 if m * width <= 4 else 2):
        units = np.zeros((len(chosen), m), bool)
        for group, kept in enumerate(chosen):
            units[group, list(kept)] = True
        rows.append(units.ravel().repeat(width))
    rows = np.array(rows)
    taken = native(n, m, unit=(1, width))
    for row in table():
        group = row.m * row.width
        if rows.shape[1] % group or (m * width % group and group % (m * width)):
            continue
        touched = rows.reshape(len(rows), -1, row.m, row.width).any(axis=3).sum(axis=2)
        assert (row in taken) == (touched.max() <= row.n), row


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bf16"}, "unknown dtype 'bf16'"),
        ({"device": "sm_70"}, "unknown device 'sm_70'"),
        ({"device": 90}, "device must be a name"),
        ({"unit": (0, 2)}, "unit must be"),
    ],
)
def test_questions_that_make_no_sense(options, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        native(2, 4, **options)
    with pytest.raises(nmflow.NmflowError, match="1 <= n <= m"):
        native(5, 4)


def bits(array):
    """The bits of a torch or numpy array, so that 0 is not -0."""
    array = np.asarray(array.view({1: np.int8, 2: np.int16, 4: np.int32}[array.dtype.itemsize]))
    return array.tolist(), array.dtype


def compressed_by_torch(torch, weights, mask):
    """Values and metadata as PyTorch makes them, of weights that are 0 where dropped."""
    from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

    masked = torch.where(mask, weights, torch.zeros((), dtype=weights.dtype)).contiguous()
    values, metadata = sparse_semi_structured_from_dense_cutlass(masked)
    if values.dtype is torch.bfloat16:
        values, masked = values.view(torch.int16), masked.view(torch.int16)
    return values.numpy(), metadata.numpy(), masked.numpy()


SHAPES = {
    "float16": [(32, 32), (64, 32), (32, 96), (96, 160), (128, 64)],
    "bfloat16": [(32, 32), (64, 32), (32, 96), (96, 160), (128, 64)],
    "float32": [(32, 16), (64, 16), (32, 48), (96, 80), (128, 64)],
    "int8": [(16, 64), (48, 64), (16, 192), (80, 128), (128, 64)],
}
CASES = [(dtype, shape) for dtype, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("dtype", "shape"), CASES)
def test_packs_as_torch_does(dtype, shape, rng):
    """A full mask, then masks whose groups keep anything up to it, zero weights aside."""
    torch = pytest.importorskip("torch")
    numbers = rng.integers(1, 100, shape) * rng.choice([-1, 1], shape)
    weights = torch.from_numpy(numbers).to(getattr(torch, dtype))
    if dtype != "int8":
        weights = weights / 7
    n, m = (1, 2) if dtype == "float32" else (2, 4)
    full = nmflow.solve(weights, n, m)
    for mask in (full, full & torch.from_numpy(rng.random(shape) < 0.6), full & False):
        values, metadata, masked = compressed_by_torch(torch, weights, mask)
        packed = pack_2_4(weights, mask)
        assert bits(packed.values) == bits(values)
        assert bits(packed.metadata) == bits(metadata)
        assert packed.metadata.dtype == metadata.dtype
        assert bits(unpack_2_4(packed)) == bits(masked)


def test_one_mask_packs_both_ways(rng):
    """W and W.T of one transposable mask."""
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(rng.standard_normal((64, 128))).half()
    mask = nmflow.solve(weights, 2, 4)
    dense = np.where(mask, weights, np.float16(0))
    for w, x in ((weights, mask), (weights.T, mask.T)):
        values, metadata, _ = compressed_by_torch(torch, w, x)
        packed = pack_2_4(w, x)
        assert bits(packed.values) == bits(values)
        assert bits(packed.metadata) == bits(metadata)
    assert (dense == unpack_2_4(pack_2_4(weights.T, mask.T)).T).all()
    one_way = nmflow.solve(weights, 2, 4, pattern="rows")
    pack_2_4(weights, one_way)
    with pytest.raises(nmflow.NmflowError, match=r"row \d+ keeps [34] of columns"):
        pack_2_4(weights.T, one_way.T)


def test_kept_zeros_keep_their_place():
    weights, mask = np.zeros((32, 32), np.float16), np.zeros((32, 32), bool)
    mask[:, [0, 1]] = True
    weights[3, 1] = 5
    packed = pack_2_4(weights, mask)
    assert packed.values[3, :2].tolist() == [0, 5]
    assert (unpack_2_4(packed) == weights).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((32, 32), "f8", "dtype float64: pack float16"),
        ((32, 32), "i4", "dtype int32: pack float16"),
        (
            (16, 32),
            "f2",
            r"\(16, 32\) and dtype float16: .*rows a multiple of 32 and columns of 32",
        ),
        ((32, 48), "f2", "columns of 32"),
        ((32, 24), "f4", "columns of 16"),
        ((24, 64), "i1", "rows a multiple of 16 and columns of 64"),
        ((2, 32, 32), "f2", "two dimensions"),
    ],
)
def test_shapes_and_dtypes_that_are_not_packed(shape, dtype, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        pack_2_4(np.ones(shape, dtype), np.zeros(shape, bool))


def test_masks_that_are_not_packed():
    weights = np.ones((32, 32), np.float16)
    mask = np.zeros((32, 32), bool)
    mask[7, 20:23] = True
    with pytest.raises(nmflow.NmflowError, match=r"row 7 keeps 3 of columns 20 to 23, .* 2:4"):
        pack_2_4(weights, mask)
    mask[7, 20] = False
    pack_2_4(weights, mask)
    mask[7, 21:24] = [False, True, True]
    with pytest.raises(nmflow.NmflowError, match=r"row 7 keeps 2 of columns 22 to 23, .* 1:2"):
        pack_2_4(weights.astype("f4"), mask)
    with pytest.raises(nmflow.NmflowError, match=r"mask of shape \(32, 16\)"):
        pack_2_4(weights, mask[:, :16])
    with pytest.raises(nmflow.NmflowError, match="dtype int64"):
        pack_2_4(weights, mask.astype(int))


def test_what_belongs_to_nothing_is_not_unpacked():
    packed = pack_2_4(np.ones((32, 32), np.float16), np.zeros((32, 32), bool))
    for wrong in (
        Packed(packed.values, packed.metadata.astype(np.int32)),
        Packed(packed.values, packed.metadata[:16]),
        Packed(packed.values[:16], packed.metadata[:16]),
        Packed(packed.values[:, :8], packed.metadata),
        Packed(packed.values[:, :8], packed.metadata[:, :1]),
        Packed(packed.values.astype(float), packed.metadata),
        Packed(packed.values.ravel(), packed.metadata),
    ):
        with pytest.raises(nmflow.NmflowError, match="pass"):
            unpack_2_4(wrong)


def test_needs_numpy_alone():
    code = (
        "import sys, nmflow.hardware;"
        "print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
