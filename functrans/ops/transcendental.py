"""Elementwise primitives: exponentials, logarithms and powers, trigonometric and hyperbolic functions."""

from __future__ import annotations

from math import isfinite
from math import log as log_of_number
from typing import Any

import numpy as np

from functrans.core.jaxpr import Literal
from functrans.core.rules import zeros_like
from functrans.ops.bitwise import bitwise_and
from functrans.ops.comparison import eq, is_inf, select, without_zeros
from functrans.ops.elementwise import add, div, mul, neg, sub
from functrans.ops.families import FLOAT, INEXACT, NUMBER, constant_like, def_derivative, elementwise, matched
from functrans.ops.power import integer_slope, rsqrt, sqrt

__all__ = [
    "acos",
    "acos_p",
    "acosh",
    "acosh_p",
    "asin",
    "asin_p",
    "asinh",
    "asinh_p",
    "atan",
    "atan2",
    "atan2_p",
    "atan_p",
    "atanh",
    "atanh_p",
    "cos",
    "cos_p",
    "cosh",
    "cosh_p",
    "exp",
    "exp2",
    "exp2_p",
    "exp_p",
    "expm1",
    "expm1_p",
    "hypot",
    "hypot_p",
    "log",
    "log10",
    "log10_p",
    "log1p",
    "log1p_p",
    "log2",
    "log2_p",
    "log_p",
    "logaddexp",
    "logaddexp2",
    "logaddexp2_p",
    "logaddexp_p",
    "logistic",
    "logistic_p",
    "pow",
    "pow_p",
    "sin",
    "sin_p",
    "sinh",
    "sinh_p",
    "tan",
    "tan_p",
    "tanh",
    "tanh_p",
]

_LN2, _LN10 = log_of_number(2), log_of_number(10)

# --------------------------------------------------------------------------------------------------------------------
# Exponentials and logarithms


def exp(x: Any) -> Any:
    """e to the power x, elementwise, of floats or complex numbers."""
    return exp_p.bind(x)


exp_p = elementwise("exp", np.exp, INEXACT)
def_derivative(exp_p, lambda t, out, x: mul(t, out))


def exp2(x: Any) -> Any:
    """2 to the power x, elementwise, of floats or complex numbers."""
    return exp2_p.bind(x)


exp2_p = elementwise("exp2", np.exp2, INEXACT)
def_derivative(exp2_p, lambda t, out, x: mul(t, mul(out, _LN2)))


def expm1(x: Any) -> Any:
    """exp(x) - 1, exact for small x, elementwise, of floats or complex numbers."""
    return expm1_p.bind(x)


expm1_p = elementwise("expm1", np.expm1, INEXACT)
def_derivative(expm1_p, lambda t, out, x: mul(t, add(out, 1)))


def log(x: Any) -> Any:
    """The natural logarithm, elementwise, of floats or complex numbers."""
    return log_p.bind(x)


log_p = elementwise("log", np.log, INEXACT)
def_derivative(log_p, lambda t, out, x: div(t, x))


def log2(x: Any) -> Any:
    """The logarithm to base 2, elementwise, of floats or complex numbers."""
    return log2_p.bind(x)


log2_p = elementwise("log2", np.log2, INEXACT)
def_derivative(log2_p, lambda t, out, x: div(t, mul(x, _LN2)))


def log10(x: Any) -> Any:
    """The logarithm to base 10, elementwise, of floats or complex numbers."""
    return log10_p.bind(x)


log10_p = elementwise("log10", np.log10, INEXACT)
def_derivative(log10_p, lambda t, out, x: div(t, mul(x, _LN10)))


def log1p(x: Any) -> Any:
    """log(1 + x), exact for small x, elementwise, of floats or complex numbers."""
    return log1p_p.bind(x)


log1p_p = elementwise("log1p", np.log1p, INEXACT)
def_derivative(log1p_p, lambda t, out, x: div(t, add(x, 1)))


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)), elementwise, of floats or complex numbers.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.logistic(np.array([0.0, -1000.0, np.inf]))
    array([0.5, 0. , 1. ])
    """
    return logistic_p.bind(x)


def _logistic_impl(x: Any) -> Any:
    with np.errstate(over="ignore"):  # 1 / inf is the right limit
        out = np.negative(x)
        if type(out) is not np.ndarray:
            return np.reciprocal(np.add(np.exp(out), 1))
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        return np.reciprocal(out, out=out)


logistic_p = elementwise("logistic", _logistic_impl, INEXACT)
def_derivative(logistic_p, lambda t, out, x: mul(t, mul(out, sub(1, out))))


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), elementwise, of floats of one shape and dtype.

    Where x and y are the same infinity, each has half of the derivative.
    """
    return logaddexp_p.bind(*matched(x, y))


