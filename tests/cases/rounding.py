"""Cases of `functrans.ops.rounding`."""

import numpy as np

from functrans.ops import rounding as ops
from tests.cases.case import COMPLEXES, FLOATS
from tests.cases.elementwise import operands, rows

FLOAT = ("float16", *FLOATS)
WHOLE = operands(avoid=(-2.0, -1.0, 0.0, 1.0, 2.0))
HALVES = operands(avoid=(-1.5, -0.5, 0.5, 1.5))

CASES = [
    *rows(ops.floor_p, ops.floor, np.floor, WHOLE, FLOAT),
    *rows(ops.ceil_p, ops.ceil, np.ceil, WHOLE, FLOAT),
    *rows(ops.trunc_p, ops.trunc, np.trunc, WHOLE, FLOAT),
    *rows(ops.round_p, ops.round, lambda x: np.trunc(x + np.copysign(x.dtype.type(0.5), x)), HALVES, FLOAT),
    *rows(ops.round_p, ops.rint, np.rint, HALVES, FLOAT, "even"),
    *rows(ops.round_p, ops.rint, np.rint, HALVES, COMPLEXES, "complex", differentiable=False),
]
