"""Cases of `functrans.ops.window_reductions`."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.ops import window_reductions as ops
from tests.cases.case import FLOATS, NUMBERS, REALS, Case, Operand

Shape = tuple[int, ...]

LAYOUTS: dict[str, tuple[Shape, Shape, Shape, Shape]] = {
    "": ((5, 4), (2, 3), (1, 1), (1, 1)),
    "strides": ((7, 5), (3, 2), (2, 3), (1, 1)),
    "dilation": ((6, 7), (2, 3), (1, 2), (3, 2)),
    "long": ((12,), (7,), (1,), (1,)),
    "one behind the other": ((5, 6), (2, 3), (2, 3), (1, 1)),
    "one behind the other, along one axis": ((7, 3), (2, 1), (2, 1), (1, 2)),
    "no window fits": ((2, 3), (3, 1), (1, 1), (1, 1)),
    "ones": ((2, 3), (1, 1), (1, 1), (1, 1)),
}


def windows(x: Any, dims: Shape, strides: Shape, dilation: Shape) -> Iterator[tuple[Shape, Any]]:
    """The place of each window in the result, and the window."""
    counts = [len(range(0, n - (w - 1) * d, s)) for n, w, s, d in zip(x.shape, dims, strides, dilation, strict=True)]
    for place in product(*map(range, counts)):
        index = [
            slice(i * s, i * s + (w - 1) * d + 1, d) for i, w, s, d in zip(place, dims, strides, dilation, strict=True)
        ]
        yield place, x[tuple(index)]


def reference(x: Any, ufunc: np.ufunc, dims: Shape, strides: Shape, dilation: Shape) -> Any:
    """Windows reduced one by one."""
    found = {place: ufunc.reduce(window, None, x.dtype) for place, window in windows(x, dims, strides, dilation)}
    shape = tuple(
        [len(range(0, n - (w - 1) * d, s)) for n, w, s, d in zip(x.shape, dims, strides, dilation, strict=True)]
    )
    out = np.empty(shape, x.dtype)
    for place, value in found.items():
        out[place] = value
    return out


def rows(
    primitive: Primitive, function: Callable[..., Any], ufunc: np.ufunc, dtypes: tuple[str, ...], **how: Any
) -> list[Case]:
    return [
        Case(
            primitive,
            lambda x, layout=layout: function(x, *layout),
            lambda x, layout=layout: reference(x, ufunc, *layout),
            (Operand(shape, **how),),
            dtypes if not name else FLOATS,
            name=name,
        )
        for name, (shape, *layout) in LAYOUTS.items()
    ]


CASES = [
    *rows(ops.reduce_window_sum_p, ops.reduce_window_sum, np.add, NUMBERS),
    *rows(ops.reduce_window_max_p, ops.reduce_window_max, np.maximum, (*REALS, "bool"), distinct=True),
    *rows(ops.reduce_window_min_p, ops.reduce_window_min, np.minimum, (*REALS, "bool"), distinct=True),
]