def _difference(x: Any, y: Any) -> Any:
    """x - y, but 0 where they are the same infinity, of which each has half of the sum."""
    if any([type(operand) is Literal and isfinite(operand.value) for operand in (x, y)]):
        return sub(x, y)
    same, zero = bitwise_and(eq(x, y), is_inf(x)), constant_like(x, 0)
    return sub(select(same, zero, x), select(same, zero, y))


logaddexp_p = elementwise("logaddexp", np.logaddexp, FLOAT)
def_derivative(
    logaddexp_p,
    lambda t, out, x, y: mul(t, logistic(_difference(x, y))),  # exp(x) / (exp(x) + exp(y))
    lambda t, out, x, y: mul(t, logistic(_difference(y, x))),
)


def logaddexp2(x: Any, y: Any) -> Any:
    """log2(2**x + 2**y), elementwise, of floats of one shape and dtype.

    Where x and y are the same infinity, each has half of the derivative.
    """
    return logaddexp2_p.bind(*matched(x, y))


logaddexp2_p = elementwise("logaddexp2", np.logaddexp2, FLOAT)
def_derivative(
    logaddexp2_p,
    lambda t, out, x, y: mul(t, logistic(mul(_difference(x, y), _LN2))),
    lambda t, out, x, y: mul(t, logistic(mul(_difference(y, x), _LN2))),
)

# --------------------------------------------------------------------------------------------------------------------
# pow


def pow(x: Any, y: Any) -> Any:
    """x to the power y, elementwise, of numbers of one shape and dtype (of integers, y must not be negative).

    The derivative by y is 0 where x is 0, that by x is 0 where y is 0.
    """
    return pow_p.bind(*matched(x, y))


def _pow_jvp_base(t: Any, out: Any, x: Any, y: Any) -> Any:
    if type(y) is Literal:
        return _fixed_pow_jvp(t, x, y)
    # At x = y = 0 the derivative, y * x**(y - 1), is 0 and not 0 * inf.
    power = select(bitwise_and(eq(x, 0), eq(y, 0)), constant_like(y, 1), sub(y, 1))
    return mul(t, mul(y, pow(x, power)))


def _fixed_pow_jvp(t: Any, x: Any, y: Literal) -> Any:
    value = y.value
    if value in (0, 1):
        return t if value == 1 else zeros_like(t)
    if value.imag == 0 and value.real.is_integer():
        return mul(t, integer_slope(x, int(value.real)))
    return mul(t, mul(pow(x, constant_like(y, value - 1)), y))


def _pow_jvp_exponent(t: Any, out: Any, x: Any, y: Any) -> Any:
    return mul(t, mul(log(without_zeros(x)), out))


pow_p = elementwise("pow", np.power, NUMBER)
def_derivative(pow_p, _pow_jvp_base, _pow_jvp_exponent)

# --------------------------------------------------------------------------------------------------------------------
# Trigonometric functions


def sin(x: Any) -> Any:
    """The sine, elementwise, of floats or complex numbers."""
    return sin_p.bind(x)


sin_p = elementwise("sin", np.sin, INEXACT)
def_derivative(sin_p, lambda t, out, x: mul(t, cos(x)))


def cos(x: Any) -> Any:
    """The cosine, elementwise, of floats or complex numbers."""
    return cos_p.bind(x)


cos_p = elementwise("cos", np.cos, INEXACT)
def_derivative(cos_p, lambda t, out, x: mul(t, neg(sin(x))))


def tan(x: Any) -> Any:
    """The tangent, elementwise, of floats or complex numbers."""
    return tan_p.bind(x)


tan_p = elementwise("tan", np.tan, INEXACT)
def_derivative(tan_p, lambda t, out, x: mul(t, add(mul(out, out), 1)))


def asin(x: Any) -> Any:
    """The inverse sine, elementwise, of floats or complex numbers."""
    return asin_p.bind(x)


