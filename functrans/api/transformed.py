"""What all transformed functions have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

from functrans.core.references import object_named
from functrans.errors import hide_frames

__all__ = ["Transformed", "look_like"]


class Transformed:
    """A function made by a transformation from another: `fun`, with the options of the transformation.

    It has the name, the documentation and the signature of the function, can be a method of a class, and can be
    pickled if the function can, or if it stands in its module under the function's name (as a decorated one does).
    """

    transformation = "a transformation"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        if not callable(fun):
            hint = ": write @classmethod above it, not below" if isinstance(fun, classmethod) else ""
            raise TypeError(
                f"{self.transformation} needs a function, got {fun!r:.80} of type {type(fun).__name__}{hint}"
            )
        look_like(self, fun)
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
        if instance is None or isinstance(self.fun, staticmethod):
            return self
        return MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = getattr(self, "__qualname__", "")
        if object_named(getattr(self, "__module__", ""), name) is self:
            return name
        return _rebuild, (type(self), self.fun, self.options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {getattr(self.fun, '__qualname__', self.fun)}>"


def _rebuild(kind: type[Transformed], fun: Callable[..., Any], options: dict[str, Any]) -> Transformed:
    return kind(fun, **options)


def look_like(wrapper: Any, fun: Callable[..., Any]) -> None:
    """Give an object name, documentation, signature and attributes of the function that it wraps.

    Those of a `functools.partial` are the partial's function's.
    """
    named = fun
    while isinstance(named, functools.partial):
        named = named.func
    # What a transformed function is made of is its own business, and not an attribute of the user's function.
    own = isinstance(named, Transformed)
    functools.update_wrapper(wrapper, named, updated=() if own else functools.WRAPPER_UPDATES)
    wrapper.__wrapped__ = fun
