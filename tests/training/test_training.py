"""The training benchmark trains what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_runs import STEPS, SWIFT  # noqa: E402

from benchmarks.training import (  # noqa: E402
    digits,
    masks,
    stdlib,
    train,
)
from benchmarks.training.runs import DENSE  # noqa: E402


@pytest.mark.parametrize("name", ["digits", "stdlib"])
def test_a_run_trains_and_tells(small, name):
    task = small[name]
    record = train.train(task, SWIFT, 0)
    json.dumps(record)
    assert record["losses"][-1] < record["losses"][0]
    assert len(record["losses"]) == STEPS
    assert task.metric in record["final"]
    assert record["seconds"] > 0
    found = record["masks"]
    assert [each["step"] for each in found["history"]] == [0, 4, 8, 12]
    assert found["history"][0]["flip_rate"] == 0.5
    assert 0 < found["history"][-1]["flip_rate"] < 0.5
    assert 0.5 < found["history"][-1]["kept"] < 1
    assert 0 < found["share_of_time"] < 1
    certificates = found["certificates"]
    assert certificates["largest_gap"] == 0
    assert certificates["optimal"]
    assert certificates["full"]
    assert certificates["layers"] == found["layers"] == (7 if name == "digits" else 4)
    skipped = {layer.split(".")[0] for layer in found["dense"]}
    assert skipped == set(task.dense)


def test_a_seed_decides_all(small, monkeypatch):
    batches = []
    loss_of = train.loss_of
    monkeypatch.setattr(train, "loss_of", lambda *x: batches.append(x[1][0]) or loss_of(*x))
    first, again, other = (train.train(small["digits"], SWIFT, seed) for seed in (0, 0, 1))
    assert first["losses"] == again["losses"]
    assert first["final"] == again["final"]
    assert first["losses"] != other["losses"]
    assert torch.equal(batches[0], batches[STEPS])
    assert not torch.equal(batches[0], batches[2 * STEPS])


def test_fixed_masks_stay(small):
    found = train.train(small["stdlib"], replace(SWIFT, every=0), 0)["masks"]
    assert found["refreshes"] == 1
    assert found["certificates"]["largest_gap"] == 0


def test_an_approximation_is_told_apart(small):
    found = train.train(small["digits"], replace(SWIFT, method="greedy-keep"), 0)["masks"]
    assert found["certificates"]["largest_gap"] > 0
    assert not found["certificates"]["optimal"]
    assert not found["certificates"]["full"]


def test_a_diverged_run_leaves_no_record(small, monkeypatch):
    monkeypatch.setattr(
        train, "loss_of", lambda model, batch: torch.tensor(np.nan).requires_grad_()
    )
    with pytest.raises(FloatingPointError, match="digits, dense, seed 3"):
        train.train(small["digits"], DENSE, 3)


def test_what_is_held_out_is_not_trained_on(small):
    for held in ("tune", "test"):
        data = stdlib.Stdlib(held)
        assert data.held[5].numpy().tobytes() not in data.train.numpy().tobytes()
    tuning, test = stdlib.Stdlib("tune"), stdlib.Stdlib("test")
    assert test.held[5].numpy().tobytes() not in tuning.train.numpy().tobytes()
    assert tuning.held[5].numpy().tobytes() in test.train.numpy().tobytes()
    assert len({bytes(piece.numpy()) for piece in test.held}) == len(test.held) == 32
    for held, sizes in (("tune", (750, 250)), ("test", (1000, 100))):
        images = digits.Digits(held)
        assert (len(images.images), len(images.held_images)) == sizes


def test_images_move_by_a_pixel_at_most():
    data = digits.Digits("test")
    images, labels = data.batch(torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(data.images, (1, 1, 1, 1))
    moved = [padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    moves = set()
    for image, label in zip(images, labels, strict=True):
        same = torch.stack([(each == image).all((1, 2, 3)) for each in moved])
        ((move, source),) = same.nonzero()
        assert data.labels[source] == label
        moves.add(int(move))
    assert moves == set(range(9))


def test_bytes_follow_bytes():
    data = stdlib.Stdlib("test")
    inputs, targets = data.batch(torch.Generator().manual_seed(0))
    assert inputs.shape == (stdlib.BATCH, stdlib.CONTEXT)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_bits_of_a_guess():
    """All bytes alike cost 8 bits each."""

    class Guess(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(*x.shape, 256)

    assert stdlib.Stdlib("test").evaluate(Guess())["bits_per_byte"] == pytest.approx(8)


def test_attention_looks_back_only():
    torch.manual_seed(0)
    model = stdlib.Transformer(32, 2, 2)
    x = torch.randint(256, (1, 16))
    later = x.clone()
    later[0, 10:] += 1
    assert torch.equal(model(x)[:, :10], model(later % 256)[:, :10])
    assert not torch.equal(model(x)[:, 10:], model(later % 256)[:, 10:])


def test_rate_goes_up_then_down():
    shares = [train.schedule(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert shares[4] == shares[5] == 1
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert 0 < shares[-1] < 0.001


def test_curves_of_few_points():
    assert train.means([1.0, 2.0, 3.0]) == [1, 2, 3]
    values = [float(k) for k in range(100)]
    assert train.means(values)[:2] == [0.5, 3]
    assert len(train.means(values)) == train.POINTS
    assert masks.thinned(list(range(100)), 4) == [0, 33, 66, 99]
