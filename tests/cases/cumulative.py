"""Cases of `functrans.ops.cumulative`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.ops import cumulative as ops
from tests.cases.case import ANY, FLOATS, INEXACT, NUMBERS, Case, Operand

Function = Callable[..., Any]


def rows(primitive: Primitive, function: Function, ufunc: np.ufunc, dtypes: tuple[str, ...], **how: Any) -> list[Case]:
    """A row for each direction, and for a vector, an axis of length 1 and an empty one."""
    shapes: dict[str, tuple[tuple[int, ...], int]] = {
        "": ((3, 5, 2), 1),
        "vector": ((7,), 0),
        "length 1": ((1, 3), 0),
        "empty": ((3, 0), 1),
    }

    def row(name: str, shape: tuple[int, ...], axis: int) -> Case:
        return Case(
            primitive,
            lambda x: function(x, axis),
            lambda x: ufunc.accumulate(x, axis, x.dtype),
            (Operand(shape, **how),),
            dtypes,
            name=name,
        )

    def backwards(x: Any) -> Any:
        return np.flip(ufunc.accumulate(np.flip(x, 0), 0, x.dtype), 0)

    reverse = Case(
        primitive, lambda x: function(x, 0, reverse=True), backwards, (Operand((4, 2), **how),), dtypes, name="reverse"
    )
    return [*[row(name, shape, axis) for name, (shape, axis) in shapes.items()], reverse]


def recurrence(a: Any, b: Any) -> Any:
    """`linear_recurrence` along the first axis, step by step."""
    s = b.copy()
    for k in range(1, len(s)):
        s[k] = a[k] * s[k - 1] + b[k]
    return s


CASES = [
    *rows(ops.cumsum_p, ops.cumsum, np.add, NUMBERS),
    *rows(ops.cumprod_p, ops.cumprod, np.multiply, NUMBERS),
    Case(
        ops.cumprod_p,
        lambda x: ops.cumprod(x),
        lambda x: np.cumprod(x, dtype=x.dtype),
        (Operand((4,), 0.0, 0.0),),
        NUMBERS,
        name="zeros",
    ),
    *rows(ops.cummax_p, ops.cummax, np.maximum, ANY, distinct=True),
    *rows(ops.cummin_p, ops.cummin, np.minimum, ANY, distinct=True),
    *rows(ops.cumlogsumexp_p, ops.cumlogsumexp, np.logaddexp, ("float16", *FLOATS)),
    Case(
        ops.linear_recurrence_p,
        lambda a, b: ops.linear_recurrence(a, b, 0),
        recurrence,
        (Operand((6, 2)), Operand((6, 2))),
        INEXACT,
        tolerance=10.0,
    ),
    Case(
        ops.linear_recurrence_p,
        lambda a, b: ops.linear_recurrence(a, b, 1, reverse=True),
        lambda a, b: recurrence(a.T[::-1], b.T[::-1])[::-1].T,
        (Operand((2, 5)), Operand((2, 5))),
        INEXACT,
        tolerance=10.0,
        name="reverse",
    ),
    Case(
        ops.linear_recurrence_p,
        lambda a, b: ops.linear_recurrence(a, b, 0),
        recurrence,
        (Operand((1,)), Operand((1,))),
        NUMBERS,
        name="length 1",
    ),
    Case(
        ops.linear_recurrence_p,
        lambda a, b: ops.linear_recurrence(a, b, 0),
        recurrence,
        (Operand((0, 2)), Operand((0, 2))),
        NUMBERS,
        name="empty",
    ),
]
