"""Functions that choose between values: where, select, clip, nan_to_num; and comparisons of whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.numpy.promotion import (
    broadcast_arrays,
    broadcast_to,
    filled,
    like,
    promote,
    promote_for,
    same_dtype,
    strong,
)
from functrans.numpy.registry import TERNARY, as_operand, implements, lengths_of, record
from functrans.numpy.taking import nonzero
from functrans.numpy.ufuncs import UFUNCS, ufunc_operands
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import expand_dims, reshape

__all__ = [
    "allclose",
    "array_equal",
    "array_equiv",
    "around",
    "choose",
    "clip",
    "fix",
    "isclose",
    "isin",
    "isneginf",
    "isposinf",
    "nan_to_num",
    "piecewise",
    "round",
    "select",
    "sinc",
    "where",
]


def _where(condition: Any, x: Any, y: Any) -> Any:
    operands = promote(x, y)
    mask, x, y = broadcast_arrays(convert_element_type(condition, np.bool_), *[strong(operand) for operand in operands])
    return lax.select(mask, x, y)


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`numpy.where`: elements of x where the condition is true, else of y.

    The derivative passes to the one that was chosen. With the condition alone it is `nonzero`, which needs its values.
    """
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    return record(_where, (condition, *ufunc_operands(None, (x, y))))


TERNARY[np.where] = _where


def _clip(x: Any, *rest: Any) -> Any:
    *bounds, has_low, has_high = rest
    low = bounds.pop(0) if has_low else None
    if low is not None:
        x = lax.max(*promote_for(np.maximum, x, low)) if _numeric(x, low) else _logical(np.maximum, x, low)
    if has_high:
        x = (
            lax.min(*promote_for(np.minimum, x, bounds[0]))
            if _numeric(x, bounds[0])
            else _logical(np.minimum, x, bounds[0])
        )
    return strong(x)


def _numeric(*operands: Any) -> bool:
    return any([x.dtype.kind != "b" for x in operands])


