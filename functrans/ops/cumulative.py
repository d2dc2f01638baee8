"""Cumulative sums, products, maxima and the like along an axis, and the recurrence of which their derivatives are made.

They run from the front to the back, or with `reverse` from the back to the front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_jvp,
    def_linear,
    def_specialized_impl,
    def_transpose,
)
from functrans.ops.comparison import eq, select
from functrans.ops.elementwise import mul, sub
from functrans.ops.families import ANY, FLOAT, NUMBER, align
from functrans.ops.iota import broadcasted_iota
from functrans.ops.slicing import pad
from functrans.ops.sorting import taken_along_axis
from functrans.ops.transcendental import exp

__all__ = [
    "cumlogsumexp",
    "cumlogsumexp_p",
    "cummax",
    "cummax_p",
    "cummin",
    "cummin_p",
    "cumprod",
    "cumprod_p",
    "cumsum",
    "cumsum_p",
    "linear_recurrence",
    "linear_recurrence_p",
    "shifted",
    "recurrence_of",
]

# --------------------------------------------------------------------------------------------------------------------
# What they have in common


def _cumulative(name: str, ufunc: np.ufunc, kinds: str) -> Primitive:
    """A primitive that accumulates a ufunc along an axis."""

    def abstract(operand: Aval, *, axis: int, reverse: bool) -> Aval:
        if not 0 <= axis < operand.ndim:
            raise TypeError(f"{name}: {operand} has no axis {axis}")
        if operand.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {operand}")
        return operand.strong

    def implementation(operand: Aval, *, axis: int, reverse: bool) -> Callable[..., Any]:
        accumulate, dtype = ufunc.accumulate, operand.dtype
        inner = prod(operand.shape[axis + 1 :])
        many = inner >= _LONG_ROW and operand.size >= _MANY * operand.shape[axis]
        if many and (ufunc in _EXACT or dtype.kind not in "fc"):
            return lambda x: _row_by_row(ufunc, x, axis, reverse)
        if not reverse:
            return lambda x: accumulate(x, axis, dtype)
        flipped = (slice(None),) * axis + (slice(None, None, -1),)

        def backwards(x: Any) -> Any:
            out = np.empty(x.shape, dtype)
            accumulate(x[flipped], axis, dtype, out[flipped])
            return out

        return backwards

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int], *, axis: int, reverse: bool) -> tuple[Any, int]:
        return primitive.bind(operands[0], axis=axis + (axis >= axes[0]), reverse=reverse), axes[0]

    primitive = Primitive(name)
    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, implementation)
    def_batch(primitive, batch)
    return primitive


_LONG_ROW = 32
_MANY = 256
"""With so long rows, and so many elements of them, for each place along the axis."""
_EXACT = (np.add, np.multiply, np.logaddexp)
"""Of which one call on rows gives the same bits as one on elements (the others choose between zeros otherwise)."""


def _row_by_row(ufunc: np.ufunc, x: Any, axis: int, reverse: bool) -> Any:
    """`ufunc.accumulate` by a call for each place: it goes along the axis where rows lie apart (1000x256: 2.5 ms, and
    0.4 so).
    """
    out = np.empty(x.shape, x.dtype)
    rows, results = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    if reverse:
        rows, results = rows[::-1], results[::-1]
    results[:1] = rows[:1]
    for before, row, result in zip(results, rows[1:], results[1:], strict=False):
        ufunc(before, row, out=result)
    return out


def shifted(x: Any, axis: int, fill: Any, reverse: bool = False) -> Any:
    """The array moved by one place to the back along an axis, or with `reverse` to the front."""
    if x.shape[axis] == 0:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (-1, 1, 0) if reverse else (1, -1, 0)
    return pad(x, fill, config)


# --------------------------------------------------------------------------------------------------------------------
# cumsum


def cumsum(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The sums of the elements up to each, along an axis; in the dtype of the operand.

    Raises:
        TypeError: for booleans.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import cumsum
    >>> cumsum(np.array([1, 2, 3])), cumsum(np.array([1, 2, 3]), reverse=True)
    (array([1, 3, 6]), array([6, 5, 3]))
    """
    return cumsum_p.bind(operand, axis=normalize_axis_index(axis, operand.ndim), reverse=bool(reverse))


cumsum_p = _cumulative("cumsum", np.add, NUMBER)
def_linear(cumsum_p, lambda ct, operand, *, axis, reverse: (cumsum(ct, axis, not reverse),))

# --------------------------------------------------------------------------------------------------------------------
# linear_recurrence: what the derivatives of the products are made of, and closed under derivatives itself


