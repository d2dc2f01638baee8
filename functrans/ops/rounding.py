"""Elementwise primitives: rounding. Their derivative is zero."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_constant, def_impl
from functrans.ops.families import FLOAT, batch_elementwise, elementwise

__all__ = [
    "RoundingMethod",
    "ceil",
    "ceil_p",
    "floor",
    "floor_p",
    "rint",
    "round",
    "round_p",
    "trunc",
    "trunc_p",
]


def floor(x: Any) -> Any:
    """The largest whole number not above x, elementwise, of floats."""
    return floor_p.bind(x)


floor_p = elementwise("floor", np.floor, FLOAT)
def_constant(floor_p, 1)


def ceil(x: Any) -> Any:
    """The smallest whole number not below x, elementwise, of floats."""
    return ceil_p.bind(x)


ceil_p = elementwise("ceil", np.ceil, FLOAT)
def_constant(ceil_p, 1)


def trunc(x: Any) -> Any:
    """x without its fraction, elementwise, of floats."""
    return trunc_p.bind(x)


trunc_p = elementwise("trunc", np.trunc, FLOAT)
def_constant(trunc_p, 1)


class RoundingMethod(IntEnum):
    """Where `round` takes what is halfway between two whole numbers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x: Any, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Any:
    """The nearest whole number, elementwise.

    Args:
        x: floats; complex numbers too, of which both parts are rounded, with `TO_NEAREST_EVEN`.
        rounding_method: where what is halfway goes.

    >>> import numpy as np
    >>> from functrans import lax
    >>> x = np.array([0.5, 1.5, -0.5])
    >>> lax.round(x), lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
    (array([ 1.,  2., -1.]), array([ 0.,  2., -0.]))
    """
    return round_p.bind(x, rounding_method=RoundingMethod(rounding_method))


def rint(x: Any) -> Any:
    """The nearest whole number, the even one of two, elementwise: `np.rint`."""
    return round(x, RoundingMethod.TO_NEAREST_EVEN)


def _round_abstract(x: Aval, *, rounding_method: RoundingMethod) -> Aval:
    if not x.inexact:
        raise TypeError(f"round takes floats and complex numbers, got {x}")
    if x.dtype.kind == "c" and rounding_method is RoundingMethod.AWAY_FROM_ZERO:
        raise TypeError(f"round takes complex numbers with RoundingMethod.TO_NEAREST_EVEN only, got {x}")
    return x


def _round_impl(x: Any, *, rounding_method: RoundingMethod) -> Any:
    if rounding_method is RoundingMethod.TO_NEAREST_EVEN:
        return np.rint(x)
    fraction, whole = np.modf(x)
    return np.add(whole, np.trunc(np.add(fraction, fraction)))  # exact, keeps -0.0 and infinities


round_p = Primitive("round")
round_p.is_elementwise = True
def_impl(round_p, _round_impl)
def_abstract(round_p, _round_abstract)
def_constant(round_p, 1)
def_batch(round_p, batch_elementwise(round_p))
