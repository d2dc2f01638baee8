"""How the functions of this package are made: compositions of primitives, recorded once for shapes and dtypes.

A composition takes tracers. A call records it as one equation, or computes it where nothing is recorded; so the same
program runs with and without transformations. Where the derivative that follows from the composition is not what one
would write by hand, `with_jvp` gives it another, in the form in which `functrans.custom_jvp` keeps its rules.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np

from functrans.caching import kept
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import stage
from functrans.core.jaxpr import Jaxpr
from functrans.errors import hide_frames
from functrans.numpy.dispatch import record_call
from functrans.numpy.promotion import broadcast_arrays, broadcast_to, promote, strong
from functrans.numpy.registry import as_operand
from functrans.ops.conversion import convert_element_type
from functrans.ops.custom_rules import DeferredRules, RulePrograms, custom_call_p

__all__ = [
    "axes_of",
    "axis_of",
    "call",
    "fitting_mask",
    "floating",
    "matching",
    "public",
    "real",
    "shape_of",
    "with_jvp",
]

F = TypeVar("F", bound=Callable[..., Any])

_NO_ARRAY = ("expected an array or a number", "unsupported dtype")
"""How the messages of `aval_of` begin."""


def public(function: F) -> F:
    """A function whose errors show no frames of this package, and name it where an argument is no array."""

    @wraps(function)
    def shown(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if type(error) is TypeError and str(error).startswith(_NO_ARRAY):
                error = TypeError(f"{function.__name__}: {error}")
                error.__suppress_context__ = True
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    return shown  # type: ignore[return-value]


def call(composition: Callable[..., Any], operands: Sequence[Any], *static: Any) -> Any:
    """Record or compute `composition(*operands, *static)`.

    Args:
        composition: a function of tracers, then of what is hashable and part of the program.
        operands: tracers, arrays, numbers, or lists of numbers.
    """
    out = record_call(composition, tuple([as_operand(x) for x in operands]), static)
    if type(out) is np.ndarray and not out.shape:
        return out[()]
    return tuple([x if x.shape else x[()] for x in out]) if type(out) is list else out


def with_jvp(function: Callable[..., Any], rule: Callable[..., Any], *static: Any) -> Callable[..., Any]:
    """A composition whose derivative is given by a rule.

    Args:
        function: `function(*operands, *static)`, of floats, with one result.
        rule: `rule(primals, tangents, *static)` gives the tangent of the result. It should call the function with its
            rule again where it needs its value, for second derivatives.
        static: what is part of the program.

    Returns:
        A function of tracers.
    """

    def bind(*operands: Any) -> Any:
        jaxpr, rules = _recorded(function, rule, tuple([x.aval for x in operands]), static)
        name = function.__name__.strip("_")
        return custom_call_p.bind(*operands, jaxpr=jaxpr, name=name, n_consts=0, rules=rules)[0]

    return bind


@kept("compositions of functrans.nn", 4096)
def _recorded(
    function: Callable[..., Any], rule: Callable[..., Any], avals: tuple[Aval, ...], static: tuple[Any, ...]
) -> tuple[Jaxpr, DeferredRules]:
    """The program of a function, and its rule, which is recorded when a derivative is asked for."""
    name = function.__name__.strip("_")
    jaxpr = _program(name, avals, lambda *inputs: [function(*inputs, *static)])
    record = partial(_rule_programs, function, rule, avals, static)
    return jaxpr, DeferredRules((function, rule, avals, static), "jvp", record, portable=True)


def _rule_programs(
    function: Callable[..., Any],
    rule: Callable[..., Any],
    avals: tuple[Aval, ...],
    static: tuple[Any, ...],
    *asked: Any,
) -> RulePrograms:
    inexact = tuple([aval for aval in avals if aval.inexact])

    def with_tangent(*inputs: Any) -> list[Any]:
        primals, given = inputs[: len(avals)], iter(inputs[len(avals) :])
        tangents = [next(given) if aval.inexact else None for aval in avals]
        return [with_jvp(function, rule, *static)(*primals), rule(primals, tangents, *static)]

    return RulePrograms(_program(f"{function.__name__.strip('_')}_jvp", (*avals, *inexact), with_tangent), None)


def _program(name: str, avals: Sequence[Aval], function: Callable[..., list[Any]]) -> Jaxpr:
    with stage(name, avals) as recording:
        outs = function(*recording.inputs())
        recording.sources[:] = [None] * len(recording.sources)  # they get the line of each call, once they are inlined
        return recording.close(outs)[0]


# --------------------------------------------------------------------------------------------------------------------
# Operands, inside of a composition


def real(name: str, *operands: Any) -> None:
    """Check that operands are real.

    Raises:
        TypeError: if one is complex.
    """
    for x in operands:
        if x.dtype.kind == "c":
            raise TypeError(f"{name} takes real numbers, got {x.aval.strong}")


def floating(name: str, *operands: Any) -> Any:
    """Real operands in their common float type: integers and booleans as float64, Python numbers as the others."""
    real(name, *operands)
    found = [strong(x) for x in promote(*operands)]
    if found[0].dtype.kind != "f":
        found = [convert_element_type(x, np.float64) for x in found]
    return found[0] if len(found) == 1 else found


def matching(name: str, *operands: Any) -> list[Any]:
    """Operands as `floating` gives them, broadcast to one shape."""
    try:
        return broadcast_arrays(*floating(name, *operands))
    except ValueError:
        shapes = ", ".join([str(x.aval.strong) for x in operands])
        raise ValueError(f"{name}: the shapes of the arguments do not fit together: {shapes}") from None


def fitting_mask(name: str, mask: Any, x: Any) -> Any:
    """The argument `where` in the shape of what it selects from."""
    if mask.dtype.kind != "b":
        raise TypeError(f"{name}: where must be an array of booleans, got {mask.aval.strong}")
    try:
        return broadcast_to(mask, x.shape)
    except ValueError:
        raise ValueError(
            f"{name}: where, {mask.aval.strong}, does not fit the array {x.aval.strong} that it selects from"
        ) from None


# --------------------------------------------------------------------------------------------------------------------
# Arguments, outside of it


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an argument."""
    return aval_of(as_operand(x)).shape


def axes_of(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes given as None for all, one or several, in rising order and counted from the front.

    Raises:
        ValueError: if one does not exist, or is there twice.
    """
    given = tuple(range(ndim)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    try:
        found = tuple(sorted([operator.index(d) for d in given]))
    except TypeError:
        raise TypeError(f"{name}: axis must be an int, a tuple of ints or None, got {axis!r}") from None
    if any([not -ndim <= d < ndim for d in found]) or len({d % ndim for d in found}) != len(found):
        raise ValueError(f"{name}: axis={axis!r} names no different axes of an array with {ndim} axes")
    return tuple(sorted([d % ndim for d in found]))


def axis_of(name: str, axis: Any, ndim: int) -> int:
    """One axis, counted from the front."""
    if isinstance(axis, (tuple, list)) or axis is None:
        raise TypeError(f"{name}: axis must be an int, got {axis!r}")
    return axes_of(name, axis, ndim)[0]
