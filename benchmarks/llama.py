"""A checkpoint like Llama's, of any size: ``python -m benchmarks.llama FOLDER --gb 8``.

bfloat16 in shards of up to 1 GB, with the names and proportions of Llama 3.1 8B (4096 wide; 1024
below 1 GB), as many layers as there is room for. Written as it is made, from one seed. Values are
normal: drawn once, a few million of them, and taken from there at random places with random signs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SHARD_BYTES = 1_000_000_000
_POOL, _CHUNK = 1 << 23, 1 << 20
_ITEM = 2

Shape = tuple[int, ...]


def tensors(size: float) -> Iterator[tuple[str, Shape]]:
    """Names and shapes, of about so many bytes together, in the order of the files."""
    hidden = 4096 if size >= 1e9 else 1024
    inner, key, words = hidden * 7 // 2, hidden // 4, 4 * hidden
    block = {
        "input_layernorm": (hidden,),
        "mlp.down_proj": (hidden, inner),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "post_attention_layernorm": (hidden,),
        "self_attn.k_proj": (key, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.v_proj": (key, hidden),
    }
    ends = 2 * words * hidden * _ITEM
    layers = round((size - ends) / (_ITEM * sum(map(math.prod, block.values()))))
    yield "model.embed_tokens.weight", (words, hidden)
    for k in range(max(1, layers)):
        for name, shape in block.items():
            yield f"model.layers.{k}.{name}.weight", shape
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (words, hidden)


def write(folder: Path, size: float, seed: int = 0) -> int:
    """Write the model; its bytes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(_POOL + _CHUNK, np.float32) * np.float32(0.02)
    pool = (normal.view(np.uint32) >> 16).astype("<u2")
    shards = list(_shards(tensors(size)))
    entries: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        with (folder / name).open("wb") as file:
            file.write(_header(shard))
            for tensor, shape in shard:
                entries[tensor] = name
                left = math.prod(shape)
                while left:
                    count = min(left, _CHUNK)
                    start = int(rng.integers(_POOL))
                    signs = np.frombuffer(rng.bytes(_ITEM * count), "<u2") & np.uint16(0x8000)
                    file.write(pool[start : start + count] ^ signs)
                    left -= count
            total += file.tell()
    index = {"metadata": {"total_size": total}, "weight_map": entries}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return total


def _shards(every: Iterator[tuple[str, Shape]]) -> Iterator[list[tuple[str, Shape]]]:
    shard: list[tuple[str, Shape]] = []
    held = 0
    for tensor, shape in every:
        size = _ITEM * math.prod(shape)
        if shard and held + size > SHARD_BYTES:
            yield shard
            shard, held = [], 0
        shard.append((tensor, shape))
        held += size
    yield shard


def _header(shard: list[tuple[str, Shape]]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor, shape in shard:
        stop = position + _ITEM * math.prod(shape)
        header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, stop]}
        position = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gb", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{write(options.folder, 1e9 * options.gb, options.seed):,} bytes")


if __name__ == "__main__":
    main()
