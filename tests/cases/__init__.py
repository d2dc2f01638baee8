"""The table of primitives: a row or more for each, from which `tests/test_primitives.py` generates its checks."""

from importlib import import_module
from pkgutil import iter_modules

CASES = [
    case
    for module in iter_modules(__path__)
    if module.name != "case"
    for case in import_module(f"{__name__}.{module.name}").CASES
]
