"""Cases of `functrans.ops.comparison`."""

import numpy as np

from functrans.ops import comparison as ops
from tests.cases.case import ANY, INEXACT, NUMBERS, Case, Operand
from tests.cases.elementwise import operands, rows

PREDICATE, NUMBER = Operand((2, 3), dtype="bool"), Operand((2, 3), -1, 4, dtype="int32")

CASES = [
    *rows(ops.eq_p, ops.eq, np.equal, operands(2), ANY),
    *rows(ops.ne_p, ops.ne, np.not_equal, operands(2), ANY),
    *rows(ops.lt_p, ops.lt, np.less, operands(2), ANY),
    *rows(ops.le_p, ops.le, np.less_equal, operands(2), ANY),
    *rows(ops.gt_p, ops.gt, np.greater, operands(2), ANY),
    *rows(ops.ge_p, ops.ge, np.greater_equal, operands(2), ANY),
    *rows(ops.is_finite_p, ops.is_finite, np.isfinite, operands(), ("float16", *INEXACT)),
    *rows(ops.is_nan_p, ops.is_nan, np.isnan, operands(), ("float16", *INEXACT)),
    *rows(ops.is_inf_p, ops.is_inf, np.isinf, operands(), ("float16", *INEXACT)),
    *rows(ops.select_n_p, ops.select, np.where, (PREDICATE, *operands(2)), ANY, tolerance=0),
    *rows(ops.select_n_p, ops.select_n, lambda i, *cases: np.choose(i, cases, mode="clip"), (NUMBER, *operands(3)),
          ANY, "numbers", tolerance=0),
    Case(ops.select_n_p, ops.select, np.where, (Operand((), dtype="bool"), *operands(2)), NUMBERS,
         name="scalar-predicate", tolerance=0),
    Case(ops.select_n_p, ops.select_n, lambda i, x: x.copy(), (PREDICATE, *operands()), NUMBERS,
         name="one", tolerance=0),
    Case(ops.select_n_p, lambda p, x: ops.select(p, x, 0), lambda p, x: np.where(p, x, x.dtype.type(0)),
         (PREDICATE, *operands()), NUMBERS, name="literal", tolerance=0),
]  # fmt: skip