def _one_minus_square(x: Any) -> Any:
    return mul(sub(1, x), add(x, 1))  # 1 - x * x would lose digits near 1 and -1


asin_p = elementwise("asin", np.arcsin, INEXACT)
def_derivative(asin_p, lambda t, out, x: mul(t, rsqrt(_one_minus_square(x))))


def acos(x: Any) -> Any:
    """The inverse cosine, elementwise, of floats or complex numbers."""
    return acos_p.bind(x)


acos_p = elementwise("acos", np.arccos, INEXACT)
def_derivative(acos_p, lambda t, out, x: mul(t, neg(rsqrt(_one_minus_square(x)))))


def atan(x: Any) -> Any:
    """The inverse tangent, elementwise, of floats or complex numbers."""
    return atan_p.bind(x)


atan_p = elementwise("atan", np.arctan, INEXACT)
def_derivative(atan_p, lambda t, out, x: div(t, add(mul(x, x), 1)))


def hypot(x: Any, y: Any) -> Any:
    """sqrt(x**2 + y**2), elementwise, of floats of one shape and dtype. At 0, 0 its derivative is 0."""
    return hypot_p.bind(*matched(x, y))


hypot_p = elementwise("hypot", np.hypot, FLOAT)
def_derivative(
    hypot_p,
    lambda t, out, x, y: mul(t, div(x, without_zeros(out))),
    lambda t, out, x, y: mul(t, div(y, without_zeros(out))),
)


def atan2(x: Any, y: Any) -> Any:
    """The angle of the point with ordinate x and abscissa y, elementwise, of floats of one shape and dtype.

    At 0, 0 its derivative is 0.
    """
    return atan2_p.bind(*matched(x, y))


def _over_square(x: Any, y: Any, part: Any) -> Any:
    radius = without_zeros(hypot(x, y))
    return div(div(part, radius), radius)  # the square itself could overflow, or be 0


atan2_p = elementwise("atan2", np.arctan2, FLOAT)
def_derivative(
    atan2_p,
    lambda t, out, x, y: mul(t, _over_square(x, y, y)),
    lambda t, out, x, y: mul(t, neg(_over_square(x, y, x))),
)

# --------------------------------------------------------------------------------------------------------------------
# Hyperbolic functions


def sinh(x: Any) -> Any:
    """The hyperbolic sine, elementwise, of floats or complex numbers."""
    return sinh_p.bind(x)


sinh_p = elementwise("sinh", np.sinh, INEXACT)
def_derivative(sinh_p, lambda t, out, x: mul(t, cosh(x)))


def cosh(x: Any) -> Any:
    """The hyperbolic cosine, elementwise, of floats or complex numbers."""
    return cosh_p.bind(x)


cosh_p = elementwise("cosh", np.cosh, INEXACT)
def_derivative(cosh_p, lambda t, out, x: mul(t, sinh(x)))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent, elementwise, of floats or complex numbers."""
    return tanh_p.bind(x)


tanh_p = elementwise("tanh", np.tanh, INEXACT)
def_derivative(tanh_p, lambda t, out, x: mul(t, sub(1, mul(out, out))))


def asinh(x: Any) -> Any:
    """The inverse hyperbolic sine, elementwise, of floats or complex numbers."""
    return asinh_p.bind(x)


def _asinh_jvp(t: Any, out: Any, x: Any) -> Any:
    return div(t, sqrt(add(mul(x, x), 1)) if x.dtype.kind == "c" else hypot(x, 1))


asinh_p = elementwise("asinh", np.arcsinh, INEXACT)
def_derivative(asinh_p, _asinh_jvp)


def acosh(x: Any) -> Any:
    """The inverse hyperbolic cosine, elementwise, of floats (NaN below 1) or complex numbers."""
    return acosh_p.bind(x)


acosh_p = elementwise("acosh", np.arccosh, INEXACT)
# One root would be on the wrong branch for complex numbers with a negative real part.
def_derivative(acosh_p, lambda t, out, x: mul(t, mul(rsqrt(sub(x, 1)), rsqrt(add(x, 1)))))


def atanh(x: Any) -> Any:
    """The inverse hyperbolic tangent, elementwise, of floats or complex numbers."""
    return atanh_p.bind(x)


atanh_p = elementwise("atanh", np.arctanh, INEXACT)
def_derivative(atanh_p, lambda t, out, x: div(t, _one_minus_square(x)))