def _logical(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    return UFUNCS[ufunc](x, y)


@implements(np.clip)
def clip(
    a: Any, a_min: Any = np._NoValue, a_max: Any = np._NoValue, out: Any = None, *, min: Any = None, max: Any = None
) -> Any:
    """`numpy.clip`: the elements, those outside of an interval moved to its end."""
    low = min if a_min is np._NoValue else a_min
    high = max if a_max is np._NoValue else a_max
    dtype = aval_of(as_operand(a)).dtype
    if dtype.kind in "iu":  # Python ints beyond the dtype bound nothing
        low = None if type(low) is int and low <= np.iinfo(dtype).min else low
        high = None if type(high) is int and high >= np.iinfo(dtype).max else high
    operands = ufunc_operands(None, [x for x in (a, low, high) if x is not None])
    return record(_clip, operands, low is not None, high is not None)


def _select(*operands: Any) -> Any:
    *rest, n = operands
    conditions, choices, default = rest[:n], rest[n:-1], rest[-1]
    masks_and_values = broadcast_arrays(*conditions, *promote(*choices, default))
    masks, values = masks_and_values[:n], masks_and_values[n:]
    out = strong(values[-1])
    for mask, value in zip(masks[::-1], values[-2::-1], strict=True):
        out = lax.select(mask, strong(value), out)
    return out


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """`numpy.select`: for each element the value that belongs to the first condition that is true."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError("list of cases must be same length as list of conditions, and not empty")
    return record(_select, (*condlist, *choicelist, default), len(condlist))


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """`numpy.piecewise`: where a condition holds, a function of x; each function gets all of x."""
    x = as_operand(x)
    conditions = list(condlist) if isinstance(condlist, (tuple, list)) else [condlist]
    if len(conditions) and not lengths_of(conditions[0]) and lengths_of(x):
        conditions = [condlist]
    values = [f(x, *args, **kw) if callable(f) else f for f in funclist]
    if len(values) == len(conditions):
        values.append(0)
    if len(values) != len(conditions) + 1:
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} "
            "functions are expected"
        )
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return record(_piecewise, (*conditions, *values), len(conditions), dtype)


def _piecewise(*operands: Any) -> Any:
    *rest, n, dtype = operands
    converted = [convert_element_type(value, dtype) for value in rest[n:]]
    return _select(*rest[:n], *converted, n)


def _choose(which: Any, *choices: Any) -> Any:
    which, *values = broadcast_arrays(which, *same_dtype(choices))
    out = values[-1]
    for i, value in reversed(list(enumerate(values[:-1]))):
        out = lax.select(lax.eq(which, like(i, which)), value, out)
    return out


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """`numpy.choose`: for each element that of the array which `a` numbers, with mode "clip" or "wrap"."""
    choices = list(choices)
    if mode not in ("clip", "wrap"):
        raise TypeError('choose: inside of a program a number cannot raise an error: use mode="clip" or mode="wrap"')
    a = clip(a, 0, len(choices) - 1) if mode == "clip" else record(UFUNCS[np.remainder], (a, len(choices)))
    return record(_choose, (a, *choices))


def _nan_to_num(x: Any, nan: Any, *limits: Any) -> Any:
    *given, has_high, has_low = limits
    x = strong(x)
    if x.dtype.kind == "c":
        parts = [_nan_to_num(part, nan, *limits) for part in (lax.real(x), lax.imag(x))]
        return lax.complex(*parts)
    if x.dtype.kind != "f":
        return x
    info = np.finfo(x.dtype)
    high = given.pop(0) if has_high else filled(float(info.max), (), x.dtype)
    low = given.pop(0) if has_low else filled(float(info.min), (), x.dtype)
    nan, high, low = (broadcast_to(convert_element_type(value, x.dtype), x.shape) for value in (nan, high, low))
    out = lax.select(lax.is_nan(x), nan, x)
    out = lax.select(lax.eq(x, like(np.inf, x)), high, out)
    return lax.select(lax.eq(x, like(-np.inf, x)), low, out)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """`numpy.nan_to_num`: NaN as zero and infinities as the largest floats, or as other numbers."""
    if not copy:
        raise TypeError("nan_to_num(..., copy=False) would write into its argument; take the result instead")
    limits = [value for value in (posinf, neginf) if value is not None]
    return record(_nan_to_num, (x, nan, *limits), posinf is not None, neginf is not None)


def _round(x: Any, decimals: int) -> Any:
    x = strong(x)
    if x.dtype.kind == "b":
        return convert_element_type(x, np.float16)
    if x.dtype.kind in "iu" and decimals >= 0:
        return x
    if x.dtype.kind in "iu":
        scale = convert_element_type(filled(10.0**-decimals, x.shape, np.float64), np.float64)
        wide = lax.mul(lax.rint(lax.div(convert_element_type(x, np.float64), scale)), scale)
        return convert_element_type(wide, x.dtype)
    if x.dtype.kind == "c":
        return lax.complex(_round(lax.real(x), decimals), _round(lax.imag(x), decimals))
    if not decimals:
        return lax.rint(x)
    scale = like(10.0 ** abs(decimals), x)
    return lax.div(lax.rint(lax.mul(x, scale)), scale) if decimals > 0 else lax.mul(lax.rint(lax.div(x, scale)), scale)


@implements(np.round, np.around)
def round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`numpy.round`: rounded to so many decimals, halves to the even neighbour. Its derivative is zero."""
    return record(_round, (a,), index(decimals))


around = round


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """`numpy.fix`: rounded towards zero."""
    return record(UFUNCS[np.trunc], (x,))


def _sinc(x: Any) -> Any:
    if x.dtype.kind not in "fc":
        x = convert_element_type(x, np.float64)
    x = lax.mul(strong(x), like(np.pi, x))
    zero = lax.eq(x, like(0, x))
    # Where x is 0 the quotient is not computed but its series, so that derivatives of every order are right there.
    safe = lax.select(zero, like(1, x), x)
    square = lax.mul(x, x)
    series = lax.add(like(1, x), lax.mul(square, lax.add(like(-1 / 6, x), lax.mul(square, like(1 / 120, x)))))
    return lax.select(zero, series, lax.div(lax.sin(safe), safe))


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """`numpy.sinc`: sin(pi x) / (pi x), and 1 at 0."""
    return record(_sinc, (x,))


# --------------------------------------------------------------------------------------------------------------------
# Comparisons of arrays


def _isclose(x: Any, y: Any, rtol: Any, atol: Any, equal_nan: bool) -> Any:
    x, y = broadcast_arrays(*promote(x, y))
    x, y = strong(x), strong(y)
    equal = lax.eq(x, y)
    if x.dtype.kind in "biu":
        x, y = (convert_element_type(operand, np.float64) for operand in (x, y))
    size = lax.abs(y)
    tolerances = [broadcast_to(convert_element_type(t, size.dtype), x.shape) for t in (rtol, atol)]
    near = lax.le(lax.abs(lax.sub(x, y)), lax.add(tolerances[1], lax.mul(tolerances[0], size)))
    finite = lax.bitwise_and(lax.is_finite(y), lax.is_finite(x))
    close = lax.bitwise_or(lax.bitwise_and(near, finite), equal)
    return lax.bitwise_or(close, lax.bitwise_and(lax.is_nan(x), lax.is_nan(y))) if equal_nan else close


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """`numpy.isclose`: which elements are equal within a tolerance."""
    return record(_isclose, (a, b, rtol, atol), bool(equal_nan))


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """`numpy.allclose`: whether all elements are equal within a tolerance."""
    return record(_all, (isclose(a, b, rtol, atol, equal_nan),))


def _all(x: Any) -> Any:
    return lax.reduce_and(x, range(x.ndim))


def _is_in(x: Any, values: Any, invert: bool) -> Any:
    x, values = same_dtype((x, reshape(values, (prod(values.shape),))))
    pairs = broadcast_arrays(expand_dims(x, (x.ndim,)), values)
    found = lax.reduce_or(lax.eq(*pairs), (x.ndim,))
    return lax.bitwise_not(found) if invert else found


@implements(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    """`numpy.isin`: which elements are among others; each is compared with each."""
    return record(_is_in, (element, test_elements), bool(invert))


def _array_equal(x: Any, y: Any, equal_nan: bool) -> Any:
    x, y = broadcast_arrays(*promote(x, y))
    equal = lax.eq(strong(x), strong(y))
    if equal_nan and x.dtype.kind in "fc":
        equal = lax.bitwise_or(equal, lax.bitwise_and(lax.is_nan(x), lax.is_nan(y)))
    return _all(equal)


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """`numpy.array_equal`: whether shapes and all elements are equal."""
    return lengths_of(a1) == lengths_of(a2) and record(_array_equal, (a1, a2), bool(equal_nan))


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """`numpy.array_equiv`: whether all elements are equal, after broadcasting."""
    try:
        np.broadcast_shapes(lengths_of(a1), lengths_of(a2))
    except ValueError:
        return False
    return record(_array_equal, (a1, a2), False)


def _is_infinity(value: float) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        if x.dtype.kind == "c":
            raise TypeError(f"This operation is not supported for {x.dtype.name} values because it would be ambiguous.")
        return lax.eq(strong(x), like(value, x)) if x.dtype.kind == "f" else filled(False, x.shape, np.bool_)

    return function


_IS_POSITIVE, _IS_NEGATIVE = _is_infinity(np.inf), _is_infinity(-np.inf)


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """`numpy.isposinf`: which elements are positive infinity."""
    return record(_IS_POSITIVE, (x,))


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """`numpy.isneginf`: which elements are negative infinity."""
    return record(_IS_NEGATIVE, (x,))
