"""What NumPy's ufuncs compute, in terms of primitives.

Each function gets operands of one shape, in the dtypes of the loop that the ufunc has chosen for them; where NumPy
tells booleans, integers, floats and complex numbers apart, so does the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import like
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
    return lax.bitwise_and(x, x) if _kind(x) == "b" else lax.integer_pow(x, 2)


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


def _is_nan(x: Any) -> Any:
    return like(False, _as_bool(x)) if _kind(x) in "biu" else lax.ne(x, x)


def _is_inf(x: Any) -> Any:
    if _kind(x) in "biu":
        return like(False, _as_bool(x))
    if _kind(x) == "c":
        return lax.bitwise_or(_is_inf(lax.real(x)), _is_inf(lax.imag(x)))
    return lax.eq(lax.abs(x), like(np.inf, x))


def _is_finite(x: Any) -> Any:
    if _kind(x) in "biu":
        return like(True, _as_bool(x))
    if _kind(x) == "c":
        return lax.bitwise_and(lax.is_finite(lax.real(x)), lax.is_finite(lax.imag(x)))
    return lax.is_finite(x)


def _as_bool(x: Any) -> Any:
    return convert_element_type(x, np.bool_)


def _logical(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands: function(*[_as_bool(x) for x in operands])


def _signbit(x: Any) -> Any:
    return lax.lt(lax.copysign(like(1, x), lax.stop_gradient(x)), like(0, x))


def _heaviside(x: Any, at_zero: Any) -> Any:
    step = lax.select(lax.gt(x, like(0, x)), like(1, x), like(0, x))
    step = lax.select(lax.eq(x, like(0, x)), at_zero, step)
    return lax.select(_is_nan(x), like(np.nan, x), step)


def _fmax(x: Any, y: Any) -> Any:
    return _ignoring_nan(_maximum, x, y)


def _fmin(x: Any, y: Any) -> Any:
    return _ignoring_nan(_minimum, x, y)


def _ignoring_nan(function: Callable[..., Any], x: Any, y: Any) -> Any:
    if _kind(x) in "biu":
        return function(x, y)
    return lax.select(_is_nan(x), y, lax.select(_is_nan(y), x, function(x, y)))


def _fmod(x: Any, y: Any) -> Any:
    return lax.rem(x, y)


def _divmod(x: Any, y: Any) -> tuple[Any, Any]:
    return lax.floor_divide(x, y), lax.mod(x, y)


def _modf(x: Any) -> tuple[Any, Any]:
    whole = lax.trunc(x)
    fraction = lax.select(_is_inf(x), like(0, x), lax.sub(x, whole))
    return lax.copysign(fraction, lax.stop_gradient(x)), whole


def _ldexp(x: Any, n: Any) -> Any:
    # In two steps, since 2**n alone can overflow where x * 2**n does not.
    half = lax.shift_right_arithmetic(n, like(1, n))
    factors = [lax.exp2(convert_element_type(part, x.dtype)) for part in (half, lax.sub(n, half))]
    return lax.mul(lax.mul(x, factors[0]), factors[1])


def _frexp(x: Any) -> tuple[Any, Any]:
    special = lax.bitwise_or(lax.bitwise_not(_is_finite(x)), lax.eq(x, like(0, x)))
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


def _logaddexp2(x: Any, y: Any) -> Any:
    log2 = like(np.log(2), x)
    return lax.div(lax.logaddexp(lax.mul(x, log2), lax.mul(y, log2)), log2)


def _named(name: str) -> Callable[..., Any]:
    return lambda *operands: getattr(lax, name)(*operands)


TABLE: dict[np.ufunc, Callable[..., Any]] = {
    # arithmetic
    np.add: _add,
    np.subtract: _named("sub"),
    np.multiply: _multiply,
    np.true_divide: _named("div"),
    np.floor_divide: _named("floor_divide"),
    np.remainder: _named("mod"),
    np.fmod: _fmod,
    np.divmod: _divmod,
    np.power: _named("pow"),
    np.float_power: _named("pow"),
    np.negative: _named("neg"),
    np.positive: _same,
    np.absolute: _unless("bu", _named("abs")),
    np.fabs: _named("abs"),
    np.sign: _named("sign"),
    np.square: _square,
    np.sqrt: _named("sqrt"),
    np.cbrt: _named("cbrt"),
    np.reciprocal: _reciprocal,
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.fmax: _fmax,
    np.fmin: _fmin,
    np._core.umath.clip: _clip,  # type: ignore[attr-defined]
    # exponentials and logarithms
    np.exp: _named("exp"),
    np.exp2: _named("exp2"),
    np.expm1: _named("expm1"),
    np.log: _named("log"),
    np.log2: _named("log2"),
    np.log10: _named("log10"),
    np.log1p: _named("log1p"),
    np.logaddexp: _named("logaddexp"),
    np.logaddexp2: _logaddexp2,
    # trigonometry
    np.sin: _named("sin"),
    np.cos: _named("cos"),
    np.tan: _named("tan"),
    np.arcsin: _named("asin"),
    np.arccos: _named("acos"),
    np.arctan: _named("atan"),
    np.arctan2: _named("atan2"),
    np.hypot: _named("hypot"),
    np.sinh: _named("sinh"),
    np.cosh: _named("cosh"),
    np.tanh: _named("tanh"),
    np.arcsinh: _named("asinh"),
    np.arccosh: _named("acosh"),
    np.arctanh: _named("atanh"),
    np.degrees: _scaled("degrees"),
    np.rad2deg: _scaled("degrees"),
    np.radians: _scaled("radians"),
    np.deg2rad: _scaled("radians"),
    # comparisons and logic
    np.equal: _named("eq"),
    np.not_equal: _named("ne"),
    np.less: _named("lt"),
    np.less_equal: _named("le"),
    np.greater: _named("gt"),
    np.greater_equal: _named("ge"),
    np.logical_and: _logical(_named("bitwise_and")),
    np.logical_or: _logical(_named("bitwise_or")),
    np.logical_xor: _logical(_named("bitwise_xor")),
    np.logical_not: _logical(_named("bitwise_not")),
    np.isnan: _is_nan,
    np.isinf: _is_inf,
    np.isfinite: _is_finite,
    # bits
    np.bitwise_and: _named("bitwise_and"),
    np.bitwise_or: _named("bitwise_or"),
    np.bitwise_xor: _named("bitwise_xor"),
    np.invert: _named("bitwise_not"),
    np.left_shift: _named("shift_left"),
    np.right_shift: _right_shift,
    np.bitwise_count: _bit_count,
    # floats
    np.floor: _unless("biu", _named("floor")),
    np.ceil: _unless("biu", _named("ceil")),
    np.trunc: _unless("biu", _named("trunc")),
    np.rint: _named("rint"),
    np.signbit: _signbit,
    np.copysign: _named("copysign"),
    np.nextafter: _named("nextafter"),
    np.spacing: _spacing,
    np.heaviside: _heaviside,
    np.modf: _modf,
    np.frexp: _frexp,
    np.ldexp: _ldexp,
    # complex numbers
    np.conjugate: _unless("biuf", _named("conj")),
}
"""For each ufunc of one element at a time what it computes."""
