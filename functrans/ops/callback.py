"""Primitives that call Python functions when the program runs: `debug_callback`, `io_callback`, `pure_callback`.

The function is not a parameter but the first operand, an opaque value: so programs stay equal when the function is
defined anew at each call, and the one that is called is the one of this call, with what it closes over now. The first
two are effects: every pass and transformation keeps them, in their order, and they happen once in a run.

A batch of callbacks is a loop inside of the equation: `members` has a pair (size, axes of the operands) for each batch,
outermost first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import Operation
from functrans.core.primitive import Primitive
from functrans.core.recording import no_staging
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_constant,
    def_general_jvp,
    def_specialized_impl,
)
from functrans.core.tracer import Tracer
from functrans.dtypes import opaque
from functrans.errors import MissingRuleError
from functrans.ops.families import stacked
from functrans.ops.shape import expand_dims

__all__ = ["VMAP_METHODS", "Callback", "callback_constant_p", "debug_callback_p", "io_callback_p", "pure_callback_p"]

Members = tuple[tuple[int, tuple[int | None, ...]], ...]
Batched = tuple[Sequence[Any], Sequence[int]]

VMAP_METHODS = (None, "sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")
"""How `pure_callback` is batched."""


class Callback(HasAval):
    """A Python function as a value of a program.

    Args:
        name: what to call it in messages.
        call: from arrays, and the avals that the results are to have, to the results.
    """

    __slots__ = ("aval", "call", "name")

    def __init__(self, name: str, call: Callable[[Sequence[Any], Sequence[Aval]], Sequence[Any]]) -> None:
        self.aval = Aval((), opaque)
        self.name = name
        self.call = call

    def __repr__(self) -> str:
        return f"Callback({self.name})"

    def with_replay(self) -> tuple[Callback, Callback]:
        """It, keeping what it returns, and one that returns the same again, in the same order and without a call."""
        kept: list[list[Any]] = []
        again = itertools.count()

        def call(arrays: Sequence[Any], avals: Sequence[Aval]) -> Sequence[Any]:
            results = self.call(arrays, avals)
            kept.append([np.array(x) for x in results])
            return results

        def replay(arrays: Sequence[Any], avals: Sequence[Aval]) -> Sequence[Any]:
            return [x.copy()[()] for x in kept[next(again) % len(kept)]]

        return Callback(self.name, call), Callback(self.name, replay)

    def as_constant(self, recording: Any) -> Tracer:
        """It as a constant of a program that is being recorded."""
        (constant,) = recording.record(_constant_operation(self), ())
        return constant


def _abstract(callback: Aval, *avals: Aval, results: tuple[Aval, ...] = (), members: Members = (), **_: Any) -> Any:
    if callback.dtype != opaque:
        raise TypeError(f"the first operand of a callback is the function, a Callback, got {callback}")
    sizes = tuple([size for size, _ in members])
    return tuple([aval.with_shape((*sizes, *aval.shape)) for aval in results])


def _implementation(
    *avals: Aval, results: tuple[Aval, ...] = (), members: Members = (), **_: Any
) -> Callable[..., Any]:
    sizes = tuple([size for size, _ in members])

    def run(callback: Callback, *arrays: Any) -> Sequence[Any]:
        with no_staging():
            if not members:
                return callback.call(arrays, results)
            outs = [np.empty((*sizes, *aval.shape), aval.dtype) for aval in results]
            for index, own in _each(arrays, members):
                for out, value in zip(outs, callback.call(own, results), strict=True):
                    out[index] = value
            return outs

    return run


def _each(arrays: Sequence[Any], members: Members) -> Iterator[tuple[tuple[int, ...], Sequence[Any]]]:
    """The place of each member of a batch, in their order, and its operands."""
    if not members:
        yield (), arrays
        return
    (size, axes), *inner = members
    for i in range(size):
        own = [x if axis is None else x[(*(slice(None),) * axis, i)] for x, axis in zip(arrays, axes[1:], strict=True)]
        for index, operands in _each(own, tuple(inner)):
            yield (i, *index), operands


def _batch_in_order(primitive: Primitive) -> Callable[..., Any]:
    """The batching rule of an effect: it happens for each member, in their order."""

    def batch(
        size: int, operands: Sequence[Any], axes: Sequence[int | None], *, members: Members = (), **params: Any
    ) -> Batched:
        outs = primitive.bind(*operands, members=((size, tuple(axes)), *members), **params)
        return outs, [0] * len(outs)

    return batch


def _without_derivative(name: str) -> Callable[..., Any]:
    """The JVP rule of a callback: an error, unless its results cannot have tangents."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        if any([aval.inexact for aval in params["results"]]):
            operands = ", ".join([str(x.aval.strong) for x, t in zip(primals, tangents, strict=True) if t is not None])
            raise MissingRuleError(
                f"{name} has no derivative with respect to its arguments (here {operands}): functrans cannot look into "
                "the function that it calls. Give it one (functrans.custom_jvp or functrans.custom_vjp around the "
                "function that makes the call), or say that there is none: call it on functrans.lax.stop_gradient(x)."
            )
        outs = _OF_NAME[name].bind(*primals, **params)
        return outs, [None] * len(outs)

    return jvp


