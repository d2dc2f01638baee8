"""Cases of `functrans.ops.power`."""

from functools import partial

import numpy as np

from functrans.ops import power as ops
from tests.cases.case import FLOATS, INEXACT, NUMBERS, Case
from tests.cases.elementwise import INEXACT16, operands, rows

POSITIVE, NONZERO = operands(low=0.3), operands(avoid=(0.0,))


def integer_pow(y, dtypes, x=NONZERO, tolerance=4.0):
    return Case(ops.integer_pow_p, partial(ops.integer_pow, y=y), lambda x: np.power(x, x.dtype.type(y)), x, dtypes,
                name=str(y), tolerance=tolerance)  # fmt: skip


CASES = [
    *rows(ops.square_p, ops.square, np.square, operands(), NUMBERS),
    *rows(ops.sqrt_p, ops.sqrt, np.sqrt, POSITIVE, INEXACT16),
    *rows(ops.rsqrt_p, ops.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE, INEXACT16),
    *rows(ops.cbrt_p, ops.cbrt, np.cbrt, NONZERO, ("float16", *FLOATS)),
    *rows(ops.integer_pow_p, partial(ops.integer_pow, y=2), np.square, operands(), NUMBERS),
    *rows(ops.integer_pow_p, ops.reciprocal, np.reciprocal, POSITIVE, INEXACT16, "reciprocal"),
    *[integer_pow(y, NUMBERS, operands()) for y in (0, 1, 3, 6)],
    *[integer_pow(y, INEXACT, tolerance=40.0) for y in (-2, -3, 13)],
]
