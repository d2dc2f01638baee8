"""Programs and how they are recorded: what one needs to write a transformation of one's own.

`functrans.make_jaxpr(f)(*args)` gives a `ClosedJaxpr`: a program (`jaxpr`) and the arrays that `f` closed over
(`consts`), which are the last inputs of the program. A `Jaxpr` has `in_avals`, `eqns`, `outs`, `out_avals`; an
`Equation` has `primitive`, `params`, `inputs`, `outs`, `in_avals`, `out_avals`, `scopes`. Atoms are ints (inputs -1,
-2, ..., results 0, 1, ...) and `Literal`s. See `docs/transformations/writing_your_own.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core import evaluation
from functrans.core.aval import Aval, aval_of
from functrans.core.check import check_jaxpr
from functrans.core.jaxpr import (
    Atom,
    ClosedJaxpr,
    Equation,
    Jaxpr,
    Literal,
    clear_programs,
    derived,
    jaxprs_in,
)
from functrans.core.primitive import Primitive, registered_primitives
from functrans.core.tracer import Tracer

__all__ = [
    "Atom",
    "ClosedJaxpr",
    "Equation",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "ShapedArray",
    "Tracer",
    "check_jaxpr",
    "clear_programs",
    "derived",
    "eval_jaxpr",
    "fitting_inputs",
    "jaxprs_in",
    "registered_primitives",
]

ShapedArray = Aval
"""JAX's name of avals: `ShapedArray(shape, dtype)`."""

JaxprEqn = Equation
"""JAX's name of equations."""


def eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any) -> list[Any]:
    """The outputs of a program, equation by equation: computed on arrays, recorded on tracers.

    Args:
        jaxpr: the program.
        consts: the values of its last inputs, `ClosedJaxpr.consts`.
        args: the values of the others, of the program's shapes and dtypes; Python numbers are converted.

    Returns:
        A list of the outputs. On arrays they may share memory with the arguments.

    Raises:
        TypeError: if an argument has another shape or dtype, or there are too many or too few.

    >>> import numpy as np
    >>> import functrans as ft
    >>> closed = ft.make_jaxpr(lambda x, y: (x * y, np.sin(x)))(1.0, 2.0)
    >>> ft.core.eval_jaxpr(closed.jaxpr, closed.consts, 3.0, 4.0)
    [np.float64(12.0), np.float64(0.14112000805986722)]
    """
    if not isinstance(jaxpr, Jaxpr):
        hint = ": pass its .jaxpr and its .consts" if isinstance(jaxpr, ClosedJaxpr) else ""
        raise TypeError(f"eval_jaxpr needs a Jaxpr, got {type(jaxpr).__name__}{hint}")
    outs = evaluation.eval_jaxpr(jaxpr, fitting_inputs(jaxpr, args, consts))
    return [x.array[()] if type(x) is Literal else x for x in outs]


def fitting_inputs(jaxpr: Jaxpr, args: Sequence[Any], consts: Sequence[Any]) -> list[Any]:
    """Values for all inputs of a program, checked against it."""
    given = [*args, *consts]
    if len(given) != len(jaxpr.in_avals):
        raise TypeError(
            f"the program has {len(jaxpr.in_avals)} inputs, and got {len(args)} arguments and {len(consts)} constants"
        )
    return [_fitting(x, aval, i, len(args)) for i, (x, aval) in enumerate(zip(given, jaxpr.in_avals, strict=True))]


_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


def _fitting(x: Any, aval: Aval, number: int, n_args: int) -> Any:
    """A value of an input, of the aval that it must have."""
    what = f"argument {number}" if number < n_args else f"constant {number - n_args}"
    try:
        have = aval_of(x)
    except TypeError as error:
        raise TypeError(f"{what} of the program: {error}") from None
    is_number = have.shape == () and not hasattr(x, "dtype")
    if is_number and aval.shape == () and _RANKS[have.dtype.kind] <= _RANKS[aval.dtype.kind]:
        return aval.dtype.type(x)
    if have.shape != aval.shape or have.dtype != aval.dtype:
        raise TypeError(f"{what} of the program must be {aval.strong}, got {have.strong}")
    return x
