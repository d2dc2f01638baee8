"""The libraries that take part, each imported when something of it is first used."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any


class Lazy:
    """A module that is imported when it is first asked for an attribute, and from then on costs what a module does."""

    def __init__(self, name: str, prepare: Callable[[], None] = lambda: None):
        self._name = name
        self._prepare = prepare

    def __getattr__(self, attribute: str) -> Any:
        self._prepare()
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


def _dispatch_in_this_thread() -> None:
    """Asynchronous dispatch, JAX's default, makes a small program twice as slow: it wakes another thread for it."""
    import_module("jax").config.update("jax_cpu_enable_async_dispatch", False)


autograd = Lazy("autograd")
autograd_numpy = Lazy("autograd.numpy")
autograd_special = Lazy("autograd.scipy.special")
jax = Lazy("jax", _dispatch_in_this_thread)
jax_numpy = Lazy("jax.numpy", _dispatch_in_this_thread)
matplotlib = Lazy("matplotlib")
pyplot = Lazy("matplotlib.pyplot")
scipy_optimize = Lazy("scipy.optimize")
torch = Lazy("torch")

PACKAGES = {
    "NumPy": "numpy",
    "functrans": "functrans",
    "autograd": "autograd",
    "JAX": "jax",
    "PyTorch": "torch",
}
"""The names of libraries, with which the labels of contestants begin, and their packages."""


def library_of(label: str) -> str:
    """The library of a contestant: `JAX` of `JAX, jitted`."""
    return label.partition(",")[0]


def is_installed(label: str) -> bool:
    """Whether the library of a contestant is there."""
    return find_spec(PACKAGES[library_of(label)]) is not None


def versions() -> dict[str, str]:
    """The versions of Python and of what is installed."""
    found = {"Python": platform.python_version()}
    for name, package in {**PACKAGES, "SciPy": "scipy"}.items():
        try:
            found[name] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found
