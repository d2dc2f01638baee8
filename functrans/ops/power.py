"""Elementwise primitives: powers and roots."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_specialized_impl, zeros_like
from functrans.ops.elementwise import div, mul
from functrans.ops.families import (
    FLOAT,
    INEXACT,
    NUMBER,
    batch_elementwise,
    def_derivative,
    elementwise,
)

__all__ = [
    "cbrt",
    "cbrt_p",
    "integer_pow",
    "integer_pow_p",
    "reciprocal",
    "rsqrt",
    "rsqrt_p",
    "sqrt",
    "sqrt_p",
    "square",
    "square_p",
]


def square(x: Any) -> Any:
    """x squared, elementwise, of numbers."""
    return square_p.bind(x)


square_p = elementwise("square", np.square, NUMBER)
def_derivative(square_p, lambda t, out, x: mul(t, mul(x, 2)))


def sqrt(x: Any) -> Any:
    """The square root, elementwise, of floats (NaN for negative ones) or complex numbers."""
    return sqrt_p.bind(x)


sqrt_p = elementwise("sqrt", np.sqrt, INEXACT)
def_derivative(sqrt_p, lambda t, out, x: mul(t, div(0.5, out)))


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x), elementwise, of floats or complex numbers."""
    return rsqrt_p.bind(x)


rsqrt_p = elementwise("rsqrt", lambda x: np.reciprocal(np.sqrt(x)), INEXACT)
def_derivative(rsqrt_p, lambda t, out, x: mul(t, mul(div(out, x), -0.5)))


def cbrt(x: Any) -> Any:
    """The real cube root, elementwise, of floats."""
    return cbrt_p.bind(x)


cbrt_p = elementwise("cbrt", np.cbrt, FLOAT)
def_derivative(cbrt_p, lambda t, out, x: mul(t, div(1 / 3, square(out))))

# --------------------------------------------------------------------------------------------------------------------
# integer_pow


def integer_pow(x: Any, y: int) -> Any:
    """x to the power of a fixed integer, elementwise, by repeated multiplication.

    This is many times faster than `np.power`, whose last bits can be others.

    Args:
        x: numbers; floats or complex ones if the exponent is negative.
        y: the exponent.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.integer_pow(np.array([2.0, -3.0]), 3)
    array([  8., -27.])
    """
    return integer_pow_p.bind(x, y=operator.index(y))


def reciprocal(x: Any) -> Any:
    """1 / x, elementwise, of floats or complex numbers."""
    return integer_pow(x, -1)


def _integer_pow_abstract(x: Aval, *, y: int) -> Aval:
    if x.dtype.kind == "b":
        raise TypeError(f"integer_pow takes numbers, got {x}")
    if y < 0 and not x.inexact:
        raise TypeError(f"integer_pow: the power {y} of integers, {x}, is no integer")
    return x


def _integer_pow_impl(x: Aval, *, y: int) -> Callable[..., Any]:
    if y < 0:
        positive = _integer_pow_impl(x, y=-y)
        return np.reciprocal if y == -1 else lambda x: np.reciprocal(positive(x))
    if y <= 2:
        return (np.ones_like, lambda x: x.copy(), np.square)[y]

    def multiply(x: Any) -> Any:
        product, remaining = None, y
        while remaining:
            if remaining & 1:
                product = x if product is None else np.multiply(product, x)
            remaining >>= 1
            if remaining:
                x = np.square(x)
        return product

    return multiply


def _integer_pow_jvp(t: Any, out: Any, x: Any, *, y: int) -> Any:
    if y == 0:
        return zeros_like(t)
    return t if y == 1 else mul(t, integer_slope(x, y))


def integer_slope(x: Any, y: int) -> Any:
    """The derivative of x**y by x, for y not 0 or 1."""
    return mul(x if y == 2 else integer_pow(x, y - 1), y)


integer_pow_p = Primitive("integer_pow")
integer_pow_p.is_elementwise = True
def_abstract(integer_pow_p, _integer_pow_abstract)
def_specialized_impl(integer_pow_p, _integer_pow_impl)
def_derivative(integer_pow_p, _integer_pow_jvp)
def_batch(integer_pow_p, batch_elementwise(integer_pow_p))
