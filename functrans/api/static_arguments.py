"""Parameters that a transformation declares by number or by name: static ones are part of the program, and the function
that is recorded has the arguments for them bound.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from functrans.api.arguments import Arguments, flatten_arguments, name_of

__all__ = ["DeclaredParameters", "declared_parameters", "flatten_dynamic"]


class DeclaredParameters(NamedTuple):
    """Some parameters of a function."""

    positions: frozenset[int]
    names: frozenset[str]


def declared_parameters(
    fun: Callable[..., Any], argnums: tuple[int, ...], argnames: tuple[str, ...], what: str = "static"
) -> DeclaredParameters:
    """Parameters of a function: one that is named is meant in whichever way it is passed.

    Args:
        fun: the function.
        argnums: their positions; negative ones count from the end.
        argnames: their names.
        what: what they are declared as, for messages: `static` of `static_argnums`.

    Raises:
        ValueError: if the function has no such parameter.
    """
    positions, names = set(argnums), set(argnames)
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return DeclaredParameters(frozenset(positions), frozenset(names))
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_positional = any([p.kind is p.VAR_POSITIONAL for p in parameters])
    any_keyword = any([p.kind is p.VAR_KEYWORD for p in parameters])
    for position in argnums:
        if -len(plain) <= position < len(plain):
            names.add(plain[position])
        elif not any_positional:
            raise ValueError(
                f"{what}_argnums={position} is out of range: {name_of(fun)} has {len(plain)} positional parameters"
            )
    for name in argnames:
        if name in plain:
            positions.add(plain.index(name))
        elif not any_keyword and name not in [p.name for p in parameters]:
            raise ValueError(f"{what}_argnames={name!r}: {name_of(fun)} has no parameter of this name")
    if not any_positional:  # else how many there are depends on the call
        positions = {position % len(plain) for position in positions}
    return DeclaredParameters(frozenset(positions), frozenset(names))


def flatten_dynamic(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    static: DeclaredParameters,
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
