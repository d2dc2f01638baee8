"""Cases of `functrans.ops.reductions`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.ops import reductions as ops
from tests.cases.case import ANY, INTEGERS, NUMBERS, Case, Operand

BITS = ("bool", *INTEGERS)
Function = Callable[..., Any]


def rows(primitive: Primitive, function: Function, ufunc: np.ufunc, dtypes: tuple[str, ...], **how: Any) -> list[Case]:
    """A row for some axes, one, all, one of length 1, those of a 0-d array, and for empty arrays."""
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        "": ((2, 3, 4), (0, 2)),
        "last": ((3, 4), (1,)),
        "all": ((2, 3), (0, 1)),
        "length 1": ((3, 1), (1,)),
        "0-d": ((), ()),
        "empty result": ((0, 3), (1,)),
    }
    if ufunc.identity is not None:
        shapes["empty"] = ((0, 3), (0,))

    def row(name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> Case:
        return Case(
            primitive,
            lambda x: function(x, axes),
            lambda x: ufunc.reduce(x, axes, x.dtype),
            (Operand(shape, **how),),
            dtypes,
            name=name,
        )

    return [row(name, shape, axes) for name, (shape, axes) in shapes.items()]


def places(primitive: Primitive, function: Function, reference: Function) -> list[Case]:
    """A row for an axis in the middle, with ties, and one for an axis of length 1."""
    return [
        Case(
            primitive,
            lambda x: function(x, 1, np.int32),
            lambda x: np.int32(reference(x, 1)),
            (Operand((2, 5, 3), -1, 1),),
            ANY,
        ),
        Case(
            primitive,
            lambda x: function(x, -1, np.int64),
            lambda x: reference(x, -1),
            (Operand((3, 1)),),
            ANY,
            name="length 1",
        ),
        Case(
            primitive,
            lambda x: function(x, 0, np.int64),
            lambda x: reference(x, 0),
            (Operand((4,)),),
            ANY,
            name="vector",
        ),
    ]


CASES = [
    *rows(ops.reduce_prod_p, ops.reduce_prod, np.multiply, NUMBERS),
    Case(
        ops.reduce_prod_p,
        lambda x: ops.reduce_prod(x, (0,)),
        lambda x: np.multiply.reduce(x, 0, x.dtype),
        (Operand((3, 2), 0.0, 0.0),),
        NUMBERS,
        name="zeros",
    ),
    *rows(ops.reduce_max_p, ops.reduce_max, np.maximum, ANY, distinct=True),
    *rows(ops.reduce_min_p, ops.reduce_min, np.minimum, ANY, distinct=True),
    *rows(ops.reduce_and_p, ops.reduce_and, np.bitwise_and, BITS),
    *rows(ops.reduce_or_p, ops.reduce_or, np.bitwise_or, BITS),
    *rows(ops.reduce_xor_p, ops.reduce_xor, np.bitwise_xor, BITS),
    *places(ops.argmax_p, ops.argmax, np.argmax),
    *places(ops.argmin_p, ops.argmin, np.argmin),
]
