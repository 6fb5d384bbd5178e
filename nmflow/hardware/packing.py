"""2:4 weights as values and metadata, in the layout of CUTLASS that PyTorch computes with.

A row of A is stored as the kept half of its entries and, for each group, where they were: two
positions of two bits each. The words that hold these are then put in the order in which the threads
of a warp read them (CUTLASS, ``reorder_meta`` of host_reorder.h). PyTorch's
``torch.sparse.SparseSemiStructuredTensorCUTLASS`` holds the same two arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import HostArray, to_host


class Packed(NamedTuple):
    """Compressed weights.

    Attributes
    ----------
    values : ndarray, shape (R, C / 2)
        What is kept, row by row; of bfloat16 the bits, as uint16.
    metadata : ndarray of int16 or int32
        Shape (R, C / 16) and int16 for 16-bit values, (R, C / 8) and int16 for float32, and
        (R, C / 32) and int32 for int8.
    """

    values: NDArray[Any]
    metadata: NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a dtype is packed.

    Attributes
    ----------
    group, kept : int
        Entries of a group, and how many of them are stored.
    word : type
        Of the metadata.
    """

    group: int
    kept: int
    word: type[np.signedinteger[Any]]

    @property
    def groups_a_word(self) -> int:
        """Groups of which a word says where their entries were."""
        return np.dtype(self.word).itemsize * 2

    @property
    def rows(self) -> int:
        """What the number of rows is a multiple of."""
        return 32 if self.word is np.int16 else 16

    @property
    def columns(self) -> int:
        """What the number of columns is a multiple of: words change places by twos."""
        return 2 * self.group * self.groups_a_word


_OF_16_BITS = _Layout(4, 2, np.int16)
# float32 is multiplied as tf32, of which one of two is stored.
_LAYOUTS = {
    "float16": _OF_16_BITS,
    "uint16": _OF_16_BITS,
    "float32": _Layout(2, 1, np.int16),
    "int8": _Layout(4, 2, np.int32),
}


