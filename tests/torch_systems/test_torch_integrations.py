"""Callbacks of frameworks that may be missing."""

import importlib
import sys
import types

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")


import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch.integrations.lightning import Sparsify  # noqa: E402
from nmflow.torch.integrations.transformers import Sparsify as Trained  # noqa: E402


@pytest.mark.parametrize("callback", [Sparsify, Trained])
def test_options_are_looked_at_early(callback):
    with pytest.raises(TypeError, match="refesh"):
        callback(2, 4, refesh=3)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("lightning", ["lightning.pytorch", "pytorch_lightning"]), ("transformers", ["transformers"])],
)
def test_missing_frameworks(monkeypatch, name, hidden):
    module = f"nmflow.torch.integrations.{name}"
    monkeypatch.delitem(sys.modules, module)
    for each in hidden:
        monkeypatch.setitem(sys.modules, each, None)
    with pytest.raises(nmflow.errors.MissingExtraError, match=rf"nmflow\[{name}\]"):
        importlib.import_module(module)


def test_either_package_of_lightning(monkeypatch):
    other = types.ModuleType("pytorch_lightning")
    other.Callback = type("Callback", (), {})
    monkeypatch.delitem(sys.modules, "nmflow.torch.integrations.lightning")
    monkeypatch.delitem(sys.modules, "lightning.pytorch")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", other)
    module = importlib.import_module("nmflow.torch.integrations.lightning")
    assert issubclass(module.Sparsify, other.Callback)
