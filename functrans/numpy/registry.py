"""Which functions of this package stand for which of NumPy's, and how a call finds its way.

A function is written once, for tracers. `implements` makes the public one of it: without tracers, and outside of any
recording that takes all operations, that is NumPy's own function; else the call is recorded. The same table answers
when a plain NumPy function meets a tracer (NEP 18).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from functrans.core.aval import aval_of
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.errors import MissingRuleError, user_location
from functrans.numpy.dispatch import record_call, record_ternary, record_unary
from functrans.numpy.promotion import same_dtype
from functrans.ops.joining import concatenate
from functrans.ops.shape import expand_dims

__all__ = [
    "FUNCTIONS",
    "PLANNED",
    "TERNARY",
    "as_operand",
    "axes_of",
    "axis_of",
    "call_function",
    "call_planned",
    "dtype_of",
    "flat_axis",
    "has_tracer",
    "implements",
    "lengths_of",
    "record",
    "reduced_axes",
    "refuse_out",
    "shape_of",
]

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""What records a call of a function of NumPy."""

TERNARY: dict[Callable[..., Any], Callable[..., Any]] = {}
"""The composition of primitives for a function of three operands, for calls that need no reading of them."""

_HARMLESS: dict[str, tuple[Any, ...]] = {
    "order": (None, "C", "K", "A"),
    "subok": (True, False),
    "casting": ("same_kind", None),
    "like": (None,),
    "device": (None, "cpu"),
    "copy": (None, True, False),
    "out": (None,),
    "where": (True,),
}
"""Keywords that a function may be given though it has no use for them, with the values that change nothing."""


def has_tracer(args: Sequence[Any]) -> bool:
    """Whether a tracer is among some arguments, or in a list or tuple among them."""
    for x in args:
        kind = type(x)
        if kind is Tracer or ((kind is list or kind is tuple) and has_tracer(x)):
            return True
    return False