def pack_2_4(weights: Any, mask: Any) -> Packed:
    """Compress the weights that a 2:4 mask keeps (of float32, a 1:2 mask).

    Parameters
    ----------
    weights : array_like, shape (R, C)
        float16, bfloat16 (or its bits as uint16), float32 or int8. R is a multiple of 32 (16 for
        int8), C of 32 (float32: 16, int8: 64). For a product with W.T pack ``weights.T`` and
        ``mask.T``: a transposable mask serves both.
    mask : array_like of bool, shape (R, C)
        At most two of each four consecutive entries of a row, of float32 at most one of each two.
        What a group keeps beyond its mask is stored as 0.

    Returns
    -------
    Packed
        Named tuple ``values, metadata``, numpy's.

    Raises
    ------
    NmflowError
        For another dtype or shape, a mask of another shape or dtype, and a group that keeps too
        many, with its place.

    Notes
    -----
    Equal bit for bit to what ``torch.sparse.SparseSemiStructuredTensorCUTLASS`` holds of weights
    that are not 0 where the mask is True. There zeros say what is kept; here the mask does, so that
    a kept weight that is 0 stays where it is. The few groups that keep less than n get positions of
    dropped entries, as PyTorch gives them. Time and memory grow with R x C.

    References
    ----------
    NVIDIA, PTX ISA 9.0, sparse matrix storage of mma.sp.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> from nmflow.hardware import pack_2_4, unpack_2_4
    >>> weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16)
    >>> mask = nmflow.solve(weights, 2, 4)
    >>> forward, backward = pack_2_4(weights, mask), pack_2_4(weights.T, mask.T)
    >>> bool((unpack_2_4(backward).T == np.where(mask, weights, 0)).all())
    True
    """
    host = to_host(weights)
    values, layout = host.values, _layout_of(host)
    kept = _mask_of(mask, host, layout)
    groups = np.where(kept, values, values.dtype.type(0)).reshape(-1, layout.group)
    nonzero = kept.reshape(-1, layout.group)
    first, second = _positions(nonzero if layout.group > 2 else nonzero.repeat(2, axis=1))
    # Positions count 16-bit halves where groups are pairs of float32.
    places = np.stack([first, second], 1)[:, : layout.kept] * layout.group // 4
    packed = np.take_along_axis(groups, places.astype(np.intp), 1)
    rows, columns = values.shape
    codes = first | (second << 2)
    words = _words(codes, layout).reshape(rows, -1)
    metadata = np.empty(words.size, layout.word)
    metadata[_order(*words.shape, layout)] = words.ravel()
    return Packed(packed.reshape(rows, columns // 2), metadata.reshape(words.shape))


def unpack_2_4(packed: Packed) -> NDArray[Any]:
    """The dense weights, 0 where dropped, that :func:`pack_2_4` has compressed.

    Parameters
    ----------
    packed : Packed
        Or a pair of arrays as it holds them.

    Returns
    -------
    ndarray, shape (R, C)

    Raises
    ------
    NmflowError
        For arrays whose dtypes or shapes don't belong together.
    """
    values, metadata = (np.asarray(part) for part in packed)
    layout = _LAYOUTS.get(values.dtype.name)
    shape = values.ndim == 2 and (values.shape[0], 2 * values.shape[1])
    if layout is None or not shape or metadata.dtype != layout.word:
        raise NmflowError(
            f"values of {values.dtype} and shape {values.shape} with metadata of {metadata.dtype}:"
            f" pass what pack_2_4 returned, values of {', '.join(_LAYOUTS)}"
        )
    rows, columns = shape
    odd = rows % layout.rows or columns % layout.columns
    if odd or metadata.shape != (rows, 2 * columns // layout.columns):
        raise NmflowError(
            f"values of shape {values.shape} with metadata of shape {metadata.shape}: pass what"
            " pack_2_4 returned"
        )
    words = metadata.ravel()[_order(*metadata.shape, layout)].astype(np.int64)
    shifts = np.arange(layout.groups_a_word) * 4
    codes = (words[:, None] >> shifts & 0xF).ravel()
    places = np.stack([codes & 3, codes >> 2], 1)[:, : layout.kept] * layout.group // 4
    dense = np.zeros((len(codes), layout.group), values.dtype)
    np.put_along_axis(dense, places, values.reshape(-1, layout.kept), 1)
    return dense.reshape(rows, columns)


def _layout_of(host: HostArray) -> _Layout:
    """How weights are packed, if they can be."""
    shape, layout = host.values.shape, _LAYOUTS.get(host.values.dtype.name)
    what = f"weights of shape {shape} and dtype {host.dtype}"
    if layout is None:
        raise NmflowError(f"{what}: pack float16, bfloat16 (or its bits, uint16), float32 or int8")
    if len(shape) != 2 or shape[0] % layout.rows or shape[1] % layout.columns:
        raise NmflowError(
            f"{what}: need two dimensions, rows a multiple of {layout.rows} and columns of"
            f" {layout.columns}; pad with zeros"
        )
    return layout


def _mask_of(mask: Any, host: HostArray, layout: _Layout) -> NDArray[np.bool_]:
    """The mask, if no group keeps too many."""
    kept, shape = to_host(mask, "mask").values, host.values.shape
    if kept.shape != shape or kept.dtype != np.bool_:
        raise NmflowError(
            f"mask of shape {kept.shape} and dtype {kept.dtype} for weights of shape {shape}: pass"
            " bools of the same shape"
        )
    held = kept.reshape(shape[0], -1, layout.group).sum(axis=2)
    if (held > layout.kept).any():
        row, group = (int(i) for i in np.unravel_index(int(held.argmax()), held.shape))
        first = group * layout.group
        raise NmflowError(
            f"mask of shape {shape}: row {row} keeps {held[row, group]} of columns {first} to"
            f" {first + layout.group - 1}, and {host.dtype} is packed {layout.kept}:{layout.group}"
        )
    return kept


def _positions(kept: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two positions in each group of four, ascending, that all kept entries are among."""
    one, two, _, four = (part.astype(np.uint8) for part in kept.T)
    first = np.where(one, 0, np.where(two, 1, 2))
    second = np.where(one & two, 1, np.where(four & (one | two) | (1 - one) & (1 - two), 3, 2))
    return first.astype(np.uint8), second.astype(np.uint8)


def _words(codes: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """Codes of four bits each, the first in the lowest bits of a word."""
    pairs = codes.reshape(-1, 2)
    octets = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)
    little = np.dtype(layout.word).newbyteorder("<")
    words: NDArray[Any] = octets.view(little).astype(layout.word, copy=False)
    return words


def _order(rows: int, columns: int, layout: _Layout) -> NDArray[np.intp]:
    """Where the word of each row and column lies in memory, in row-major order of these."""
    i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
    # Rows that are 8 apart follow one another, in blocks as high as a warp's tile.
    block, together = layout.rows, layout.rows // 8
    i = i // block * block + i % 8 * together + i % block // 8
    # Then the two off the diagonal of each 2 x 2 change places.
    upper, lower = (i % 2 == 0) & (j % 2 == 1), (i % 2 == 1) & (j % 2 == 0)
    step = upper.astype(np.intp) - lower
    i, j = i + step, j - step
    # Two columns lie interleaved, pair of columns after pair.
    places: NDArray[np.intp] = (j // 2 * (2 * rows) + i * 2 + j % 2).ravel()
    return places