def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The solution of `s[k] = a[k] * s[k-1] + b[k]` along an axis, where s begins with b.

    With `reverse` it is `s[k] = a[k] * s[k+1] + b[k]`, which begins at the end. It is computed in log2(n) steps over
    whole arrays, by joining neighbours to stretches of twice the length.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import linear_recurrence
    >>> linear_recurrence(np.array([5.0, 2.0, 2.0, 2.0]), np.ones(4))
    array([ 1.,  3.,  7., 15.])
    """
    return linear_recurrence_p.bind(a, b, axis=normalize_axis_index(axis, b.ndim), reverse=bool(reverse))


def _linear_recurrence_abstract(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Aval:
    if a.shape != b.shape or a.dtype != b.dtype or a.dtype.kind not in NUMBER or not 0 <= axis < a.ndim:
        raise TypeError(
            f"linear_recurrence: operands must be numbers of one shape and dtype, with an axis {axis}, got {a} and {b}"
        )
    return b.strong


def recurrence_of(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Callable[..., Any]:
    """The function of arrays of two avals that computes the recurrence."""
    whole, n = (slice(None),) * axis, a.shape[axis]
    steps = []
    d = 1
    while d < n:
        early, late = (*whole, slice(None, -d)), (*whole, slice(d, None))
        steps.append((late, early) if reverse else (early, late))
        d *= 2

    def run(a: Any, b: Any) -> Any:
        a, s = np.array(a), np.array(b)  # s[k] is of the stretch of d elements up to k, a[k] the product over it
        for number, (before, here) in enumerate(steps, 1):
            s[here] += a[here] * s[before]
            if number < len(steps):
                a[here] *= a[before]
        return s

    return run


def _linear_recurrence_jvp_a(t: Any, out: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    return linear_recurrence(a, mul(t, shifted(out, axis, 0, reverse)), axis, reverse)


def _linear_recurrence_jvp_b(t: Any, out: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    return linear_recurrence(a, t, axis, reverse)


def _linear_recurrence_transpose(ct: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> tuple[None, Any]:
    return None, linear_recurrence(shifted(a, axis, 0, not reverse), ct, axis, not reverse)


def _linear_recurrence_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, axis: int, reverse: bool
) -> tuple[Any, int]:
    a, b = align(size, operands, axes, 0)
    return linear_recurrence(a, b, axis + 1, reverse), 0


linear_recurrence_p = Primitive("linear_recurrence")
def_abstract(linear_recurrence_p, _linear_recurrence_abstract)
def_specialized_impl(linear_recurrence_p, recurrence_of)
def_jvp(linear_recurrence_p, _linear_recurrence_jvp_a, _linear_recurrence_jvp_b)
def_transpose(linear_recurrence_p, _linear_recurrence_transpose)
def_batch(linear_recurrence_p, _linear_recurrence_batch)

# --------------------------------------------------------------------------------------------------------------------
# cumprod


def cumprod(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The products of the elements up to each, along an axis; in the dtype of the operand.

    Its derivative divides by nothing, and is right where there are zeros.

    Raises:
        TypeError: for booleans.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import cumprod
    >>> cumprod(np.array([2, 3, 4]))
    array([ 2,  6, 24])
    """
    return cumprod_p.bind(operand, axis=normalize_axis_index(axis, operand.ndim), reverse=bool(reverse))


def _cumprod_jvp(t: Any, out: Any, operand: Any, *, axis: int, reverse: bool) -> Any:
    # out[k] = operand[k] * out[k-1], so its tangent is that recurrence too, with t[k] * out[k-1] added.
    return linear_recurrence(operand, mul(t, shifted(out, axis, 1, reverse)), axis, reverse)


cumprod_p = _cumulative("cumprod", np.multiply, NUMBER)
def_jvp(cumprod_p, _cumprod_jvp)
declare_absent(cumprod_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# cumlogsumexp


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The logarithms of the sums of e to the power of the elements up to each, along an axis, without overflow.

    Raises:
        TypeError: for operands that are not real floats.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import cumlogsumexp
    >>> cumlogsumexp(np.array([1000.0, 1000.0]))
    array([1000.        , 1000.69314718])
    """
    return cumlogsumexp_p.bind(operand, axis=normalize_axis_index(axis, operand.ndim), reverse=bool(reverse))


def _cumlogsumexp_jvp(t: Any, out: Any, operand: Any, *, axis: int, reverse: bool) -> Any:
    # A mean of the tangents, weighted by e^operand. No weight is larger than 1: each sum has its own scale.
    shape = operand.shape
    nothing = eq(out, Literal(-np.inf, Aval(shape, operand.dtype)))  # -inf - -inf is NaN, its weight is 0
    scale = select(nothing, Literal(0.0, Aval(shape, operand.dtype)), out)
    before = shifted(out, axis, -np.inf, reverse)
    return linear_recurrence(exp(sub(before, scale)), mul(t, exp(sub(operand, scale))), axis, reverse)


cumlogsumexp_p = _cumulative("cumlogsumexp", np.logaddexp, FLOAT)
def_jvp(cumlogsumexp_p, _cumlogsumexp_jvp)
declare_absent(cumlogsumexp_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# cummax and cummin


def cummax(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The largest of the elements up to each, along an axis; NaN from the first NaN on.

    The derivative goes to the element that is the largest; among equal ones, to the last that is reached.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import cummax
    >>> cummax(np.array([1, 3, 2]))
    array([1, 3, 3])
    """
    return cummax_p.bind(operand, axis=normalize_axis_index(axis, operand.ndim), reverse=bool(reverse))


def cummin(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The smallest of the elements up to each, along an axis; NaN from the first NaN on.

    The derivative goes to the element that is the smallest; among equal ones, to the last that is reached.

    >>> import numpy as np
    >>> from functrans.ops.cumulative import cummin
    >>> cummin(np.array([3, 1, 2]))
    array([3, 1, 1])
    """
    return cummin_p.bind(operand, axis=normalize_axis_index(axis, operand.ndim), reverse=bool(reverse))


def _chooser_jvp(t: Any, out: Any, operand: Any, *, axis: int, reverse: bool) -> Any:
    # Where an element equals the extremum so far it is the winner, until there is another.
    shape, last = operand.shape, max(operand.shape[axis] - 1, 0)
    positions = broadcasted_iota(np.intp, shape, axis)
    none_yet = Literal(last if reverse else 0, Aval(shape, np.dtype(np.intp)))
    winners = select(eq(operand, out), positions, none_yet)
    return taken_along_axis(t, (cummin if reverse else cummax)(winners, axis, reverse), axis)


cummax_p = _cumulative("cummax", np.maximum, ANY)
def_jvp(cummax_p, _chooser_jvp)
declare_absent(cummax_p, "transpose", "not linear")

cummin_p = _cumulative("cummin", np.minimum, ANY)
def_jvp(cummin_p, _chooser_jvp)
declare_absent(cummin_p, "transpose", "not linear")