def implements(*numpy_functions: Callable[..., Any]) -> Callable[[F], F]:
    """Make the public function of one that records; and enter it in the table, for these functions of NumPy.

    The signature should be NumPy's. Where it has `out`, nothing but None is taken for it.
    """
    numpy_function = numpy_functions[0]

    def decorate(recorded: F) -> F:
        parameters = list(inspect.signature(recorded).parameters.values())
        known = None if any([p.kind is p.VAR_KEYWORD for p in parameters]) else frozenset([p.name for p in parameters])
        position = next((i for i, p in enumerate(parameters) if p.name == "out" and p.kind is not p.KEYWORD_ONLY), None)

        def entry(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                kwargs = _checked(recorded.__name__, kwargs, known)
            if position is not None and len(args) > position and args[position] is not None:
                refuse_out(recorded.__name__)
            return recorded(*args, **kwargs)

        @wraps(recorded)
        def public(*args: Any, **kwargs: Any) -> Any:
            if staging_open():
                return entry(*args, **kwargs)
            for x in args:  # written out, since this is all that a call outside of recordings pays
                kind = type(x)
                if kind is Tracer or ((kind is list or kind is tuple) and has_tracer(x)):
                    return entry(*args, **kwargs)
            for key in kwargs:
                if type(kwargs[key]) is Tracer:
                    return entry(*args, **kwargs)
            return numpy_function(*args, **kwargs)

        for function in numpy_functions:
            FUNCTIONS[function] = entry
        return public  # type: ignore[return-value]

    return decorate


def _checked(name: str, kwargs: dict[str, Any], known: frozenset[str] | None) -> dict[str, Any]:
    """The keywords that a function has a use for."""
    kept = {}
    for key, value in kwargs.items():
        if value is np._NoValue:
            continue
        if key == "out" and value is not None:
            refuse_out(name)
        if known is None or key in known:
            kept[key] = value
        elif key not in _HARMLESS or not any([value is x or value == x for x in _HARMLESS[key]]):
            raise TypeError(f"{name}: the keyword {key}={value!r:.40} is not supported inside of a program")
    return kept


def refuse_out(name: str) -> NoReturn:
    """Raise the error for an `out` argument.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        f"{name}(..., out=a) at {user_location()} would write what is being recorded into an array, which keeps no "
        f"derivative. Take the result instead: a = {name}(...); for a += x write a = a + x."
    )


def call_function(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Record a call of a function of NumPy.

    Raises:
        MissingRuleError: if there is none here that stands for it.
    """
    if function in TERNARY and len(args) == 3 and not kwargs:
        x, y, z = args
        if type(x) in _OPERANDS and type(y) in _OPERANDS and type(z) in _OPERANDS:
            return record_ternary(TERNARY[function], x, y, z)
    entry = FUNCTIONS.get(function)
    if entry is None:
        module, name = getattr(function, "__module__", "numpy"), getattr(function, "__name__", repr(function))
        raise MissingRuleError(
            f"{module}.{name} was called with a tracer at {user_location()}, and functrans has no rule for it. Write "
            f"it with other functions of NumPy, or take the plain value, without its derivative: functrans.concrete(x)."
        )
    return entry(*args, **kwargs)


def call_planned(function: Callable[..., Any], x: Tracer, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Record a call of a function of one array and of arguments that are part of the program.

    The whole call is planned, with the reading of its arguments, so that to record it again is one lookup.
    """
    if not rest and not kwargs:
        return record_unary(_planned, x, (function, (), (), ()))
    types = tuple(map(type, rest))
    if kwargs:
        types += tuple(map(type, kwargs.values()))
    if _PLANNABLE.issuperset(types) and (tuple not in types or _hold_ints(rest, kwargs)):
        return record_unary(_planned, x, (function, rest, tuple(kwargs.items()), types))
    return FUNCTIONS[function](x, *rest, **kwargs)


def _hold_ints(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the tuples among some arguments, axes and shapes, hold nothing but ints."""
    for x in (*rest, *kwargs.values()) if kwargs else rest:
        if type(x) is tuple and not _INT.issuperset(map(type, x)):
            return False
    return True


_INT = frozenset({int})


PLANNED = frozenset({
    np.all, np.any, np.argmax, np.argmin, np.argsort, np.broadcast_to, np.cumprod, np.cumsum, np.diagonal,
    np.expand_dims, np.flip, np.max, np.mean, np.min, np.moveaxis, np.prod, np.ptp, np.ravel, np.reshape, np.sort,
    np.squeeze, np.std, np.sum, np.swapaxes, np.trace, np.transpose, np.tril, np.triu, np.var,
})  # fmt: skip
"""The functions for which `call_planned` does."""


_PLANNABLE = frozenset({int, bool, tuple, str, type, type(None), np.dtype, type(np._NoValue)})
"""The types of arguments that are part of the program. They are part of the key too, since True equals 1."""


def _planned(x: Any, function: Any, rest: tuple[Any, ...], kwargs: tuple[Any, ...], types: tuple[type, ...]) -> Any:
    return FUNCTIONS[function](x, *rest, **dict(kwargs))


# --------------------------------------------------------------------------------------------------------------------
# Arguments


def record(function: Callable[..., Any], operands: Sequence[Any], *static: Any) -> Any:
    """Record `function(*operands, *static)`, where operands can be lists as NumPy takes them."""
    return record_call(function, tuple([as_operand(x) for x in operands]), static)


_OPERANDS = frozenset({Tracer, np.ndarray, bool, int, float, complex})


def as_operand(x: Any) -> Any:
    """What a program takes for an argument: itself, or the array that NumPy would make of nested lists."""
    if type(x) in _OPERANDS or not isinstance(x, (list, tuple, range)):
        return x
    if not has_tracer(x):
        return np.asarray(x)
    return record_call(_stack, tuple([as_operand(part) for part in x]), (0,))


def _stack(*operands: Any) -> Any:
    *arrays, axis = operands
    shapes = {x.shape for x in arrays}
    if len(shapes) > 1:
        raise ValueError(f"all input arrays must have the same shape, got {', '.join(map(str, sorted(shapes)))}")
    return concatenate([expand_dims(x, (axis,)) for x in same_dtype(arrays)], axis)


stack_arrays = _stack
"""Arrays of one shape along a new axis: `stack_arrays(*arrays, axis)`."""


def lengths_of(x: Any) -> tuple[int, ...]:
    """The shape of an argument."""
    return aval_of(as_operand(x)).shape


def axes_of(axis: Any, ndim: int, all_if_none: bool = True) -> tuple[int, ...]:
    """Axes as NumPy's functions take them: None, one, or several; in rising order, counted from the front.

    Raises:
        numpy.exceptions.AxisError: if one of them does not exist.
    """
    if axis is None and all_if_none:
        return tuple(range(ndim))
    if isinstance(axis, (list, Tracer)):
        axis = index(axis) if isinstance(axis, Tracer) else tuple(axis)
    return tuple(sorted(normalize_axis_tuple(axis, ndim)))


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as `axes_of`, but that NumPy lets a 0-d array be reduced over its axis 0."""
    return () if not ndim and type(axis) is int and axis in (0, -1) else axes_of(axis, ndim)


def flat_axis(axis: Any, ndim: int) -> int | None:
    """One axis, or None for all elements, as which NumPy takes axis 0 of a 0-d array too."""
    return None if axis is None or (not ndim and type(axis) is int and axis in (0, -1)) else axis_of(axis, ndim)


def axis_of(axis: Any, ndim: int) -> int:
    """One axis, counted from the front."""
    return int(normalize_axis_index(index(axis), ndim))


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape as NumPy's functions take it: an int or a sequence of them."""
    if isinstance(shape, (tuple, list)):
        return tuple([index(n) for n in shape])
    if isinstance(shape, np.ndarray) and shape.ndim:
        return tuple(shape.tolist())
    return (index(shape),)


def dtype_of(dtype: Any) -> np.dtype[Any] | None:
    """A dtype as NumPy's functions take it, or None."""
    return None if dtype is None else np.dtype(dtype)
