"""Cases of `functrans.ops.elementwise`, and what the cases of all elementwise primitives have in common."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.ops import elementwise as ops
from tests.cases.case import INEXACT, NUMBERS, REALS, Case, Operand

INEXACT16 = ("float16", *INEXACT)


def rows(
    primitive: Primitive,
    function: Callable[..., Any],
    reference: Callable[..., Any],
    operands: tuple[Operand, ...],
    dtypes: tuple[str, ...],
    name: str = "",
    **more: Any,
) -> list[Case]:
    """A case of an elementwise primitive, with one of numbers and one of empty arrays beside it."""
    case = Case(primitive, function, reference, operands, dtypes, name=name, **more)
    dash = f"{name}-" if name else ""
    shapes = {"0-d": (), "empty": (0, 3)}
    return [case] + [
        replace(
            case,
            operands=tuple([replace(x, shape=shape) for x in operands]),
            dtypes=dtypes[-1:],
            order=1,
            name=dash + kind,
        )
        for kind, shape in shapes.items()
    ]


def operands(n: int = 1, low: float = -2.0, high: float = 2.0, **more: Any) -> tuple[Operand, ...]:
    """Several operands drawn alike."""
    return (Operand((2, 3), low, high, **more),) * n


# Between two whole numbers the quotient is smooth.
FIVE, MINUS_FIVE, TWO = Operand((2, 3), 5.2, 5.8), Operand((2, 3), -5.8, -5.2), Operand((2, 3), 2.05, 2.5)

CASES = [
    *rows(ops.neg_p, ops.neg, np.negative, operands(), NUMBERS),
    *rows(ops.add_p, ops.add, np.add, operands(2), NUMBERS),
    *rows(ops.sub_p, ops.sub, np.subtract, operands(2), NUMBERS),
    *rows(ops.mul_p, ops.mul, np.multiply, operands(2), NUMBERS),
    *rows(ops.div_p, ops.div, np.true_divide, (Operand((2, 3)), Operand((2, 3), 0.5, 2)), INEXACT16),
    *rows(ops.floor_divide_p, ops.floor_divide, np.floor_divide, (FIVE, TWO), REALS),
    *rows(ops.rem_p, ops.rem, np.fmod, (FIVE, TWO), REALS),
    *rows(ops.rem_p, ops.rem, np.fmod, (MINUS_FIVE, TWO), REALS, "negative"),
    *rows(ops.mod_p, ops.mod, np.remainder, (FIVE, TWO), REALS),
    *rows(ops.mod_p, ops.mod, np.remainder, (MINUS_FIVE, TWO), REALS, "negative"),
    Case(ops.mul_p, lambda x: ops.mul(x, 2), lambda x: x * 2, operands(), NUMBERS, name="number"),
]
