"""Elementwise primitives: arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.rules import def_constant, def_jvp, def_linear, def_multilinear, def_transpose
from functrans.ops.families import INEXACT, NUMBER, REAL, def_derivative, elementwise, matched
from functrans.ops.rounding import rint

__all__ = [
    "add",
    "add_p",
    "div",
    "div_p",
    "floor_divide",
    "floor_divide_p",
    "mod",
    "mod_p",
    "mul",
    "mul_p",
    "neg",
    "neg_p",
    "rem",
    "rem_p",
    "sub",
    "sub_p",
]


def neg(x: Any) -> Any:
    """-x, elementwise, of numbers."""
    return neg_p.bind(x)


neg_p = elementwise("neg", np.negative, NUMBER)
def_linear(neg_p, lambda ct, x: (neg(ct),))


def add(x: Any, y: Any) -> Any:
    """x + y, elementwise, of numbers of one shape and dtype.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.add(np.array([1.0, 2.0]), 0.5)
    array([1.5, 2.5])
    """
    return add_p.bind(*matched(x, y))


add_p = elementwise("add", np.add, NUMBER)
def_transpose(add_p, lambda ct, x, y: (ct, ct))
def_jvp(add_p, lambda t, out, x, y: t, lambda t, out, x, y: t)


def sub(x: Any, y: Any) -> Any:
    """x - y, elementwise, of numbers of one shape and dtype."""
    return sub_p.bind(*matched(x, y))


sub_p = elementwise("sub", np.subtract, NUMBER)
def_transpose(sub_p, lambda ct, x, y: (ct, neg(ct)))
def_jvp(sub_p, lambda t, out, x, y: t, lambda t, out, x, y: neg(t))


def mul(x: Any, y: Any) -> Any:
    """x * y, elementwise, of numbers of one shape and dtype."""
    return mul_p.bind(*matched(x, y))


mul_p = elementwise("mul", np.multiply, NUMBER)
def_multilinear(mul_p, lambda ct, x, y: mul(ct, y), lambda ct, x, y: mul(x, ct))


def div(x: Any, y: Any) -> Any:
    """x / y, elementwise, of floats or complex numbers of one shape and dtype."""
    return div_p.bind(*matched(x, y))


div_p = elementwise("div", np.true_divide, INEXACT)
def_transpose(div_p, lambda ct, x, y: (div(ct, y), None))
def_jvp(div_p, lambda t, out, x, y: div(t, y), lambda t, out, x, y: mul(t, neg(div(out, y))))


def floor_divide(x: Any, y: Any) -> Any:
    """x // y, elementwise, of real numbers of one shape and dtype: the quotient rounded down.

    Its derivative is zero.
    """
    return floor_divide_p.bind(*matched(x, y))


floor_divide_p = elementwise("floor_divide", np.floor_divide, REAL)
def_constant(floor_divide_p, 2)


def rem(x: Any, y: Any) -> Any:
    """The remainder of x / y rounded to zero, elementwise, of real numbers of one shape and dtype: it has x's sign.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.rem(np.array([-7, 7]), 3), lax.mod(np.array([-7, 7]), 3)
    (array([-1,  1]), array([2, 1]))
    """
    return rem_p.bind(*matched(x, y))


def _minus_quotient(t: Any, out: Any, x: Any, y: Any) -> Any:
    # out = x - y * q with a whole q. Had from out, q is right where x / y rounds to a whole number and is not one.
    return mul(t, rint(div(sub(out, x), y)))


rem_p = elementwise("rem", np.fmod, REAL)
def_derivative(rem_p, lambda t, out, x, y: t, _minus_quotient)


def mod(x: Any, y: Any) -> Any:
    """The remainder of x / y rounded down, elementwise, of real numbers of one shape and dtype, as Python's `%`: it
    has y's sign.
    """
    return mod_p.bind(*matched(x, y))


mod_p = elementwise("mod", np.remainder, REAL)
def_derivative(mod_p, lambda t, out, x, y: t, _minus_quotient)
