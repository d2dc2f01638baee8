"""A function whose derivatives are checked: its inexact arguments and outputs as lists, with their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from functrans.api import jvp, vjp
from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, name_of
from functrans.testing.finite_differences import promoted
from functrans.tree import flatten, unflatten

__all__ = ["Differentiated", "differentiated", "forward_of", "reverse_of"]

Array = np.ndarray[Any, Any]
Forward = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
Backward = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Differentiated:
    """A function of float and complex arrays, at a point.

    Attributes:
        name: what messages call it.
        call: the function, from arrays to a tuple of arrays.
        xs: the point, in double precision where the function takes it.
        given: the point in the dtypes that the user gave.
        paths: the name of each argument, `params['W'][2]`.
        order: which derivative is being taken.
        forward: its JVP, from the point and a direction to the tangents of the outputs.
        backward: its VJP, from the point and cotangents of the outputs to cotangents of the arguments.
        is_traced: whether both come from functrans, so that a program can be looked at.
    """

    name: str
    call: Callable[..., tuple[Any, ...]]
    xs: list[Array]
    given: list[Array]
    paths: list[str]
    order: int
    forward: Forward
    backward: Backward
    is_traced: bool = True

    @property
    def is_low_precision(self) -> bool:
        """Whether the user's dtypes are narrower than those the rules are checked in."""
        return any([x.dtype != y.dtype for x, y in zip(self.xs, self.given, strict=True)])


def differentiated(
    f: Callable[..., Any],
    args: Sequence[Any],
    f_jvp: Callable[..., Any] | None = None,
    f_vjp: Callable[..., Any] | None = None,
) -> Differentiated:
    """`f` at `args`, with its derivatives by functrans or by the functions given.

    Raises:
        TypeError: if no argument, or no output, is a float.
    """
    arguments = flatten_arguments(f, tuple(args), {})
    moved = [i for i, aval in enumerate(arguments.avals) if aval.inexact]
    if not moved:
        raise TypeError(f"no argument of {name_of(f)} is a float or complex array: there is no derivative to check")

    def whole(xs: Sequence[Any]) -> tuple[Any, ...]:
        inputs = list(arguments.values)
        for i, x in zip(moved, xs, strict=True):
            inputs[i] = x
        return arguments.rebuild(inputs)[0]

    def call(*xs: Any) -> tuple[Any, ...]:
        leaves, _ = array_outputs(f, f(*whole(xs)))
        return tuple([y for y in leaves if _is_inexact(y)])

    given = [np.asarray(arguments.values[i]) for i in moved]
    xs = _in_double(call, given)
    if not call(*xs):
        raise TypeError(f"no output of {name_of(f)} is a float or complex array: there is no derivative to check")
    paths = [str(arguments.path(i)) for i in moved]
    forward = forward_of(call) if f_jvp is None else _given_forward(f_jvp, arguments, moved, whole)
    backward = reverse_of(call) if f_vjp is None else _given_backward(f_vjp, whole)
    return Differentiated(name_of(f), call, xs, given, paths, 1, forward, backward, f_jvp is None and f_vjp is None)


def _is_inexact(y: Any) -> bool:
    return bool(y.dtype.kind in "fc") if hasattr(y, "dtype") else isinstance(y, (float, complex))


def _in_double(call: Callable[..., Any], given: list[Array]) -> list[Array]:
    xs = [promoted(x) for x in given]
    if all([x.dtype == y.dtype for x, y in zip(xs, given, strict=True)]):
        return given
    try:
        call(*xs)
    except Exception:  # written for one dtype alone
        return given
    return xs


def forward_of(call: Callable[..., Any]) -> Forward:
    """The JVP by functrans."""
    return lambda xs, vs: jvp(call, tuple(xs), tuple(vs))[1]


def reverse_of(call: Callable[..., Any]) -> Backward:
    """The VJP by functrans."""
    return lambda xs, cts: vjp(call, *xs)[1](tuple(cts))


def _given_forward(
    f_jvp: Callable[..., Any], arguments: Arguments, moved: list[int], whole: Callable[..., tuple[Any, ...]]
) -> Forward:
    def forward(xs: Sequence[Any], vs: Sequence[Any]) -> list[Any]:
        tangents: list[Any] = [None] * len(arguments.values)
        for i, v in zip(moved, vs, strict=True):
            tangents[i] = v
        _, dots = f_jvp(whole(xs), arguments.rebuild(tangents)[0])
        return [t for t in flatten(dots)[0] if _is_inexact(t)]

    return forward


def _given_backward(f_vjp: Callable[..., Any], whole: Callable[..., tuple[Any, ...]]) -> Backward:
    def backward(xs: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        out, pull_back = f_vjp(*whole(xs))
        leaves, treedef = flatten(out)
        remaining = iter(cts)
        filled = [next(remaining) if _is_inexact(y) else None for y in leaves]
        return [ct for ct in flatten(pull_back(unflatten(treedef, filled)))[0] if _is_inexact(ct)]

    return backward
