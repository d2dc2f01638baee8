"""Elementwise primitives: bits of booleans and integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.rules import def_constant, def_specialized_impl
from functrans.ops.families import BITS, INTEGER, elementwise, matched

__all__ = [
    "and_p",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "not_p",
    "or_p",
    "population_count",
    "population_count_p",
    "shift_left",
    "shift_left_p",
    "shift_right_arithmetic",
    "shift_right_arithmetic_p",
    "shift_right_logical",
    "shift_right_logical_p",
    "xor_p",
]

_BECAUSE = "integers and booleans have no derivative"


def bitwise_not(x: Any) -> Any:
    """~x, elementwise, of booleans or integers."""
    return not_p.bind(x)


not_p = elementwise("not", np.invert, BITS)
def_constant(not_p, 1, _BECAUSE)


def bitwise_and(x: Any, y: Any) -> Any:
    """x & y, elementwise, of booleans or integers of one shape and dtype."""
    return and_p.bind(*matched(x, y))


and_p = elementwise("and", np.bitwise_and, BITS)
def_constant(and_p, 2, _BECAUSE)


def bitwise_or(x: Any, y: Any) -> Any:
    """x | y, elementwise, of booleans or integers of one shape and dtype."""
    return or_p.bind(*matched(x, y))


or_p = elementwise("or", np.bitwise_or, BITS)
def_constant(or_p, 2, _BECAUSE)


def bitwise_xor(x: Any, y: Any) -> Any:
    """x ^ y, elementwise, of booleans or integers of one shape and dtype."""
    return xor_p.bind(*matched(x, y))


xor_p = elementwise("xor", np.bitwise_xor, BITS)
def_constant(xor_p, 2, _BECAUSE)

# --------------------------------------------------------------------------------------------------------------------
# Shifts. A distance that is negative or not below the number of bits shifts everything out.


def shift_left(x: Any, y: Any) -> Any:
    """x << y, elementwise, of integers of one shape and dtype; zeros come in."""
    return shift_left_p.bind(*matched(x, y))


shift_left_p = elementwise("shift_left", np.left_shift, INTEGER)
def_constant(shift_left_p, 2, _BECAUSE)


def _shift_right_as(kind: str) -> Callable[..., Callable[..., Any]]:
    """The implementation on the same bits, read as integers with (i) or without sign (u)."""

    def make(x: Aval, y: Aval) -> Callable[..., Any]:
        own, other = x.dtype, np.dtype(f"{kind}{x.dtype.itemsize}")
        if own.kind == kind:
            return np.right_shift
        return lambda x, y: np.right_shift(x.view(other), y.view(other)).view(own)

    return make


def shift_right_arithmetic(x: Any, y: Any) -> Any:
    """x >> y, elementwise, of integers of one shape and dtype; copies of the highest bit come in."""
    return shift_right_arithmetic_p.bind(*matched(x, y))


shift_right_arithmetic_p = elementwise("shift_right_arithmetic", np.right_shift, INTEGER)
def_specialized_impl(shift_right_arithmetic_p, _shift_right_as("i"))
def_constant(shift_right_arithmetic_p, 2, _BECAUSE)


def shift_right_logical(x: Any, y: Any) -> Any:
    """x >> y, elementwise, of integers of one shape and dtype; zeros come in.

    >>> import numpy as np
    >>> from functrans import lax
    >>> x = np.array([-4], np.int8)
    >>> lax.shift_right_logical(x, 1), lax.shift_right_arithmetic(x, 1)
    (array([126], dtype=int8), array([-2], dtype=int8))
    """
    return shift_right_logical_p.bind(*matched(x, y))


shift_right_logical_p = elementwise("shift_right_logical", np.right_shift, INTEGER)
def_specialized_impl(shift_right_logical_p, _shift_right_as("u"))
def_constant(shift_right_logical_p, 2, _BECAUSE)


def population_count(x: Any) -> Any:
    """How many bits of x are set, elementwise, in the dtype of x.

    Of a negative number the bits of its two's complement are counted; `np.bitwise_count` counts those of its size.
    """
    return population_count_p.bind(x)


def _population_count_impl(x: Any) -> Any:
    unsigned = x if x.dtype.kind == "u" else x.view(np.dtype(f"u{x.dtype.itemsize}"))
    return np.bitwise_count(unsigned).astype(x.dtype)


population_count_p = elementwise("population_count", _population_count_impl, INTEGER)
def_constant(population_count_p, 1, _BECAUSE)
