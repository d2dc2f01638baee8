"""Names for parts of a program: named_scope and named_call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any

from functrans.api.arguments import array_outputs, flatten_arguments, name_of, record
from functrans.api.execution import strengthened
from functrans.api.transformed import Transformed
from functrans.control.jit import bind_jit
from functrans.core.recording import recording_for, scope
from functrans.passes.inline import inline
from functrans.tree import unflatten

__all__ = ["named_call", "named_scope"]


def named_scope(name: str) -> NamedScope:
    """A scope of a name: what is recorded within it says so in messages. It changes nothing else.

    Args:
        name: the name; scopes may be nested, and messages show them as a path (`encoder/attention`).

    Returns:
        A context manager, which is a decorator too.

    Raises:
        TypeError: if the name is not a string.
        ValueError: if it is empty.

    >>> import numpy as np
    >>> import functrans as ft
    >>> with ft.named_scope("encoder"), ft.named_scope("attention"):
    ...     program = ft.make_jaxpr(np.sin)(1.0)
    >>> program.eqns[0].scopes
    ('encoder', 'attention')
    """
    return NamedScope(name)


class NamedScope(scope, ContextDecorator):
    """The context manager that `named_scope` returns. It may be entered more than once, from several threads too."""

    def __init__(self, name: str) -> None:
        super().__init__(_checked(name, "named_scope"))

    def __repr__(self) -> str:
        return f"named_scope({self.name!r})"


def _checked(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} needs a name, got {name!r:.60} of type {type(name).__name__}")
    if not name:
        raise ValueError(f"{what} needs a name, got an empty string")
    return name


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """A function that is one equation, with a name, wherever a call of it is recorded.

    Its arguments have values inside if they have values outside, so Python may branch on them where it could before.

    Args:
        fun: a function of arrays, numbers and pytrees.
        name: the name; that of the function if not given.

    Returns:
        A function with the arguments of `fun`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> layer = ft.named_call(lambda x: np.tanh(x) + 1, name="layer")
    >>> ft.make_jaxpr(lambda x: 2 * layer(x))(0.5)
    { lambda ; a:f64[]. let
        b:f64[] = jit[
          jaxpr={ lambda ; a:f64[]. let
              b:f64[] = tanh a
              c:f64[] = add b 1.0:f64[]
            in (c,) }
          name=layer
        ] a
        c:f64[] = mul 2.0:f64[] b
      in (c,) }
    """
    return NamedCall(fun, name=name)


class NamedCall(Transformed):
    """The function that `named_call` returns."""

    transformation = "named_call"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        name = options["name"]
        self.name = name_of(fun) if name is None else _checked(name, "named_call")

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the function as one equation; where nothing records, just call it."""
        with scope(self.name):
            arguments = flatten_arguments(self.fun, args, kwargs)
            if recording_for(arguments.values) is None:
                return self.fun(*args, **kwargs)
            recorded = record(arguments, arguments.values, lambda out: array_outputs(self.fun, out), staging=True)
            outs = strengthened(bind_jit(inline(recorded.jaxpr), self.name, recorded.values))
        return unflatten(recorded.rest, outs)
