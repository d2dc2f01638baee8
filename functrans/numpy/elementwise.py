"""What NumPy's ufuncs compute, in terms of primitives.

Each function gets operands of one shape, in the dtypes of the loop that the ufunc has chosen for them; where NumPy
tells booleans, integers, floats and complex numbers apart, so does the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import filled, like
from functrans.ops.conversion import convert_element_type

__all__ = ["TABLE"]


def _kind(x: Any) -> str:
    kind: str = x.dtype.kind
    return kind


def _add(x: Any, y: Any) -> Any:
    return lax.bitwise_or(x, y) if _kind(x) == "b" else lax.add(x, y)


def _multiply(x: Any, y: Any) -> Any:
    return lax.bitwise_and(x, y) if _kind(x) == "b" else lax.mul(x, y)


def _maximum(x: Any, y: Any) -> Any:
    return lax.bitwise_or(x, y) if _kind(x) == "b" else lax.max(x, y)


def _minimum(x: Any, y: Any) -> Any:
    return lax.bitwise_and(x, y) if _kind(x) == "b" else lax.min(x, y)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return lax.min(lax.max(x, low), high)


def _same(x: Any) -> Any:
    return x


def _unless(kinds: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that leaves some kinds of numbers as they are."""
    return lambda x: x if _kind(x) in kinds else function(x)


def _square(x: Any) -> Any:
    return lax.bitwise_and(x, x) if _kind(x) == "b" else lax.square(x)


def _reciprocal(x: Any) -> Any:
    if _kind(x) in "iu":
        return convert_element_type(lax.div(1.0, convert_element_type(x, np.float64)), x.dtype)
    return lax.div(1.0, x)


def _scaled(factor: str) -> Callable[[Any], Any]:
    """Multiplication by a constant that is rounded to the dtype as NumPy's C code rounds it."""

    def function(x: Any) -> Any:
        pi, half_turn = x.dtype.type(np.pi), x.dtype.type(180)
        if x.dtype == np.float16:
            pi, half_turn = np.float32(np.pi), np.float32(180)
        scale = pi / half_turn if factor == "radians" else half_turn / pi
        if x.dtype == np.float16:  # NumPy computes it in float32
            wide = convert_element_type(x, np.float32)
            return convert_element_type(lax.mul(wide, like(scale, wide)), x.dtype)
        return lax.mul(x, like(scale, x))

    return function


def _test(function: Callable[[Any], Any], of_integers: bool) -> Callable[[Any], Any]:
    """A test of floats, of which integers all have the same answer."""
    return lambda x: filled(of_integers, x.shape, np.bool_) if _kind(x) in "biu" else function(x)


def _as_bool(x: Any) -> Any:
    return convert_element_type(x, np.bool_)


