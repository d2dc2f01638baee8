"""A Python function as a parameter of an equation."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

__all__ = ["FunctionParameter"]


class FunctionParameter:
    """A function that is compared by a key which says what it does, so that one that is defined anew at each call,
    inside of another function, does not make a new program each time.

    >>> def make():
    ...     return lambda x: x + 1
    >>> FunctionParameter(make(), "successor") == FunctionParameter(make(), "successor")
    True
    """

    __slots__ = ("_key", "function")

    def __init__(self, function: Callable[..., Any], key: Hashable) -> None:
        self.function = function
        self._key = key

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return type(other) is FunctionParameter and self._key == other._key

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionParameter, (self.function, self._key)

    def __repr__(self) -> str:
        return str(getattr(self.function, "__name__", None) or repr(self.function))
