"""Products in which a zero of one factor stays zero, whatever it meets: infinity and NaN too.

In reverse mode a selection hands the side that it did not take a cotangent that is zero by structure, not by value. On
its way back that zero is multiplied by derivatives, which may be infinite there, and 0 * inf is NaN. So where a
cotangent may have such zeros (`functrans.transforms.masking` keeps account of it), transposition records these products
in the place of `mul`, `div`, `dot_general` and `linear_recurrence`.

Where the other factor is finite they are the plain products, bit for bit; that is looked at first, and costs a pass
over the other factor. `guards` says which of the two factors have zeros that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    def_abstract,
    def_batch,
    def_jvp,
    def_multilinear,
    def_specialized_impl,
    def_transpose,
)
from functrans.ops.cumulative import linear_recurrence_p, recurrence_of, shifted
from functrans.ops.elementwise import div_p, mul_p, neg
from functrans.ops.families import INEXACT, align, elementwise, matched
from functrans.ops.linear_algebra import DotDimensionNumbers, batched_dot, dot_cotangents, dot_general_p, dot_product

__all__ = [
    "guarded_div",
    "guarded_div_p",
    "guarded_dot_general",
    "guarded_dot_general_p",
    "guarded_linear_recurrence",
    "guarded_linear_recurrence_p",
    "guarded_mul",
    "guarded_mul_p",
]

Guards = tuple[bool, bool]
Product = Callable[[Any, Any], Any]
Guarded = tuple[Primitive, Mapping[str, Any]] | None


def _always(inputs: Sequence[Any], params: Mapping[str, Any]) -> bool:
    return True


_SEARCHED_BYTES = 16_384


def _all(flags: Any) -> bool:
    # Up to this size, to look for a byte takes half as long as a reduction does (0.5 us against 1.1 for 10 elements).
    return b"\0" not in flags.tobytes() if flags.size <= _SEARCHED_BYTES else bool(flags.all())


def _is_finite(x: Any) -> bool:
    return _all(np.isfinite(x))


# --------------------------------------------------------------------------------------------------------------------
# guarded_mul


def guarded_mul(x: Any, y: Any, guards: Guards = (True, False)) -> Any:
    """x * y, elementwise, but 0 where a factor that guards is 0.

    Args:
        x, y: floats or complex numbers of one shape and dtype.
        guards: which of the two guard; usually x alone does, a cotangent.

    >>> import numpy as np
    >>> from functrans.ops.guarded import guarded_mul
    >>> guarded_mul(np.array([0.0, 0.0, 2.0]), np.array([np.inf, np.nan, np.inf]))
    array([ 0.,  0., inf])
    """
    return guarded_mul_p.bind(*matched(x, y), guards=guards)


def _guarded_mul_impl(x: Aval, y: Aval, *, guards: Guards) -> Product:
    guards_x, guards_y = guards

    def multiply(x: Any, y: Any) -> Any:
        if (not guards_x or _is_finite(y)) and (not guards_y or _is_finite(x)):
            return np.multiply(x, y)
        kept = np.ones((), bool)
        if guards_x:
            kept = kept & (np.not_equal(x, 0) | np.isfinite(y))
        if guards_y:
            kept = kept & (np.not_equal(y, 0) | np.isfinite(x))
        return _where_kept(np.multiply, x, y, kept)

    return multiply


def _where_kept(ufunc: Any, x: Any, y: Any, kept: Any) -> Any:
    """What a ufunc gives, but 0 where it is not to be computed (which so gives no warning either)."""
    out = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), x.dtype)
    ufunc(x, y, out=out, where=kept)
    return out if out.shape else out[()]


guarded_mul_p = elementwise("guarded_mul", np.multiply, INEXACT)
guarded_mul_p.places_zeros = _always
def_specialized_impl(guarded_mul_p, _guarded_mul_impl)
def_multilinear(
    guarded_mul_p,
    lambda ct, x, y, *, guards: guarded_mul(ct, y, guards),
    lambda ct, x, y, *, guards: guarded_mul(x, ct, guards),
)


def _guard_mul(masked: Guards, params: Mapping[str, Any]) -> Guarded:
    guards = params.get("guards", (False, False))
    return guarded_mul_p, {"guards": (guards[0] or masked[0], guards[1] or masked[1])}


mul_p.guard = guarded_mul_p.guard = _guard_mul

# --------------------------------------------------------------------------------------------------------------------
# guarded_div


def guarded_div(x: Any, y: Any) -> Any:
    """x / y, elementwise, but 0 where x is 0.

    >>> import numpy as np
    >>> from functrans.ops.guarded import guarded_div
    >>> guarded_div(np.array([0.0, 0.0, 2.0]), np.array([0.0, np.nan, 4.0]))
    array([0. , 0. , 0.5])
    """
    return guarded_div_p.bind(*matched(x, y))


def _guarded_div_impl(x: Aval, y: Aval) -> Product:
    def divide(x: Any, y: Any) -> Any:
        regular = np.isfinite(y) & np.not_equal(y, 0)
        if _all(regular):
            return np.true_divide(x, y)
        return _where_kept(np.true_divide, x, y, regular | np.not_equal(x, 0))

    return divide


guarded_div_p = elementwise("guarded_div", np.true_divide, INEXACT)
guarded_div_p.places_zeros = _always
def_specialized_impl(guarded_div_p, _guarded_div_impl)
def_transpose(guarded_div_p, lambda ct, x, y: (guarded_div(ct, y), None))
def_jvp(
    guarded_div_p,
    lambda t, out, x, y: guarded_div(t, y),
    lambda t, out, x, y: guarded_mul(neg(guarded_div(out, y)), t),
)


def _guard_div(masked: Guards, params: Mapping[str, Any]) -> Guarded:
    return (guarded_div_p, {}) if masked[0] else None


div_p.guard = _guard_div

# --------------------------------------------------------------------------------------------------------------------
# guarded_dot_general


def guarded_dot_general(
    lhs: Any, rhs: Any, dimension_numbers: DotDimensionNumbers, guards: Guards = (True, False)
) -> Any:
    """`dot_general`, in which the products with a zero of a factor that guards are 0.

    >>> import numpy as np
    >>> from functrans.ops.guarded import guarded_dot_general
    >>> lhs, rhs = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([np.inf, 3.0])
    >>> guarded_dot_general(lhs, rhs, (((1,), (0,)), ((), ())))
    array([ 3., inf])
    """
    return guarded_dot_general_p.bind(lhs, rhs, dimension_numbers=dimension_numbers, guards=guards)


def _guarded_dot_abstract(lhs: Aval, rhs: Aval, *, dimension_numbers: DotDimensionNumbers, guards: Guards) -> Aval:
    return dot_general_p.operation((lhs, rhs), {"dimension_numbers": dimension_numbers}).out_avals[0]


def _guarded_dot_impl(lhs: Aval, rhs: Aval, *, dimension_numbers: DotDimensionNumbers, guards: Guards) -> Product:
    dot = dot_product(lhs, rhs, dimension_numbers=dimension_numbers)
    repair = _complex_repair if lhs.dtype.kind == "c" else _real_repair
    guards_lhs, guards_rhs = guards

    def product(x: Any, y: Any) -> Any:
        if (not guards_lhs or _is_finite(y)) and (not guards_rhs or _is_finite(x)):
            return dot(x, y)
        return repair(dot, np.asarray(x), np.asarray(y), guards)

    return product


def _real_repair(dot: Product, x: Any, y: Any, guards: Guards) -> Any:
    """The sum of the finite products, and what infinities and NaN add to it: where there are which, products of arrays
    of zeros and ones tell."""

    def meets(some: Any, others: Any) -> Any:
        """Where in the result some elements of x meet some of y."""
        return np.asarray(dot(some.astype(x.dtype), others.astype(x.dtype))) > 0

    x_up, x_down, y_up, y_down = x > 0, x < 0, y > 0, y < 0
    x_big, y_big, x_nan, y_nan = np.isinf(x), np.isinf(y), np.isnan(x), np.isnan(y)
    up = meets(x_up & x_big, y_up) | meets(x_down & x_big, y_down) | meets(x_up, y_up & y_big)
    up |= meets(x_down, y_down & y_big)
    down = meets(x_up & x_big, y_down) | meets(x_down & x_big, y_up) | meets(x_up, y_down & y_big)
    down |= meets(x_down, y_up & y_big)
    return _with_nonfinite(dot, x, y, up, down, _meets_nan(meets, x, y, x_big | x_nan, y_big | y_nan, guards))


def _meets_nan(meets: Product, x: Any, y: Any, x_odd: Any, y_odd: Any, guards: Guards) -> Any:
    """Where NaN is among the products: one factor is NaN, or one is infinite and the other zero without guarding."""
    x_nan, y_nan, x_zero, y_zero = np.isnan(x), np.isnan(y), x == 0, y == 0
    found = meets(x_nan, ~y_zero) | meets(~x_zero, y_nan)
    if not guards[0]:
        found |= meets(x_zero, y_odd)
    if not guards[1]:
        found |= meets(x_odd, y_zero)
    return found


def _complex_repair(dot: Product, x: Any, y: Any, guards: Guards) -> Any:
    """The same for complex numbers, where all that infinities give is NaN."""

    def meets(some: Any, others: Any) -> Any:
        return np.asarray(dot(some.astype(x.dtype), others.astype(x.dtype))) != 0

    x_odd, y_odd = ~np.isfinite(x), ~np.isfinite(y)
    found = meets(x_odd, y != 0) | meets(x != 0, y_odd) | _meets_nan(meets, x, y, x_odd, y_odd, guards)
    return _with_nonfinite(dot, x, y, np.False_, np.False_, found)


def _with_nonfinite(dot: Product, x: Any, y: Any, up: Any, down: Any, nan: Any) -> Any:
    out = np.asarray(dot(np.where(np.isfinite(x), x, 0), np.where(np.isfinite(y), y, 0)))
    out = np.where(up, np.inf, np.where(down, -np.inf, out)).astype(x.dtype)
    out[nan | (up & down)] = np.nan
    return out if out.shape else out[()]


def _guarded_dot_transpose(ct: Any, lhs: Any, rhs: Any, *, dimension_numbers: Any, guards: Guards, operand: int) -> Any:
    """The cotangent takes the place of the operand, and guards if that one did."""

    def product(x: Any, y: Any, dims: DotDimensionNumbers) -> Any:
        swapped = (x is ct) != (operand == 0)
        return guarded_dot_general(x, y, dims, guards[::-1] if swapped else guards)

    return dot_cotangents[operand](ct, lhs, rhs, dimension_numbers=dimension_numbers, product=product)


def _guarded_dot_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    dimension_numbers: DotDimensionNumbers,
    guards: Guards,
) -> tuple[Any, int]:
    (lhs, rhs), (dims, out_axis) = operands, batched_dot(operands, axes, dimension_numbers)
    return guarded_dot_general(lhs, rhs, dims, guards), out_axis


guarded_dot_general_p = Primitive("guarded_dot_general")
guarded_dot_general_p.places_zeros = _always
def_abstract(guarded_dot_general_p, _guarded_dot_abstract)
def_specialized_impl(guarded_dot_general_p, _guarded_dot_impl)
def_multilinear(
    guarded_dot_general_p,
    lambda ct, lhs, rhs, **params: _guarded_dot_transpose(ct, lhs, rhs, operand=0, **params),
    lambda ct, lhs, rhs, **params: _guarded_dot_transpose(ct, lhs, rhs, operand=1, **params),
)
def_batch(guarded_dot_general_p, _guarded_dot_batch)


def _guard_dot(masked: Guards, params: Mapping[str, Any]) -> Guarded:
    guards = params.get("guards", (False, False))
    return guarded_dot_general_p, {**params, "guards": (guards[0] or masked[0], guards[1] or masked[1])}


dot_general_p.guard = guarded_dot_general_p.guard = _guard_dot

# --------------------------------------------------------------------------------------------------------------------
# guarded_linear_recurrence


def guarded_linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Any:
    """`linear_recurrence`, `s[k] = a[k] * s[k-1] + b[k]`, where a zero of s stays zero in the product with a.

    >>> import numpy as np
    >>> from functrans.ops.guarded import guarded_linear_recurrence
    >>> guarded_linear_recurrence(np.array([1.0, np.inf, 2.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    array([0., 0., 1., 3.])
    """
    return guarded_linear_recurrence_p.bind(a, b, axis=axis, reverse=reverse)


def _guarded_recurrence_impl(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Product:
    recurrence = recurrence_of(a, b, axis=axis, reverse=reverse)
    multiply = _guarded_mul_impl(a, b, guards=(True, False))
    order = range(a.shape[axis])[::-1] if reverse else range(a.shape[axis])

    def run(a: Any, b: Any) -> Any:
        if _is_finite(a):
            return recurrence(a, b)
        out = np.array(b)
        factors, sums, last = np.moveaxis(a, axis, 0), np.moveaxis(out, axis, 0), None
        for k in order:
            if last is not None:
                sums[k] += multiply(sums[last], factors[k])
            last = k
        return out

    return run


def _recurrence_abstract(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Aval:
    return linear_recurrence_p.operation((a, b), {"axis": axis, "reverse": reverse}).out_avals[0]


def _recurrence_jvp_a(t: Any, out: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    return guarded_linear_recurrence(a, guarded_mul(shifted(out, axis, 0, reverse), t), axis, reverse)


def _recurrence_jvp_b(t: Any, out: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    return guarded_linear_recurrence(a, t, axis, reverse)


def _recurrence_transpose(ct: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> tuple[None, Any]:
    return None, guarded_linear_recurrence(shifted(a, axis, 0, not reverse), ct, axis, not reverse)


def _recurrence_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, axis: int, reverse: bool
) -> tuple[Any, int]:
    a, b = align(size, operands, axes, 0)
    return guarded_linear_recurrence(a, b, axis + 1, reverse), 0


guarded_linear_recurrence_p = Primitive("guarded_linear_recurrence")
guarded_linear_recurrence_p.places_zeros = _always
def_abstract(guarded_linear_recurrence_p, _recurrence_abstract)
def_specialized_impl(guarded_linear_recurrence_p, _guarded_recurrence_impl)
def_jvp(guarded_linear_recurrence_p, _recurrence_jvp_a, _recurrence_jvp_b)
def_transpose(guarded_linear_recurrence_p, _recurrence_transpose)
def_batch(guarded_linear_recurrence_p, _recurrence_batch)


def _guard_recurrence(masked: Guards, params: Mapping[str, Any]) -> Guarded:
    return (guarded_linear_recurrence_p, params) if masked[1] else None


linear_recurrence_p.guard = _guard_recurrence