# ------------------------------------------------------------------------------------------------------------
# debug_callback: an effect without results

debug_callback_p = Primitive("debug_callback", multiple_results=True, effectful=True)
"""Parameters: `ordered` and `members`."""
def_abstract(debug_callback_p, _abstract)
def_specialized_impl(debug_callback_p, _implementation)
def_batch(debug_callback_p, _batch_in_order(debug_callback_p))
def_constant(debug_callback_p, 1, "it has no results")


# ------------------------------------------------------------------------------------------------------------
# io_callback: an effect with results

io_callback_p = Primitive("io_callback", multiple_results=True, effectful=True)
"""Parameters: `ordered`, `results` (the avals that the function returns) and `members`."""
def_abstract(io_callback_p, _abstract)
def_specialized_impl(io_callback_p, _implementation)
def_batch(io_callback_p, _batch_in_order(io_callback_p))
def_general_jvp(io_callback_p, _without_derivative("io_callback"))
declare_absent(io_callback_p, "transpose", "it calls a Python function")


# ------------------------------------------------------------------------------------------------------------
# pure_callback: a function

pure_callback_p = Primitive("pure_callback", multiple_results=True)
"""Parameters: `vmap_method`, `results` (the avals that the function returns) and `members`."""


def _pure_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, vmap_method: str | None, **params: Any
) -> Batched:
    if vmap_method not in ("expand_dims", "broadcast_all", "legacy_vectorized"):
        return _pure_loop(size, operands, axes, vmap_method=vmap_method, **params)
    callback, *arrays = operands
    moved = [_vectorized(x, size, axis, vmap_method) for x, axis in zip(arrays, axes[1:], strict=True)]
    results = tuple([aval.with_shape((size, *aval.shape)) for aval in params["results"]])
    outs = pure_callback_p.bind(callback, *moved, vmap_method=vmap_method, **{**params, "results": results})
    return outs, [0] * len(outs)


def _vectorized(x: Any, size: int, axis: int | None, vmap_method: str) -> Any:
    """An operand of a function that takes all members at once."""
    if axis is not None or vmap_method == "broadcast_all":
        return stacked(x, size, axis, 0)
    return expand_dims(x, (0,)) if vmap_method == "expand_dims" else x


_pure_loop = _batch_in_order(pure_callback_p)
def_abstract(pure_callback_p, _abstract)
def_specialized_impl(pure_callback_p, _implementation)
def_batch(pure_callback_p, _pure_batch)
def_general_jvp(pure_callback_p, _without_derivative("pure_callback"))
declare_absent(pure_callback_p, "transpose", "it calls a Python function")

# ------------------------------------------------------------------------------------------------------------
# callback_constant: the function itself, inside of a program

callback_constant_p = Primitive("callback_constant", multiple_results=True)
"""A callback that a rule calls (the JVP of a user's primitive, say), whose program has no inputs but the operands."""
def_abstract(callback_constant_p, lambda *, value: (value.aval,))
def_specialized_impl(callback_constant_p, lambda *, value: lambda: (value,))
def_constant(callback_constant_p, 0, "it has no operands")
declare_absent(callback_constant_p, "batch", "it has no operands")


def _constant_operation(callback: Callback) -> Operation:
    return callback_constant_p.operation((), {"value": callback})


_OF_NAME = {"io_callback": io_callback_p, "pure_callback": pure_callback_p}
