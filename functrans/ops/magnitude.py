"""Elementwise primitives: size, sign, and the neighbouring float."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.rules import def_constant
from functrans.ops.comparison import ge, select, without_zeros
from functrans.ops.complex import conj, real
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import div, mul
from functrans.ops.families import FLOAT, NUMBER, constant_like, def_derivative, elementwise, matched

__all__ = ["abs", "abs_p", "copysign", "copysign_p", "nextafter", "nextafter_p", "sign", "sign_p"]


def abs(x: Any) -> Any:
    """The absolute value, elementwise, of numbers; of complex numbers a float.

    At 0 the derivative is 1 for real numbers, as JAX has it, and 0 for complex ones.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.abs(np.array([3 - 4j, -1]))
    array([5., 1.])
    """
    return abs_p.bind(x)


def _abs_jvp(t: Any, out: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        size = convert_element_type(without_zeros(out), x.dtype)
        return real(mul(t, div(conj(x), size)))
    return mul(t, select(ge(x, 0), constant_like(x, 1), constant_like(x, -1)))


abs_p = elementwise("abs", np.absolute, NUMBER, lambda dtype: np.empty((), dtype).real.dtype)
def_derivative(abs_p, _abs_jvp)


def sign(x: Any) -> Any:
    """-1, 0 or 1, elementwise, of numbers; x / abs(x) of complex ones. Its derivative is zero."""
    return sign_p.bind(x)


sign_p = elementwise("sign", np.sign, NUMBER)
def_constant(sign_p, 1)


def copysign(x: Any, y: Any) -> Any:
    """x with the sign of y, elementwise, of floats of one shape and dtype."""
    return copysign_p.bind(*matched(x, y))


copysign_p = elementwise("copysign", np.copysign, FLOAT)
def_derivative(copysign_p, lambda t, out, x, y: mul(t, mul(copysign(1, x), copysign(1, y))), None)


def nextafter(x1: Any, x2: Any) -> Any:
    """The next float after x1 in the direction of x2, elementwise, of floats of one shape and dtype.

    Its derivative by x1 is 1, that by x2 is 0.
    """
    return nextafter_p.bind(*matched(x1, x2))


nextafter_p = elementwise("nextafter", np.nextafter, FLOAT)
def_derivative(nextafter_p, lambda t, out, x1, x2: t, None)
