"""The layers of functrans, held against its imports.

A module imports only from rows above its own, or from its own row without a cycle, and never inside a
function. The checks read the source, and do not import it.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "functrans"

ROWS = {
    "errors": 0,
    "caching": 0,
    "config": 0,
    "forking": 0,
    "tree": 1,
    "tree_registry": 1,
    "dtypes": 1,
    "core": 2,
    "ops": 3,
    "transforms": 4,
    "passes": 4,
    "backends": 5,
    "control": 6,
    "analysis": 6,
    "api": 7,
}
LAST_ROW = 8  # what users import: everything that ROWS does not name

# Modules that may import by name, or inside a function, because what they load is optional, or not needed by all.
OPTIONAL_LOADERS: frozenset[str] = frozenset(
    {"functrans", "functrans.data.loading", "functrans.drawing.loading", "functrans.sparse.loading"}
)

MAX_LINES = 600
VAGUE_NAMES = {"common", "helpers", "misc", "util", "utils"}


class Module(NamedTuple):
    name: str
    path: Path
    source: str
    tree: ast.Module


def read_modules(package: Path) -> dict[str, Module]:
    """All modules of a package by their dotted names; a package itself stands for its `__init__.py`."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        source = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, source, ast.parse(source, str(path)))
    return modules


def row(name: str) -> int:
    """The row of a module, decided by the first name below `functrans`."""
    return ROWS.get(name.removeprefix("functrans.").partition(".")[0], LAST_ROW)


def base_of(node: ast.ImportFrom, module: Module) -> str:
    """What stands between `from` and `import`, as an absolute name."""
    if node.level == 0:
        return node.module or ""
    package = module.name.split(".")
    if module.path.name != "__init__.py":
        package.pop()
    parents = package[: len(package) - (node.level - 1)]
    return ".".join(parents + ([node.module] if node.module else []))


def imported_modules(module: Module, modules: dict[str, Module]) -> Iterator[tuple[int, str]]:
    """The line and the name of each import in `module` that reaches one of `modules`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, module)
            members = [f"{base}.{alias.name}" for alias in node.names]
            targets = [member if member in modules else base for member in members]
        else:
            continue
        yield from ((node.lineno, target) for target in targets if target in modules)


def hidden_imports(module: Module) -> Iterator[int]:
    """The lines of imports inside functions, and of imports by name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            imports = (n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
            yield from (n.lineno for n in imports)
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("import_module", "__import__"):
                yield node.lineno


def layer_faults(modules: dict[str, Module]) -> list[str]:
    return [
        f"{name} (row {row(name)}), line {line}, imports {target} (row {row(target)})"
        for name, module in modules.items()
        for line, target in imported_modules(module, modules)
        if row(target) > row(name)
    ]


def import_cycle(modules: dict[str, Module]) -> list[str]:
    """A cycle of imports, each module followed by one that it imports, or nothing."""
    graph = {name: {t for _, t in imported_modules(module, modules)} for name, module in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def report(faults: list[str]) -> str:
    return "\n".join(["", *faults])


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    found = read_modules(PACKAGE)
    assert "functrans" in found
    return found


def test_imports_only_from_rows_above(modules):
    faults = layer_faults(modules)
    assert not faults, report(faults)


def test_no_import_cycle(modules):
    cycle = import_cycle(modules)
    assert not cycle, "import cycle: " + " imports ".join(f"{name} (row {row(name)})" for name in cycle)


def test_no_hidden_import(modules):
    faults = [
        f"{name} (row {row(name)}), line {line}: an import inside a function, or by name"
        for name, module in modules.items()
        if name not in OPTIONAL_LOADERS
        for line in sorted(set(hidden_imports(module)))
    ]
    assert not faults, report(faults)


def test_modules_are_short(modules):
    lengths = {name: len(module.source.splitlines()) for name, module in modules.items()}
    faults = [f"{name}: {length} lines" for name, length in lengths.items() if length > MAX_LINES]
    assert not faults, report(faults)


def test_modules_are_named_for_what_they_own(modules):
    faults = [name for name in modules if name.split(".")[-1] in VAGUE_NAMES]
    assert not faults, report(faults)


def test_every_folder_is_a_package(modules):
    folders = {module.path.parent for module in modules.values()}
    faults = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not faults, report(faults)


def test_importing_functrans_loads_only_numpy():
    script = """
import sys, numpy, numpy.random
before = set(sys.modules)
import functrans
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - set(sys.stdlib_module_names) - {"functrans", "numpy"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=PACKAGE.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# The checks themselves, on small packages of known shape.


def write_package(root: Path, files: dict[str, str]) -> dict[str, Module]:
    for name, source in files.items():
        path = root / "functrans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return read_modules(root / "functrans")


@pytest.mark.parametrize(
    ("where", "statement", "expected"),
    [
        ("core/aval.py", "from ..dtypes import promote", {"functrans.dtypes"}),
        ("core/aval.py", "from .. import dtypes, errors", {"functrans.dtypes", "functrans.errors"}),
        ("core/aval.py", "from . import jaxpr", {"functrans.core.jaxpr"}),
        ("core/aval.py", "from . import something", {"functrans.core"}),
        ("core/__init__.py", "from .jaxpr import Jaxpr", {"functrans.core.jaxpr"}),
        ("core/__init__.py", "from ..errors import Error", {"functrans.errors"}),
        ("__init__.py", "from .core import jaxpr", {"functrans.core.jaxpr"}),
        ("errors.py", "from functrans import core", {"functrans.core"}),
        ("errors.py", "from functrans import name", {"functrans"}),
        ("errors.py", "import functrans.core.jaxpr as j", {"functrans.core.jaxpr"}),
        ("errors.py", "import numpy as np\nfrom os import path", set()),
        ("errors.py", "if True:\n    from .core import jaxpr", {"functrans.core.jaxpr"}),
    ],
)
def test_imports_are_resolved(tmp_path, where, statement, expected):
    names = ["__init__.py", "errors.py", "dtypes.py", "core/__init__.py", "core/aval.py", "core/jaxpr.py"]
    modules = write_package(tmp_path, dict.fromkeys(names, "") | {where: statement})
    importer = next(m for m in modules.values() if m.path == tmp_path / "functrans" / where)
    assert {target for _, target in imported_modules(importer, modules)} == expected


def test_a_layer_fault_is_named(tmp_path):
    modules = write_package(tmp_path, {"api.py": "", "core/aval.py": "\nfrom ..api import grad"})
    assert layer_faults(modules) == ["functrans.core.aval (row 2), line 2, imports functrans.api (row 7)"]


def test_a_cycle_is_found(tmp_path):
    files = {
        "passes/fold.py": "from ..transforms import jvp",
        "transforms/jvp.py": "from .batch import rule",
        "transforms/batch.py": "from ..passes.fold import fold",
        "errors.py": "",
    }
    modules = write_package(tmp_path, files)
    assert not layer_faults(modules)
    first, *rest = import_cycle(modules)
    assert rest[-1] == first
    assert len(rest) == 3
    for importer, imported in zip([first, *rest], rest, strict=False):
        assert imported in {target for _, target in imported_modules(modules[importer], modules)}


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import os",
        "class C:\n    def f(self):\n        from os import path",
        "import importlib\nimportlib.import_module('os')",
        "__import__('os')",
    ],
)
def test_a_hidden_import_is_found(tmp_path, source):
    modules = write_package(tmp_path, {"api.py": source})
    assert list(hidden_imports(modules["functrans.api"]))
