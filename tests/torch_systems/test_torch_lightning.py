"""Lightning's callback puts masks on in time, counts optimizer steps, and resumes."""

import os

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from callbacks import certified, same, state_of, steps  # noqa: E402
from torch import distributed, multiprocessing, nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from nmflow.torch.integrations.lightning import Sparsify  # noqa: E402

# Lightning's advice on how to load data, and its use of what PyTorch is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
]


class Net(lightning.LightningModule):
    """A regression whose layers may come late."""

    def __init__(self, late=None, seed=1):
        super().__init__()
        self.late, self.seed, self.model = late, seed, None
        self.make_at(None)

    def make_at(self, time):
        if self.model is None and self.late == time:
            torch.manual_seed(self.seed)
            self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))

    def setup(self, stage):
        self.make_at("setup")

    def configure_model(self):
        self.make_at("configure_model")

    def loss(self, batch):
        return (self.model(batch[0]) - batch[0].flip(1)).square().mean()

    def training_step(self, batch, index):
        return self.loss(batch)

    def test_step(self, batch, index):
        self.log("loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


class TakingTurns(Net):
    """Optimizers of either masked weight and of the biases; the first steps several times."""

    def __init__(self, times):
        super().__init__()
        self.times, self.automatic_optimization = times, False

    def training_step(self, batch, index):
        first, *others = self.optimizers()
        for optimizer in [first] * self.times + others:
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self):
        masked = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim == 1]
        adams = [torch.optim.Adam([p], lr=0.05) for p in masked]
        return [*adams, torch.optim.SGD(others, lr=0.05)]


class Quasi(Net):
    """Its optimizer calls the closure several times a step."""

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)


def batches():
    generator = torch.Generator().manual_seed(7)
    return DataLoader(TensorDataset(torch.randn(20, 8, generator=generator)), batch_size=4)


def trainer(folder, callback, epochs=1, **options):
    defaults = {"enable_checkpointing": False, "logger": False, "devices": 1}
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        **(defaults | options),
    )


@pytest.mark.parametrize("late", [None, "setup", "configure_model"])
def test_lightning_masks_are_there_before_optimizers(tmp_path, late):
    net, callback = Net(late), Sparsify(2, 4, refresh=2, bake_at_end=True)
    own = set(vars(net))
    trainer(tmp_path, callback, epochs=2).fit(net, batches())
    assert steps(callback) == [0, 2, 4, 6, 8, 10]
    assert not {name for name in set(vars(net)) - own if name.startswith(("configure", "on_"))}
    names = {f"model.{index}.{name}" for index in (0, 2) for name in ("weight", "bias")}
    assert set(net.state_dict()) == names
    kept = net.model[0].weight.reshape(4, 4, 2, 4) != 0
    assert (kept.sum(1) == 2).all()
    assert (kept.sum(3) == 2).all()


@pytest.mark.parametrize(
    ("make", "options", "per_epoch"),
    [
        (Net, {"accumulate_grad_batches": 2}, 3),
        (Quasi, {}, 5),
        (lambda: TakingTurns(1), {}, 5),
        (lambda: TakingTurns(3), {}, 15),
    ],
)
def test_lightning_counts_steps_of_optimizers(tmp_path, make, options, per_epoch):
    net, callback = make(), Sparsify(2, 4, refresh=1)
    trainer(tmp_path, callback, epochs=2, **options).fit(net, batches())
    assert steps(callback) == list(range(2 * per_epoch + 1))
    assert certified(callback)


def test_lightning_fits_again(tmp_path):
    net, callback = Net(), Sparsify(2, 4, refresh=2)
    first = trainer(tmp_path, callback)
    first.fit(net, batches())
    handle = callback.handle
    first.fit_loop.max_epochs = 2
    first.fit(net, batches())
    trainer(tmp_path, callback).fit(net, batches())
    assert callback.handle is handle
    assert steps(callback) == list(range(0, 16, 2))
    handle.bake()
    trainer(tmp_path, callback).fit(net, batches())
    assert steps(callback) == [0, 2, 4]
    other = Net()
    trainer(tmp_path, callback).fit(other, batches())
    assert set(other.state_dict()) == set(net.state_dict())


def test_lightning_resumes(tmp_path):
    def run(seed, epochs, **fit):
        net, callback = Net(seed=seed), Sparsify(2, 4, refresh=3, rule="sr-ste")
        run = trainer(tmp_path, callback, epochs)
        run.fit(net, batches(), **fit)
        return net, callback, run

    expected, undisturbed, _ = run(1, 3)
    _, _, interrupted = run(1, 1)
    interrupted.save_checkpoint(tmp_path / "one.ckpt")
    net, resumed, _ = run(2, 3, ckpt_path=tmp_path / "one.ckpt")
    assert steps(resumed) == [0, *steps(undisturbed)[2:]] == [0, 6, 9, 12, 15]
    assert same(net.state_dict(), expected.state_dict())


def test_lightning_evaluates_what_is_there(tmp_path):
    net, callback = Net(), Sparsify(2, 4, refresh=2)
    run = trainer(tmp_path, callback)
    before = state_of(net)
    run.test(net, batches(), verbose=False)
    assert callback.handle is None
    assert same(net.state_dict(), before)
    run.fit(net, batches())
    run.save_checkpoint(tmp_path / "fitted.ckpt")
    (expected,) = run.test(net, batches(), verbose=False)
    fresh, callback = Net(seed=2), Sparsify(2, 4, refresh=2)
    run = trainer(tmp_path, callback)
    found = run.test(fresh, batches(), ckpt_path=tmp_path / "fitted.ckpt", verbose=False)
    assert found == [expected]
    assert same(fresh.state_dict(), net.state_dict())
    assert "step 5>" in repr(callback.handle)


@pytest.mark.parametrize("log", [False, True])
def test_lightning_logs_if_asked(tmp_path, log):
    callback = Sparsify(2, 4, refresh=5, log=log)
    run = trainer(tmp_path, callback)
    run.fit(Net(), batches())
    last = callback.handle.history[-1]
    values = {"nmflow/flip_rate": last.flip_rate, "nmflow/n": 2, "nmflow/m": 4} if log else {}
    assert {name: float(value) for name, value in run.callback_metrics.items()} == pytest.approx(
        values
    )


def ddp_process(rank, folder, port):
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= address | {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    # Seeds differ: DDP makes weights and masks of rank 0 everybody's.
    net, callback = Net(seed=rank), Sparsify(2, 4, refresh=1)
    trainer(folder, callback, devices=2, strategy="ddp").fit(net, batches())
    found = {"steps": steps(callback), "exact": certified(callback), "state": state_of(net)}
    torch.save(found, f"{folder}/{rank}.pt")


@pytest.mark.slow  # both import the frameworks
def test_lightning_with_two_processes(tmp_path):
    port = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port
    multiprocessing.spawn(ddp_process, (str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["steps"] == second["steps"] == [0, 1, 2, 3]
    assert first["exact"]
    assert second["exact"]
    assert same(first["state"], second["state"])
