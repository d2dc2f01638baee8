"""NumPy's generators in functions that are recorded once and run often, each time with the same numbers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinMethodType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from functrans.errors import user_location

__all__ = ["GeneratorWatch"]

_DEPTH = 4
"""How far from the function a generator is looked for: in what it closes over, in the functions that it calls, ..."""


class GeneratorWatch:
    """The generators that a function can reach, and their states before it is recorded.

    Args:
        fun: the function.
        leaves: those of its arguments.
    """

    def __init__(self, fun: Callable[..., Any], leaves: Iterable[Any]) -> None:
        found: dict[int, tuple[str, Any]] = {}
        for name, generator in _reachable([("an argument", leaf) for leaf in leaves] + [("", fun)], set(), _DEPTH):
            found.setdefault(id(generator), (name, generator))
        if found and threading.active_count() > 1:  # another thread may draw from it meanwhile
            found.pop(id(_global_generator()), None)
        self.before = [(name, generator, _state(generator)) for name, generator in found.values()]

    def check(self, name: str) -> None:
        """Raise if the function has drawn from one of them.

        Args:
            name: what to call the function.

        Raises:
            TypeError: naming it.
        """
        for what, generator, before in self.before:
            if _state(generator) != before:
                if generator is _global_generator():
                    what = "numpy.random"
                else:
                    what = f"the numpy.random.{type(generator).__name__} {what!r}"
                raise TypeError(
                    f"{name} drew from {what} while it was recorded (called at {user_location()}). The program runs "
                    "without it, with the same numbers each time. Draw before, and pass the numbers as an argument; "
                    "or draw with a key: functrans.random.normal(key, shape)."
                )


def _global_generator() -> Any:
    """The generator behind `np.random.normal` and its like."""
    return np.random.normal.__self__  # type: ignore[attr-defined]


def _is_generator(thing: Any) -> bool:
    # Looked up without importing it: another thread may be at that while this process is forked, and the child would
    # wait for it for ever. As long as the module is not there, there is no generator.
    module = sys.modules.get("numpy.random")
    kinds = [getattr(module, name, None) for name in ("Generator", "RandomState", "BitGenerator")]
    return isinstance(thing, tuple([kind for kind in kinds if kind is not None]))


def _state(generator: Any) -> Any:
    """The state, as something that can be compared."""
    if isinstance(generator, np.random.RandomState):
        return _comparable(generator.get_state(legacy=False))
    return _comparable((generator.bit_generator if isinstance(generator, np.random.Generator) else generator).state)


def _comparable(state: Any) -> Any:
    if isinstance(state, np.ndarray):
        return state.tobytes()
    return {name: _comparable(value) for name, value in state.items()} if isinstance(state, dict) else state


def _reachable(things: Iterable[tuple[str, Any]], seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """The generators among things and in what they hold, with their names."""
    for name, thing in things:
        if _is_generator(thing):
            yield name, thing
        elif depth and id(thing) not in seen:
            seen.add(id(thing))
            yield from _reachable(_held(name, thing), seen, depth - 1)


def _held(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, FunctionType):
        code = thing.__code__
        for variable, cell in zip(code.co_freevars, thing.__closure__ or (), strict=False):
            try:
                yield variable, cell.cell_contents
            except ValueError:  # it is not filled yet
                continue
        for variable in _globals_of(code):
            if variable == "random":  # its state is long, so that it is looked at only where it may be meant
                yield "numpy.random", _global_generator()
            if variable in thing.__globals__:
                yield variable, thing.__globals__[variable]
        yield from [("a default", value) for value in (thing.__defaults__ or ())]
    elif isinstance(thing, MethodType):
        yield name, thing.__func__
        yield "self", thing.__self__
    elif isinstance(thing, BuiltinMethodType):  # numpy.random.normal, by its own name
        yield name, thing.__self__
    elif isinstance(thing, (list, tuple)) and len(thing) <= 16:
        yield from [(name, part) for part in thing]
    elif not isinstance(thing, type) and type(thing).__module__ != "builtins" and hasattr(thing, "__dict__"):
        yield from [(f"{name}.{attribute}" if name else attribute, value) for attribute, value in vars(thing).items()]


def _globals_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
