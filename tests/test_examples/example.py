"""The programs of examples/, imported as modules."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """An example by its name; the tests of the module are skipped where what it needs is not installed."""
    for needed in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(needed)
    importlib.import_module("tqdm").tqdm.monitor_interval = 0  # no thread of its own, which would outlive the test
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))  # examples import one another
    return importlib.import_module(name)
