"""Mutate checkpoints and open them, for some minutes: no crash, no hang, no runaway memory.

Usage: python tools/fuzz_readers.py [--minutes 10] [--seed 0] [--memory-mb 256] [--seconds 5]

Small models of every kind are made (safetensors, shards with an index, PyTorch's old and new
format, masks), then headers, indices, archives and pickles are changed: bits, bytes, numbers at
their limits, spans cut out, doubled or taken from elsewhere, and texts by words of the format. Each
case must end in a model, whose tensors are then read, or in one NmflowError of one line, within the
limits. Anything else is printed with what it takes to have it again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from safetensors.numpy import save_file

import nmflow
from nmflow.checkpoint import open_masks, open_model, prune_checkpoint, read_mask
from nmflow.checkpoint.layers import choose_layers

MOST_SHOWN = 20
INDEX = "model.safetensors.index.json"
WORDS = [
    *(b'"shape"', b'"dtype"', b'"F32"', b'"BF16"', b'"F64"', b'"data_offsets"', b"[", b"]", b"{"),
    *(b"}", b",", b":", b"-1", b"0", b"1e400", b"18446744073709551616", b"null", b'"__metadata__"'),
    *(b"../", b"/etc/passwd", b"\\", b"\x00", b"a" * 300, b"9" * 5000, b"[" * 2000),
    *(b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x07\x08", b"data.pkl", b"\x80\x02", b"."),
    *(b"(", b"t", b"R", b"b", b"Q", b"cos\nsystem\n", b"ctorch\nFloatStorage\n", b"u", b"s", b"0"),
    *(b"r\xff\xff\xff\xff", b"j\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff"),
]
LIMITS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1]


class TooSlowError(Exception):
    """A case took longer than it may."""


def samples(folder: Path) -> list[Path]:
    """Small models of all kinds."""
    rng = np.random.default_rng(0)
    weights = {f"l.{k}.weight": rng.standard_normal((16, 8)).astype(np.float32) for k in range(3)}
    plain = folder / "plain.safetensors"
    save_file(weights, plain, metadata={"format": "pt"})
    shards = folder / "shards"
    shards.mkdir()
    names = {f"{name}": f"model-{k}.safetensors" for k, name in enumerate(weights)}
    for name, file in names.items():
        save_file({name: weights[name]}, shards / file)
    (shards / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (shards / "config.json").write_text("{}")
    masks = folder / "masks.safetensors"
    prune_checkpoint(plain, masks, 2, 4, masks_only=True, compare=False)
    tensors = {name: torch.from_numpy(part) for name, part in weights.items()}
    state = {"state_dict": tensors, "epoch": 3, "lr": [0.1, (1, 2)], "tied": tensors["l.0.weight"]}
    made = [plain, shards, masks]
    for zipped in (True, False):
        path = folder / f"torch-{zipped}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        made.append(path)
    return made


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some of them changed."""
    out = bytearray(data)
    # Most of what there is to get wrong is at the beginning or at the end.
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        size = max(1, len(out))
        near = rng.choice((min(size, 64), min(size, 1024), size))
        at = rng.randrange(near) if rng.random() < 0.6 else size - 1 - rng.randrange(near)
        kind = rng.randrange(8)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice(LIMITS) & ((1 << 8 * width) - 1)
            out[at : at + width] = value.to_bytes(width, "little")
        elif kind == 3:
            del out[at : at + rng.choice((1, 4, 64, len(out)))]
        elif kind == 4:
            out[at:at] = out[at : at + rng.choice((1, 8, 100))]
        elif kind == 5:
            word = rng.choice(WORDS)
            out[at : at + rng.choice((0, len(word)))] = word
        elif kind == 6:
            other = rng.randrange(size)
            out[at : at + 32] = out[other : other + 32]
        else:
            _change_a_number(out, rng)
    return bytes(out)


def _change_a_number(out: bytearray, rng: random.Random) -> None:
    """Another number in place of one that stands in the text."""
    places = [i for i in range(min(len(out), 4096)) if 48 <= out[i] < 58]
    if places:
        at = rng.choice(places)
        out[at : at + rng.choice((1, 2))] = str(rng.choice(LIMITS)).encode()


def in_archive(data: bytes, rng: random.Random) -> bytes:
    """PyTorch's archive with its pickle changed, and all else right."""
    import zipfile

    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            body = old.read(name)
            archive.writestr(name, mutated(body, rng) if name.endswith(".pkl") else body)
    return new.getvalue()


def look(path: Path) -> str:
    """Open a model and read all of it."""
    if path.name.startswith("masks"):
        for mask in open_masks(path):
            read_mask(path, mask)
        return "read"
    model = open_model(path)
    for tensor in model.tensors:
        if not tensor.obstacle:
            model.read_bits(tensor)
    choose_layers(model.tensors, 4)
    return "read"


def one_case(source: Path, folder: Path, rng: random.Random) -> Path:
    """A changed copy."""
    target = folder / source.name
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        changed = target / (INDEX if rng.random() < 0.7 else rng.choice(sorted(names_in(target))))
    else:
        shutil.copyfile(source, target)
        changed = target
    data = changed.read_bytes()
    if data.startswith(b"PK") and rng.random() < 0.5:
        changed.write_bytes(in_archive(data, rng))
    else:
        changed.write_bytes(mutated(data, rng))
    return target


def names_in(folder: Path) -> list[str]:
    """Names of the files of a folder."""
    return [path.name for path in folder.iterdir()]


def run(options: argparse.Namespace) -> int:
    """All cases; how many were wrong."""
    wrong, counts = 0, Counter[str]()

    def too_slow(*_: Any) -> NoReturn:
        raise TooSlowError

    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cases").mkdir()
        made = samples(folder)
        for path in made:
            look(path)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + options.memory_mb * (1 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        tracemalloc.start()
        end, seed = time.monotonic() + 60 * options.minutes, options.seed
        slowest = largest = 0.0
        while time.monotonic() < end:
            seed += 1
            rng = random.Random(seed)
            path = one_case(made[seed % len(made)], folder / "cases", rng)
            tracemalloc.reset_peak()
            begin, floor = time.process_time(), tracemalloc.get_traced_memory()[0]
            signal.alarm(options.seconds * 20)
            try:
                verdict = look(path)
            except nmflow.NmflowError as error:
                verdict = "refused"
                if "\n" in str(error).strip():
                    verdict = "a refusal of several lines"
            except (TooSlowError, MemoryError) as error:
                verdict = type(error).__name__
            except BaseException as error:
                verdict = f"{type(error).__name__}: {error}"
            signal.alarm(0)
            taken = time.process_time() - begin
            slowest = max(slowest, taken)
            largest = max(largest, tracemalloc.get_traced_memory()[1] - floor)
            if taken > options.seconds:
                verdict = "too slow"
            counts[verdict if verdict in ("read", "refused") else "wrong"] += 1
            if verdict not in ("read", "refused"):
                wrong += 1
                if wrong <= MOST_SHOWN:
                    print(f"seed {seed}, {path.name}: {verdict}", flush=True)
    print(
        f"{sum(counts.values())} cases in {options.minutes} minutes: {dict(counts)}; slowest"
        f" {slowest:.2f} s of processor time, most memory {largest / 1e6:.1f} MB"
    )
    return wrong


def main() -> int:
    """Read the options and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-mb", type=int, default=256)
    parser.add_argument("--seconds", type=int, default=5)
    return 1 if run(parser.parse_args()) else 0


if __name__ == "__main__":
    sys.exit(main())
