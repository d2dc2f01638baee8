"""NumPy's ufuncs for tracers: which there are, their promotion, and their public functions.

`UFUNCS` holds for each ufunc object the function that records it. It is looked up by the object, so the ufuncs of
SciPy arrive by the same way, once `register_ufunc` has given them a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, aval_of
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.errors import MissingRuleError, user_location
from functrans.numpy.dispatch import record_call
from functrans.numpy.elementwise import TABLE
from functrans.numpy.promotion import broadcast_arrays, loop_dtypes, promote_for, result_type
from functrans.numpy.registry import as_operand, has_tracer, refuse_out
from functrans.ops.conversion import convert_element_type

__all__ = ["UFUNCS", "call_ufunc", "fitted", "fitting", "public_ufunc", "register_ufunc", "ufunc_function"]

UFUNCS: dict[np.ufunc, Callable[..., Any]] = {}
"""For each ufunc its composition of primitives: `function(*operands, dtype=None)`, on operands of any dtypes."""


def ufunc_function(ufunc: np.ufunc, compute: Callable[..., Any], weak: bool = False) -> Callable[..., Any]:
    """What a ufunc does with operands of any dtypes and shapes, from what it does with those of one loop.

    Args:
        ufunc: it chooses the loop.
        compute: the function for operands in the loop's dtypes and in one shape.
        weak: whether the result of Python scalars alone is as weak as they are. So it is for operators.
    """
    nin = ufunc.nin

    def function(*operands_and_dtype: Any) -> Any:
        operands, dtype = operands_and_dtype[:nin], operands_and_dtype[nin:]
        wanted = dtype[0] if dtype else None
        outs = compute(*promote_for(ufunc, *operands, dtype=wanted, weak=weak))
        dtypes = loop_dtypes(ufunc, tuple([x.aval for x in operands]), wanted)[nin:]
        if type(outs) is tuple:
            return tuple([_converted(out, d) for out, d in zip(outs, dtypes, strict=True)])
        return _converted(outs, dtypes[0])

    function.__name__ = ufunc.__name__
    return function


def _converted(out: Any, dtype: np.dtype[Any]) -> Any:
    return out if out.dtype == dtype else convert_element_type(out, dtype)


_COMPARISONS = frozenset({np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal})


def fitting(y: int, other: Aval, ufunc: np.ufunc | None = None) -> Any:
    """A Python int that meets an array: among integers it must fit their dtype, or is compared as what it is.

    Raises:
        OverflowError: if it does not fit, as in NumPy.
    """
    dtype = other.dtype
    if dtype.kind not in "iu" or other.weak:
        if -(2**63) <= y < 2**63:
            return y
        return float(y) if dtype.kind in "fc" else np.asarray(y)[()]
    info = np.iinfo(dtype)
    if info.min <= y <= info.max:
        return y if y < 2**63 else dtype.type(y)
    if ufunc in _COMPARISONS:  # beyond 64 bits all compare alike
        return np.int64(y) if -(2**63) <= y < 2**63 else (np.inf if y > 0 else -np.inf)
    if ufunc is np.true_divide:
        return float(y)
    raise OverflowError(f"Python integer {y} out of bounds for {dtype.name}")


def fitted(operands: Sequence[Any], ufunc: np.ufunc | None = None) -> tuple[Any, ...]:
    """Operands of which some are Python ints, those made to fit."""
    others = [aval_of(x) for x in operands if type(x) is not int]
    if not others or ufunc is np.ldexp:
        return tuple(operands)
    if len(others) == 1:
        common = others[0]
    else:
        common = Aval((), result_type(*others), all([aval.weak for aval in others]))
    return tuple([fitting(x, common, ufunc) if type(x) is int else x for x in operands])


def ufunc_operands(ufunc: np.ufunc | None, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """What is recorded of the arguments of a ufunc."""
    operands = tuple([as_operand(x) for x in inputs])
    for x in operands:
        if type(x) is int:
            return fitted(operands, ufunc)
    return operands


def register_ufunc(ufunc: np.ufunc, function: Callable[..., Any]) -> None:
    """Give a ufunc its meaning on tracers, in terms of functions that have one.

    Args:
        ufunc: any ufunc, such as one of `scipy.special`.
        function: takes tracers of the ufunc's operands, as they were given (so it may need to promote them), and
            returns one tracer for each of its results. It is recorded once for shapes and dtypes that it meets.

    >>> import numpy as np
    >>> import functrans as ft
    >>> double = np.frompyfunc(lambda x: x + x, 1, 1)
    >>> register_ufunc(double, lambda x: x + x)
    >>> ft.grad(lambda x: double(x))(3.0)
    np.float64(2.0)
    """

    def registered(*operands: Any) -> Any:
        if len(operands) > ufunc.nin:
            raise TypeError(f"{ufunc.__name__}: the keyword dtype is not supported inside of a program")
        outs = function(*broadcast_arrays(*operands))
        return outs if isinstance(outs, (tuple, list)) else _strong_result(outs)

    registered.__name__ = ufunc.__name__
    UFUNCS[ufunc] = registered


def _strong_result(out: Any) -> Any:
    return convert_element_type(out, out.dtype) if hasattr(out, "aval") else out


def call_ufunc(ufunc: np.ufunc, operands: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Record `ufunc(*operands, **kwargs)`.

    Raises:
        MissingRuleError: if there is no rule for the ufunc.
        TypeError: for keywords that make no sense without a place to write to.
    """
    function = UFUNCS.get(ufunc)
    if function is None:
        raise missing_ufunc(ufunc)
    if len(operands) > ufunc.nin:  # the out arguments, by position
        kwargs = {**kwargs, "out": operands[ufunc.nin :]}
        operands = operands[: ufunc.nin]
    static = ufunc_keywords(ufunc, kwargs) if kwargs else ()
    return record_call(function, ufunc_operands(ufunc, operands), static)