def _logical(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands: function(*[_as_bool(x) for x in operands])


def _signbit(x: Any) -> Any:
    return lax.lt(lax.copysign(like(1, x), lax.stop_gradient(x)), like(0, x))


def _heaviside(x: Any, at_zero: Any) -> Any:
    step = lax.select(lax.gt(x, like(0, x)), like(1, x), like(0, x))
    step = lax.select(lax.eq(x, like(0, x)), at_zero, step)
    return lax.select(lax.is_nan(x), like(np.nan, x), step)


def _fmax(x: Any, y: Any) -> Any:
    return _ignoring_nan(_maximum, x, y)


def _fmin(x: Any, y: Any) -> Any:
    return _ignoring_nan(_minimum, x, y)


def _ignoring_nan(function: Callable[..., Any], x: Any, y: Any) -> Any:
    if _kind(x) in "biu":
        return function(x, y)
    return lax.select(lax.is_nan(x), y, lax.select(lax.is_nan(y), x, function(x, y)))


def _comparison(compare: Callable[[Any, Any], Any], if_less: bool) -> Callable[[Any, Any], Any]:
    """A comparison; NumPy compares int64 with uint64 exactly, not in float64.

    Args:
        compare: the primitive.
        if_less: what it says where the first operand is smaller.
    """

    def function(x: Any, y: Any) -> Any:
        if x.dtype == y.dtype:
            return compare(x, y)
        plain = compare(convert_element_type(x, np.uint64), convert_element_type(y, np.uint64))
        signed, first = (x, True) if _kind(x) == "i" else (y, False)
        below = if_less if first or compare in (lax.eq, lax.ne) else not if_less
        return lax.select(lax.lt(signed, like(0, signed)), like(below, plain), plain)

    return function


def _divmod(x: Any, y: Any) -> tuple[Any, Any]:
    return lax.floor_divide(x, y), lax.mod(x, y)


def _modf(x: Any) -> tuple[Any, Any]:
    whole = lax.trunc(x)
    fraction = lax.select(lax.is_inf(x), like(0, x), lax.sub(x, whole))
    return lax.copysign(fraction, lax.stop_gradient(x)), whole


def _ldexp(x: Any, n: Any) -> Any:
    # In two steps, since 2**n alone can overflow where x * 2**n does not.
    half = lax.shift_right_arithmetic(n, like(1, n))
    factors = [lax.exp2(convert_element_type(part, x.dtype)) for part in (half, lax.sub(n, half))]
    return lax.mul(lax.mul(x, factors[0]), factors[1])


def _frexp(x: Any) -> tuple[Any, Any]:
    special = lax.bitwise_or(lax.bitwise_not(lax.is_finite(x)), lax.eq(x, like(0, x)))
    size = lax.select(special, like(1, x), lax.abs(lax.stop_gradient(x)))
    guess = convert_element_type(lax.floor(lax.log2(size)), np.int32)
    scaled = _ldexp(size, lax.neg(guess))  # in [0.5, 4) at worst: the logarithm is rounded
    exponent = lax.add(guess, like(1, guess))
    exponent = lax.select(lax.ge(scaled, like(2, x)), lax.add(exponent, like(1, guess)), exponent)
    exponent = lax.select(lax.lt(scaled, like(1, x)), lax.sub(exponent, like(1, guess)), exponent)
    mantissa = _ldexp(x, lax.neg(exponent))
    return lax.select(special, x, mantissa), lax.select(special, like(0, guess), exponent)


def _spacing(x: Any) -> Any:
    size = lax.abs(x)
    gap = lax.sub(lax.nextafter(size, like(np.inf, x)), size)
    return lax.stop_gradient(lax.copysign(gap, x))


def _right_shift(x: Any, y: Any) -> Any:
    return (lax.shift_right_logical if _kind(x) == "u" else lax.shift_right_arithmetic)(x, y)


def _bit_count(x: Any) -> Any:
    return convert_element_type(lax.population_count(lax.abs(x) if _kind(x) == "i" else x), np.uint8)


TABLE: dict[np.ufunc, Callable[..., Any]] = {
    # arithmetic
    np.add: _add,
    np.subtract: lax.sub,
    np.multiply: _multiply,
    np.true_divide: lax.div,
    np.floor_divide: lax.floor_divide,
    np.remainder: lax.mod,
    np.fmod: lax.rem,
    np.divmod: _divmod,
    np.power: lax.pow,
    np.float_power: lax.pow,
    np.negative: lax.neg,
    np.positive: _same,
    np.absolute: _unless("bu", lax.abs),
    np.fabs: lax.abs,
    np.sign: lax.sign,
    np.square: _square,
    np.sqrt: lax.sqrt,
    np.cbrt: lax.cbrt,
    np.reciprocal: _reciprocal,
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.fmax: _fmax,
    np.fmin: _fmin,
    np._core.umath.clip: _clip,  # type: ignore[attr-defined]
    # exponentials and logarithms
    np.exp: lax.exp,
    np.exp2: lax.exp2,
    np.expm1: lax.expm1,
    np.log: lax.log,
    np.log2: lax.log2,
    np.log10: lax.log10,
    np.log1p: lax.log1p,
    np.logaddexp: lax.logaddexp,
    np.logaddexp2: lax.logaddexp2,
    # trigonometry
    np.sin: lax.sin,
    np.cos: lax.cos,
    np.tan: lax.tan,
    np.arcsin: lax.asin,
    np.arccos: lax.acos,
    np.arctan: lax.atan,
    np.arctan2: lax.atan2,
    np.hypot: lax.hypot,
    np.sinh: lax.sinh,
    np.cosh: lax.cosh,
    np.tanh: lax.tanh,
    np.arcsinh: lax.asinh,
    np.arccosh: lax.acosh,
    np.arctanh: lax.atanh,
    np.degrees: _scaled("degrees"),
    np.rad2deg: _scaled("degrees"),
    np.radians: _scaled("radians"),
    np.deg2rad: _scaled("radians"),
    # comparisons and logic
    np.equal: _comparison(lax.eq, False),
    np.not_equal: _comparison(lax.ne, True),
    np.less: _comparison(lax.lt, True),
    np.less_equal: _comparison(lax.le, True),
    np.greater: _comparison(lax.gt, False),
    np.greater_equal: _comparison(lax.ge, False),
    np.logical_and: _logical(lax.bitwise_and),
    np.logical_or: _logical(lax.bitwise_or),
    np.logical_xor: _logical(lax.bitwise_xor),
    np.logical_not: _logical(lax.bitwise_not),
    np.isnan: _test(lax.is_nan, False),
    np.isinf: _test(lax.is_inf, False),
    np.isfinite: _test(lax.is_finite, True),
    # bits
    np.bitwise_and: lax.bitwise_and,
    np.bitwise_or: lax.bitwise_or,
    np.bitwise_xor: lax.bitwise_xor,
    np.invert: lax.bitwise_not,
    np.left_shift: lax.shift_left,
    np.right_shift: _right_shift,
    np.bitwise_count: _bit_count,
    # floats
    np.floor: _unless("biu", lax.floor),
    np.ceil: _unless("biu", lax.ceil),
    np.trunc: _unless("biu", lax.trunc),
    np.rint: lax.rint,
    np.signbit: _signbit,
    np.copysign: lax.copysign,
    np.nextafter: lax.nextafter,
    np.spacing: _spacing,
    np.heaviside: _heaviside,
    np.modf: _modf,
    np.frexp: _frexp,
    np.ldexp: _ldexp,
    # complex numbers
    np.conjugate: _unless("biuf", lax.conj),
}
"""For each ufunc of one element at a time what it computes."""
