"""What is masked of published architectures, in memory and in files, as reviewed line by line."""

import sys

import architectures
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")

TABLE = architectures.read_table()


def test_the_table_is_complete():
    assert list(TABLE) == [*architectures.TRANSFORMERS, *architectures.DIFFUSERS]


@pytest.mark.parametrize("name", TABLE)
def test_decisions(name, tmp_path):
    if name in architectures.DIFFUSERS:
        pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = architectures.build(name)
    found = architectures.columns(
        architectures.in_memory(model), architectures.in_file(model, tmp_path)
    )
    assert found == TABLE[name]


def test_transformers_is_not_imported_for_its_classes():
    import subprocess

    code = (
        "import sys, torch, nmflow.torch; nmflow.torch.sparsify(torch.nn.Linear(8, 8), 2, 4);"
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
