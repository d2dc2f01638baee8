"""Cases of `functrans.ops.transcendental`."""

import numpy as np

from functrans.ops import transcendental as ops
from tests.cases.case import COMPLEXES, FLOATS, INTEGERS, Case, Operand
from tests.cases.elementwise import INEXACT16, operands, rows

FLOAT = ("float16", *FLOATS)
ANY, POSITIVE, UNIT, NONZERO = operands(), operands(low=0.3), operands(1, -0.8, 0.8), Operand((2, 3), avoid=(0.0,))
NUMBER = operands(1, 0.3)

CASES = [
    *rows(ops.exp_p, ops.exp, np.exp, ANY, INEXACT16),
    *rows(ops.exp2_p, ops.exp2, np.exp2, ANY, INEXACT16),
    *rows(ops.expm1_p, ops.expm1, np.expm1, ANY, INEXACT16),
    *rows(ops.log_p, ops.log, np.log, POSITIVE, INEXACT16),
    *rows(ops.log2_p, ops.log2, np.log2, POSITIVE, INEXACT16),
    *rows(ops.log10_p, ops.log10, np.log10, POSITIVE, INEXACT16),
    *rows(ops.log1p_p, ops.log1p, np.log1p, UNIT, INEXACT16),
    *rows(ops.logistic_p, ops.logistic, lambda x: 1 / (1 + np.exp(-x)), ANY, INEXACT16),
    *rows(ops.logaddexp_p, ops.logaddexp, np.logaddexp, ANY * 2, FLOAT),
    *rows(ops.logaddexp2_p, ops.logaddexp2, np.logaddexp2, ANY * 2, FLOAT),
    *rows(ops.pow_p, ops.pow, np.power, POSITIVE + ANY, INEXACT16),
    Case(ops.pow_p, ops.pow, np.power, (Operand((2, 3)), Operand((2, 3), 0, 4)), INTEGERS, name="integers"),
    Case(ops.pow_p, lambda x: ops.pow(x, 1.5), lambda x: np.power(x, 1.5), NUMBER, FLOAT, name="fixed"),
    Case(ops.pow_p, lambda x: ops.pow(x, 3.0), lambda x: np.power(x, 3.0), (NONZERO,), FLOAT, name="whole"),
    Case(ops.pow_p, lambda x: ops.pow(x, -1.0), lambda x: np.power(x, -1.0), NUMBER, COMPLEXES, name="inverse"),
    *[Case(ops.pow_p, lambda x, y=y: ops.pow(x, y), lambda x, y=y: np.power(x, y), NUMBER, FLOAT, name=str(y))
      for y in (0.0, 1.0)],
    *rows(ops.sin_p, ops.sin, np.sin, ANY, INEXACT16),
    *rows(ops.cos_p, ops.cos, np.cos, ANY, INEXACT16),
    *rows(ops.tan_p, ops.tan, np.tan, UNIT, INEXACT16),
    *rows(ops.asin_p, ops.asin, np.arcsin, UNIT, INEXACT16),
    *rows(ops.acos_p, ops.acos, np.arccos, UNIT, INEXACT16),
    *rows(ops.atan_p, ops.atan, np.arctan, UNIT, INEXACT16),
    *rows(ops.hypot_p, ops.hypot, np.hypot, (NONZERO, NONZERO), FLOAT),
    *rows(ops.atan2_p, ops.atan2, np.arctan2, (NONZERO, Operand((2, 3), 0.3)), FLOAT),
    *rows(ops.sinh_p, ops.sinh, np.sinh, ANY, INEXACT16),
    *rows(ops.cosh_p, ops.cosh, np.cosh, ANY, INEXACT16),
    *rows(ops.tanh_p, ops.tanh, np.tanh, UNIT, INEXACT16),
    *rows(ops.asinh_p, ops.asinh, np.arcsinh, UNIT, INEXACT16),
    *rows(ops.acosh_p, ops.acosh, np.arccosh, operands(1, 1.3, 3), INEXACT16),
    *rows(ops.acosh_p, ops.acosh, np.arccosh, operands(1, -3, -1.3), COMPLEXES, "left half"),
    *rows(ops.atanh_p, ops.atanh, np.arctanh, UNIT, INEXACT16),
]  # fmt: skip
