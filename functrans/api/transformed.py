"""What all transformed functions have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

from functrans.errors import hide_frames

__all__ = ["Transformed"]


class Transformed:
    """A function made by a transformation from another: `fun`, with the options of the transformation.

    It has the name, the documentation and the signature of the function, can be a method of a class, and can be
    pickled if the function can.
    """

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        if not callable(fun):
            raise TypeError(f"{self.transformation} needs a function, got {fun!r:.80} of type {type(fun).__name__}")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.call(args, kwargs)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run; what a subclass is about."""
        raise TypeError(f"{type(self).__name__} does not define call")

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.fun, self.options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {getattr(self.fun, '__qualname__', self.fun)}>"


def _rebuild(kind: type[Transformed], fun: Callable[..., Any], options: dict[str, Any]) -> Transformed:
    return kind(fun, **options)