def missing_ufunc(ufunc: np.ufunc) -> MissingRuleError:
    """The error for a ufunc without a rule."""
    return MissingRuleError(
        f"the ufunc {ufunc.__name__!r} was called with a tracer at {user_location()}, and functrans has no rule for "
        f"it. Give it one, in terms of functions that have: "
        f"`functrans.extend.register_ufunc({ufunc.__name__}, lambda *tracers: ...)`."
    )


_ELEMENTWISE_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "where": (True,), "casting": ("same_kind",), "order": ("K", "C", "A"), "subok": (True, False),
}  # fmt: skip


def ufunc_keywords(ufunc: np.ufunc, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The static arguments that the keywords of a ufunc mean: a dtype, or nothing."""
    dtype = None
    for key, value in kwargs.items():
        if key == "out":
            if value is not None and (not isinstance(value, (tuple, list)) or any([x is not None for x in value])):
                refuse_out(ufunc.__name__)
        elif key == "dtype":
            dtype = None if value is None else np.dtype(value)
        elif key == "where" and value is not True:
            raise TypeError(
                f"{ufunc.__name__}(..., where=...) at {user_location()} leaves the other elements as they "
                f"are in `out`, which cannot be written to in a program. Write functrans.numpy.where("
                f"condition, {ufunc.__name__}(x), other)."
            )
        elif key not in _ELEMENTWISE_DEFAULTS or value not in _ELEMENTWISE_DEFAULTS[key]:
            raise TypeError(f"{ufunc.__name__}: the keyword {key}={value!r} is not supported inside of a program")
    return () if dtype is None else (dtype,)


def public_ufunc(ufunc: np.ufunc, name: str | None = None) -> Callable[..., Any]:
    """The function of this package for a ufunc: NumPy's own outside of recordings."""

    def function(*operands: Any, **kwargs: Any) -> Any:
        if not staging_open():
            for x in operands:
                kind = type(x)
                if kind is Tracer or ((kind is list or kind is tuple) and has_tracer(x)):
                    return call_ufunc(ufunc, operands, kwargs)
            return ufunc(*operands, **kwargs)
        return call_ufunc(ufunc, operands, kwargs)

    name = ufunc.__name__ if name is None else name
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`numpy.{name}`, for tracers too: elementwise, with NumPy's promotion and broadcasting."
    return function


for _ufunc, _compute in TABLE.items():
    UFUNCS[_ufunc] = ufunc_function(_ufunc, _compute)
