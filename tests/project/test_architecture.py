"""Imports go one way, and importing nmflow loads nothing heavy."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import nmflow
from nmflow.compiling.sources import sources_of
from nmflow.solvers import registry

PACKAGE = Path(nmflow.__file__).parent

# A module may import from layers below its own, and from its own where no cycle arises.
LAYERS = [
    ["errors", "models"],
    ["compiling", "problem"],
    ["simd", "diversity"],
    ["cuda", "proof", "solvers"],
    ["units", "device", "lax"],
    ["sharded"],
    ["solve", "certify", "hardware", "training"],
    ["tracker", "priced", "permuting"],
    ["permute"],
    ["warming"],
    [""],
    ["checkpoint", "jax", "torch"],
    ["commandline"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@functools.cache
def modules():
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip("."): path
        for path in PACKAGE.rglob("*.py")
    }


def imports(path):
    """Modules of nmflow that a file imports, anywhere in it, as dotted names below nmflow."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "nmflow":
                found.add(name.removeprefix("nmflow").lstrip("."))
    return found


def resolve(name, known):
    """The module that an imported name lives in."""
    while name not in known:
        name = name.rpartition(".")[0]
    return name


@functools.cache
def graph():
    known = modules()
    return {name: {resolve(i, known) for i in imports(path)} for name, path in known.items()}


def test_every_module_has_its_layer():
    tops = {name.split(".")[0] for name in modules()}
    assert tops == set(LEVEL)


def test_imports_go_down():
    for name, needs in graph().items():
        for need in needs:
            top, below = name.split(".")[0], need.split(".")[0]
            assert top == below or LEVEL[below] < LEVEL[top], f"{name} imports {need}"


def test_no_cycles():
    arrows = graph()
    done, path = set(), []

    def visit(name):
        assert name not in path, f"cycle: {' -> '.join([*path, name])}"
        if name in done:
            return
        path.append(name)
        for need in arrows[name] - {name}:
            visit(need)
        done.add(path.pop())

    for name in arrows:
        visit(name)


def test_certificates_share_nothing_with_solvers():
    arrows = graph()
    reached, todo = set(), ["certify"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += arrows[name]
    tops = {name.split(".")[0] for name in reached}
    assert not tops & {"solvers", "simd"}


def test_kernels_are_stamped_with_all_that_they_import():
    """:mod:`nmflow.compiling.sources` finds imports by their words, which is quick."""
    known, arrows = modules(), graph()
    for name in known:
        reached, todo = set(), [name]
        while todo:
            module = todo.pop()
            if module not in reached:
                reached.add(module)
                todo += arrows[module]
        assert sources_of(known[name]) == {known[module] for module in reached}, name


def test_methods_share_no_internals():
    """A method's module imports no other method's module."""
    homes = {method.module.removeprefix("nmflow.") for method in registry.METHODS.values()}
    for name in homes:
        assert not (graph()[name] & (homes - {name})), name


def test_only_adapters_name_frameworks():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                heads = {(getattr(node, "module", None) or n).split(".")[0] for n in names}
                frameworks = {"torch", "jax", "optax", "flax", "equinox", "cupy", "dask"}
                assert not heads & frameworks or name.split(".")[0] in (
                    "torch",
                    "jax",
                    "device",
                    "lax",
                    "sharded",
                )


def test_import_is_light():
    heavy = [
        "torch",
        "jax",
        "dask",
        "pulp",
        "matplotlib",
        "numba",
        "scipy",
        "llvmlite",
        "rich",
        "safetensors",
    ]
    code = f"import sys, nmflow; nmflow.methods(); print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names():
    # 26, and the search for orders with what it returns.
    assert len(nmflow.__all__) <= 28
    for name in nmflow.__all__:
        assert getattr(nmflow, name) is not None
        if name != "__version__":
            assert getattr(nmflow, name).__doc__, name


def test_folders_are_small():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    sizes = {str(folder): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > 15} == {}


@pytest.mark.parametrize("name", sorted(modules()))
def test_files_are_small(name):
    path = modules()[name]
    assert path.read_text().count("\n") <= 300
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "every module says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            body = node.end_lineno - node.lineno - doc.count("\n")
            assert body <= 60, f"{node.name} is {body} lines"
