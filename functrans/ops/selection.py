"""Elementwise primitives that select by size: max, min, clamp."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.rules import zeros_like
from functrans.ops.bitwise import bitwise_and
from functrans.ops.comparison import eq, ge, gt, le, lt, select
from functrans.ops.elementwise import mul
from functrans.ops.families import ANY, NUMBER, constant_like, def_derivative, elementwise, matched
from functrans.ops.shape import broadcast_in_dim

__all__ = ["clamp", "clamp_p", "max", "max_p", "min", "min_p"]


def _share(t: Any, chosen: Any, x: Any, y: Any) -> Any:
    """The derivative by one of two operands: t where it is chosen, half of it where they are equal, else 0.

    `chosen` holds where they are equal, too.
    """
    half = select(eq(x, y), constant_like(x, 0.5), constant_like(x, 1))
    return mul(select(chosen, t, zeros_like(t)), half)


def max(x: Any, y: Any) -> Any:
    """The larger one, elementwise, of operands of one shape and dtype; NaN where one is NaN.

    Where they are equal, each has half of the derivative.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.max(np.array([-1.0, 2.0]), 0.0)
    array([0., 2.])
    """
    return max_p.bind(*matched(x, y))


max_p = elementwise("max", np.maximum, ANY)
def_derivative(
    max_p,
    lambda t, out, x, y: _share(t, ge(x, y), x, y),
    lambda t, out, x, y: _share(t, le(x, y), x, y),
)


def min(x: Any, y: Any) -> Any:
    """The smaller one, elementwise, of operands of one shape and dtype; NaN where one is NaN.

    Where they are equal, each has half of the derivative.
    """
    return min_p.bind(*matched(x, y))


min_p = elementwise("min", np.minimum, ANY)
def_derivative(
    min_p,
    lambda t, out, x, y: _share(t, le(x, y), x, y),
    lambda t, out, x, y: _share(t, ge(x, y), x, y),
)


def clamp(min: Any, x: Any, max: Any) -> Any:
    """x, but at least `min` and at most `max`, elementwise: `np.clip`.

    Args:
        min: of the shape and dtype of x, or a scalar.
        x: numbers.
        max: of the shape and dtype of x, or a scalar. Where it is below `min`, it is the result.

    The derivative by x is 1 strictly between the bounds, else 0.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.clamp(-1.0, np.array([-2.0, 0.5, 2.0]), 1.0)
    array([-1. ,  0.5,  1. ])
    """
    min, x, max = matched(min, x, max) if hasattr(x, "shape") else matched(min, np.asarray(x), max)
    return clamp_p.bind(x, _bound(min, x), _bound(max, x))


def _bound(bound: Any, x: Any) -> Any:
    return broadcast_in_dim(bound, x.shape, ()) if bound.shape == () else bound


def _within(t: Any, low: Any, x: Any, high: Any) -> Any:
    return select(bitwise_and(gt(x, low), lt(x, high)), t, zeros_like(t))


# The ufunc behind np.clip, whose own overhead is six times the ufunc's; it wants x first.
_clip: Any = np._core.umath.clip  # type: ignore[attr-defined]
clamp_p = elementwise("clamp", _clip, NUMBER)
def_derivative(
    clamp_p,
    lambda t, out, x, low, high: _within(t, low, x, high),
    lambda t, out, x, low, high: select(bitwise_and(gt(low, x), lt(low, high)), t, zeros_like(t)),
    lambda t, out, x, low, high: select(lt(high, x), t, zeros_like(t)),
)
