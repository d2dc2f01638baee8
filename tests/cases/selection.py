"""Cases of `functrans.ops.selection`."""

import numpy as np

from functrans.ops import selection as ops
from tests.cases.case import ANY, NUMBERS, REALS, Case, Operand
from tests.cases.elementwise import operands, rows

MIDDLE, ABOVE, BELOW = Operand((2, 3)), Operand((2, 3), 2.1, 4), Operand((2, 3), -4, -2.1)
LOW, HIGH = Operand((2, 3), -1.02, -0.98), Operand((2, 3), 0.98, 1.02)
X = Operand((2, 3), avoid=(-1.0, 1.0))

CASES = [
    *rows(ops.max_p, ops.max, np.maximum, operands(2), ANY, differentiable=False),
    Case(ops.max_p, ops.max, np.maximum, (MIDDLE, ABOVE), NUMBERS, name="second"),
    Case(ops.max_p, ops.max, np.maximum, (MIDDLE, BELOW), NUMBERS, name="first"),
    Case(ops.max_p, lambda x: ops.max(x, 0), lambda x: np.maximum(x, 0), operands(avoid=(0.0,)), NUMBERS,
         name="number"),
    *rows(ops.min_p, ops.min, np.minimum, operands(2), ANY, differentiable=False),
    Case(ops.min_p, ops.min, np.minimum, (MIDDLE, BELOW), NUMBERS, name="second"),
    Case(ops.min_p, ops.min, np.minimum, (MIDDLE, ABOVE), NUMBERS, name="first"),
    *rows(ops.clamp_p, ops.clamp, lambda low, x, high: np.clip(x, low, high), (LOW, X, HIGH), REALS, tolerance=0),
    Case(ops.clamp_p, lambda x: ops.clamp(-1, x, 1), lambda x: np.clip(x, -1, 1), (X,), ("int8", "float32", "float64"),
         name="numbers", tolerance=0),
    Case(ops.clamp_p, ops.clamp, lambda low, x, high: np.clip(x, low, high), (Operand((), -1.02, -0.98), X, HIGH),
         REALS, name="scalar", tolerance=0),
    Case(ops.clamp_p, ops.clamp, lambda low, x, high: np.clip(x, low, high), operands(3), NUMBERS,
         name="complex", tolerance=0, differentiable=False),
]  # fmt: skip
