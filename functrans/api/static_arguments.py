"""Static arguments: those that are part of the program, and that the recorded function has bound."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from functrans.api.arguments import Arguments, flatten_arguments, name_of

__all__ = ["StaticParameters", "flatten_dynamic", "static_parameters"]


class StaticParameters(NamedTuple):
    """Which parameters of a function are static."""

    positions: frozenset[int]
    names: frozenset[str]


def static_parameters(
    fun: Callable[..., Any], static_argnums: tuple[int, ...], static_argnames: tuple[str, ...]
) -> StaticParameters:
    """The static parameters of a function: one that is named is meant in whichever way it is passed.

    Raises:
        ValueError: if the function has no such parameter.
    """
    positions, names = set(static_argnums), set(static_argnames)
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return StaticParameters(frozenset(positions), frozenset(names))
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_positional = any([p.kind is p.VAR_POSITIONAL for p in parameters])
    any_keyword = any([p.kind is p.VAR_KEYWORD for p in parameters])
    for position in static_argnums:
        if -len(plain) <= position < len(plain):
            names.add(plain[position])
        elif not any_positional:
            raise ValueError(
                f"static_argnums={position} is out of range: {name_of(fun)} has {len(plain)} positional parameters"
            )
    for name in static_argnames:
        if name in plain:
            positions.add(plain.index(name))
        elif not any_keyword and name not in [p.name for p in parameters]:
            raise ValueError(f"static_argnames={name!r}: {name_of(fun)} has no parameter of this name")
    return StaticParameters(frozenset(positions), frozenset(names))


def flatten_dynamic(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    static: StaticParameters,
    shapes: bool = False,
) -> tuple[Arguments, tuple[Any, ...]]:
    """The arguments of a call that are not static, of the function with the static ones bound; and those.

    Args:
        fun, args, kwargs: the call.
        static: the static parameters.
        shapes: see `flatten_arguments`.
    """
    if not static.positions and not static.names:
        return flatten_arguments(fun, args, kwargs, shapes), ()
    n = len(args)
    fixed = {p % n: args[p] for p in static.positions if -n <= p < n}
    fixed_names = {name: kwargs[name] for name in sorted(static.names) if name in kwargs}

    def with_static(*dynamic: Any, **dynamic_kwargs: Any) -> Any:
        given = iter(dynamic)
        whole = [fixed[i] if i in fixed else next(given) for i in range(n)]
        return fun(*whole, **dynamic_kwargs, **fixed_names)

    dynamic = tuple([x for i, x in enumerate(args) if i not in fixed])
    dynamic_kwargs = {name: x for name, x in kwargs.items() if name not in fixed_names}
    arguments = flatten_arguments(_Named(with_static, fun, n, fixed), dynamic, dynamic_kwargs, shapes)
    return arguments, (*[(i, fixed[i]) for i in sorted(fixed)], *fixed_names.items())


class _Named:
    """A function with its static arguments bound, which shows the names of the others."""

    def __init__(self, call: Callable[..., Any], fun: Callable[..., Any], n_args: int, fixed: dict[int, Any]) -> None:
        self._call = call
        self.__name__ = name_of(fun)
        try:
            parameters = list(inspect.signature(fun).parameters.values())[:n_args]
        except (TypeError, ValueError):
            return  # it does not tell
        kept = [p for i, p in enumerate(parameters) if i not in fixed]
        positional = [p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=p.empty) for p in kept]
        self.__signature__ = inspect.Signature(positional)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)
