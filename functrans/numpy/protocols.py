"""NumPy's protocols on tracers: plain `numpy` functions are recorded when they meet one.

Three things NumPy would do in silence, and which are errors here, with what to write instead: filling an array with a
tracer (`a += x`, `np.full_like(a, x)`, which calls `np.copyto`, `np.put`), making an array of objects, and converting a
tracer to a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from functrans.core.tracer import Tracer
from functrans.errors import MissingRuleError, user_location
from functrans.numpy.dispatch import record_binary, record_call, record_ternary, record_unary
from functrans.numpy.linear import PRODUCT_UFUNCS
from functrans.numpy.operators import PLAIN_OPERANDS, is_foreign
from functrans.numpy.promotion import strong
from functrans.numpy.reductions import ACCUMULATORS, REDUCERS, accumulate, reduce
from functrans.numpy.registry import (
    FUNCTIONS,
    PLANNED,
    TERNARY,
    as_operand,
    call_function,
    call_planned,
    lengths_of,
    refuse_out,
)
from functrans.numpy.ufuncs import UFUNCS, call_ufunc, missing_ufunc, ufunc_keywords, ufunc_operands
from functrans.ops.shape import reshape

__all__ = ["install_protocols"]

UFUNCS.update(PRODUCT_UFUNCS)


# --------------------------------------------------------------------------------------------------------------------
# ufuncs (NEP 13)


def _array_ufunc(self: Tracer, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method == "__call__" and not kwargs:
        function = UFUNCS.get(ufunc)
        if function is not None:
            if len(inputs) == 1:
                return record_unary(function, self)
            if len(inputs) == 2:
                x, y = inputs
                if type(x) in PLAIN_OPERANDS and type(y) in PLAIN_OPERANDS:
                    return record_binary(function, x, y)
    for x in inputs:
        kind = type(x)
        if kind is not Tracer and kind is not np.ndarray and is_foreign(kind):
            return NotImplemented
    if method == "__call__":
        if not kwargs:
            function = UFUNCS.get(ufunc)
            if function is not None:
                return record_call(function, ufunc_operands(ufunc, inputs), ())
        return call_ufunc(ufunc, inputs, kwargs)
    return _METHODS[method](ufunc, *inputs, **kwargs)


def _no_out(ufunc: np.ufunc, out: Any) -> None:
    if out is not None and (not isinstance(out, tuple) or any([x is not None for x in out])):
        refuse_out(f"{ufunc.__name__}.reduce")


def _reduce(
    ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = None, where: Any = True,
) -> Any:  # fmt: skip
    _no_out(ufunc, out)
    if ufunc not in REDUCERS:
        raise _missing_method(ufunc, "reduce")
    return reduce(ufunc, a, axis, dtype, keepdims, initial, where)


def _accumulate(ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    _no_out(ufunc, out)
    if ufunc not in ACCUMULATORS:
        raise _missing_method(ufunc, "accumulate")
    if not lengths_of(a):
        raise TypeError("cannot accumulate on a scalar")
    return accumulate(ufunc, a, axis, dtype)


def _outer(ufunc: np.ufunc, a: Any, b: Any, **kwargs: Any) -> Any:
    function = UFUNCS.get(ufunc)
    if function is None:
        raise missing_ufunc(ufunc)
    static = ufunc_keywords(ufunc, kwargs)
    return record_call(_outer_product, (as_operand(a), as_operand(b)), (function, *static))


def _outer_product(x: Any, y: Any, function: Callable[..., Any], *static: Any) -> Any:
    return function(reshape(strong(x), (*x.shape, *[1] * y.ndim)), strong(y), *static)


def _at(ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
    name = {"multiply": "multiply", "minimum": "min", "maximum": "max"}.get(ufunc.__name__, "add")
    raise TypeError(
        f"np.{ufunc.__name__}.at at {user_location()} writes into an array, which keeps no derivative. Write "
        f"a = functrans.numpy.at(a)[i].{name}(v), or x = x.at[i].{name}(v) if x is a tracer."
    )


def _reduceat(ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
    raise MissingRuleError(
        f"np.{ufunc.__name__}.reduceat was called with a tracer at {user_location()}, and functrans has no rule for "
        "it. Reduce the pieces one by one, or take differences of np.cumsum."
    )


def _missing_method(ufunc: np.ufunc, method: str) -> MissingRuleError:
    return MissingRuleError(
        f"np.{ufunc.__name__}.{method} was called with a tracer at {user_location()}, and "
        f"functrans has no rule for this method of the ufunc {ufunc.__name__!r}."
    )


_METHODS: dict[str, Callable[..., Any]] = {
    "reduce": _reduce, "accumulate": _accumulate, "outer": _outer, "at": _at, "reduceat": _reduceat,
}  # fmt: skip

# --------------------------------------------------------------------------------------------------------------------
# Functions (NEP 18)


def _array_function(
    self: Tracer, function: Callable[..., Any], types: Sequence[type], args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    if len(types) > 1:
        for kind in types:
            if kind is not Tracer and kind is not np.ndarray and not issubclass(kind, np.ndarray):
                return NotImplemented
    if len(args) == 3 and not kwargs and function in TERNARY:
        x, y, z = args
        if type(x) is Tracer and type(y) is Tracer and type(z) is Tracer:  # the usual case, without one call more
            return record_ternary(TERNARY[function], x, y, z)
    elif function in PLANNED and args and type(args[0]) is Tracer:
        return call_planned(function, args[0], tuple(args[1:]), kwargs)
    return call_function(function, args, kwargs)


def _writing(rewrite: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"at {user_location()} a tracer was to be written into, or with a tracer into, an array, which "
            f"keeps no derivative. {rewrite}"
        )

    return refuse


_WRITING: dict[Callable[..., Any], str] = {
    np.copyto: "For np.full_like(a, x) write functrans.numpy.full_like(a, x); for np.copyto(a, x), which this is or "
    "which NumPy called: a = functrans.numpy.broadcast_to(x, a.shape).",
    np.put: "For np.put(a, i, v) write a = functrans.numpy.at(functrans.numpy.ravel(a))[i].set(v).reshape(a.shape).",
    np.place: "For np.place(a, mask, v) write a = functrans.numpy.where(mask, v, a), with v in the shape of a.",
    np.putmask: "For np.putmask(a, mask, v) write a = functrans.numpy.where(mask, v, a).",
    np.fill_diagonal: "For np.fill_diagonal(a, v) write a = functrans.numpy.at(a)[i, i].set(v) with "
    "i = np.arange(len(a)).",
    np.put_along_axis: "For np.put_along_axis(a, i, v, axis) write functrans.numpy.at(a)[...].set(v).",
}
for _function, _rewrite in _WRITING.items():
    FUNCTIONS[_function] = _writing(_rewrite)


FUNCTIONS[np.array_repr] = lambda arr, *args, **kwargs: repr(arr)
FUNCTIONS[np.array_str] = FUNCTIONS[np.array2string] = lambda a, *args, **kwargs: str(a)


def install_protocols(namespace: ModuleType) -> None:
    """Give tracers NumPy's protocols.

    Args:
        namespace: what `__array_namespace__` gives.
    """

    def array_namespace(self: Tracer, *, api_version: str | None = None) -> ModuleType:
        return namespace

    methods: dict[str, Any] = {
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "__array_namespace__": array_namespace,
    }
    for name, method in methods.items():
        method.__name__ = name
        setattr(Tracer, name, method)
