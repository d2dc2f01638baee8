"""Cases of `functrans.ops.guarded`: among finite numbers they are the plain products."""

from typing import Any

import numpy as np

from functrans.ops import guarded as ops
from tests.cases.case import INEXACT, Case, Operand
from tests.cases.cumulative import recurrence
from tests.cases.elementwise import INEXACT16, operands, rows

MATRICES = (((1,), (0,)), ((), ()))
STACKS = (((2,), (1,)), ((0,), (0,)))


def dot(name: str, dims: Any, guards: tuple[bool, bool], *shapes: tuple[int, ...]) -> Case:
    return Case(
        ops.guarded_dot_general_p,
        lambda x, y: ops.guarded_dot_general(x, y, dims, guards),
        np.matmul,
        tuple([Operand(shape) for shape in shapes]),
        INEXACT,
        name=name,
        tolerance=4.0,
    )


CASES = [
    *rows(ops.guarded_mul_p, ops.guarded_mul, np.multiply, operands(2), INEXACT16),
    Case(
        ops.guarded_mul_p,
        lambda x, y: ops.guarded_mul(x, y, (True, True)),
        np.multiply,
        operands(2),
        INEXACT,
        name="both",
    ),
    *rows(ops.guarded_div_p, ops.guarded_div, np.true_divide, (Operand((2, 3)), Operand((2, 3), 0.5, 2)), INEXACT16),
    dot("", MATRICES, (True, False), (3, 4), (4, 2)),
    dot("second guards", MATRICES, (False, True), (3, 4), (4, 2)),
    dot("batched, both", STACKS, (True, True), (2, 3, 4), (2, 4, 5)),
    dot("vectors", (((0,), (0,)), ((), ())), (True, False), (4,), (4,)),
    Case(
        ops.guarded_linear_recurrence_p,
        ops.guarded_linear_recurrence,
        recurrence,
        (Operand((6, 2)), Operand((6, 2))),
        INEXACT,
        tolerance=10.0,
    ),
    Case(
        ops.guarded_linear_recurrence_p,
        lambda a, b: ops.guarded_linear_recurrence(a, b, 1, reverse=True),
        lambda a, b: recurrence(a.T[::-1], b.T[::-1])[::-1].T,
        (Operand((2, 5)), Operand((2, 5))),
        INEXACT,
        tolerance=10.0,
        name="reverse",
    ),
]
