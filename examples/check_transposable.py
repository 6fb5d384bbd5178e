"""Check that a pruned safetensors file is n:m sparse in both directions.

    python check_transposable.py DENSE.safetensors SPARSE.safetensors -n 4 -m 8 --expect 36

It stands alone: numpy and safetensors, nothing of the library that did the pruning. In every
tensor that differs between the two files, each group of m consecutive entries of a row, and of a
column, of each m x m tile must hold at most n that are not zero (of convolution weights: along the
first two axes, at each kernel position), about n/m of all entries must be left, and each that is
left must be the dense file's, bit for bit. All other tensors, and the metadata, must be the same.

Exit codes: 0 all of that holds; 1 it does not; 2 a file cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

# Entries as bit patterns: the same for every dtype of that width, bfloat16 included.
PATTERNS = {"F64": "<u8", "F32": "<u4", "F16": "<u2", "BF16": "<u2"}
SIGN = {"<u8": 1 << 63, "<u4": 1 << 31, "<u2": 1 << 15}


def read_header(path):
    """Return (metadata, {name: entry}, where the tensors begin), after safetensors agreed."""
    with safe_open(str(path), framework="numpy") as file:
        names = set(file.keys())
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None)
    if set(header) != names:
        raise SafetensorError(f"{path}: the header names other tensors than safetensors finds")
    return metadata, header, 8 + length


def read_tensor(path, entry, origin):
    """Return the tensor's bytes."""
    begin, end = entry["data_offsets"]
    return np.fromfile(path, np.uint8, count=end - begin, offset=origin + begin)


def most_per_group(nonzero, m, axis):
    """Return the largest count of True in any group of m consecutive entries along an axis."""
    length = nonzero.shape[axis]
    missing = [(0, 0)] * nonzero.ndim
    missing[axis] = (0, -length % m)
    padded = np.moveaxis(np.pad(nonzero, missing), axis, 0)
    return int(padded.reshape(-1, m, *padded.shape[1:]).sum(axis=1).max(initial=0))


def check_layer(dense, sparse, entry, n, m):
    """Return (entries left, entries, problems) of a tensor that was pruned."""
    dtype, shape = entry["dtype"], entry["shape"]
    if dtype not in PATTERNS or len(shape) < 2:
        return 0, 0, [f"changed, though it is {dtype} of shape {shape}"]
    pattern = PATTERNS[dtype]
    dense, sparse = (bits.view(pattern).reshape(shape) for bits in (dense, sparse))
    problems = []
    left = sparse != 0
    for axis, word in ((1, "row"), (0, "column")):
        most = most_per_group(left, m, axis)
        if most > n:
            problems.append(f"a {word} group of {m} holds {most}, more than {n}")
    if not np.array_equal(sparse[left], dense[left]):
        problems.append("weights that were kept have changed")
    # A zero of the dense weights, of either sign, may have been kept: the file can't tell.
    kept = left | ((dense & ~np.array(SIGN[pattern], pattern)) == 0)
    if kept.mean() < 0.98 * n / m:
        problems.append(f"only {kept.mean():.1%} of the weights are left, not about {n / m:.1%}")
    return int(left.sum()), left.size, problems


def check_files(dense_path, sparse_path, n, m):
    """Return (pruned tensors, unchanged tensors, entries left, entries, problems)."""
    metadata, header, origin = read_header(dense_path)
    new_metadata, new_header, new_origin = read_header(sparse_path)
    problems = []
    if metadata != new_metadata:
        problems.append("the metadata differ")
    if set(header) != set(new_header):
        differing = sorted(set(header) ^ set(new_header))
        return 0, 0, 0, 0, [f"only one of the files has {differing[:3]}"]
    pruned = unchanged = left = size = 0
    for name, entry in header.items():
        new_entry = new_header[name]
        if any(entry[key] != new_entry[key] for key in ("dtype", "shape")):
            problems.append(f"{name}: dtype or shape differs")
            continue
        dense = read_tensor(dense_path, entry, origin)
        sparse = read_tensor(sparse_path, new_entry, new_origin)
        if np.array_equal(dense, sparse):
            unchanged += 1
            continue
        pruned += 1
        layer_left, layer_size, found = check_layer(dense, sparse, entry, n, m)
        left, size = left + layer_left, size + layer_size
        problems += [f"{name}: {problem}" for problem in found]
    return pruned, unchanged, left, size, problems


def main():
    """Check two files named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dense", type=Path)
    parser.add_argument("sparse", type=Path)
    parser.add_argument("-n", type=int, required=True)
    parser.add_argument("-m", type=int, required=True)
    parser.add_argument("--expect", type=int, help="how many tensors must have been pruned")
    options = parser.parse_args()
    try:
        pruned, unchanged, left, size, problems = check_files(
            options.dense, options.sparse, options.n, options.m
        )
    except (OSError, SafetensorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.expect is not None and pruned != options.expect:
        problems.append(f"{pruned} tensors were pruned, {options.expect} were expected")
    for problem in problems:
        print(f"{options.sparse}: {problem}")
    if problems:
        print(f"{options.sparse}: FAILED, {len(problems)} problems, {pruned} pruned tensors")
        return 1
    print(
        f"{options.sparse}: ok, {pruned} tensors are {options.n}:{options.m} in rows and columns"
        f" ({left / max(size, 1):.2%} of {size:,} weights left), {unchanged} are unchanged"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
