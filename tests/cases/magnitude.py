"""Cases of `functrans.ops.magnitude`."""

import numpy as np

from functrans.ops import magnitude as ops
from tests.cases.case import COMPLEXES, FLOATS, NUMBERS, REALS
from tests.cases.elementwise import operands, rows

FLOAT = ("float16", *FLOATS)
NONZERO = operands(avoid=(0.0,))

CASES = [
    *rows(ops.abs_p, ops.abs, np.absolute, NONZERO, NUMBERS),
    *rows(ops.sign_p, ops.sign, np.sign, NONZERO, REALS),
    *rows(ops.sign_p, ops.sign, np.sign, NONZERO, COMPLEXES, "complex", differentiable=False),
    *rows(ops.copysign_p, ops.copysign, np.copysign, NONZERO * 2, FLOAT),
    *rows(ops.nextafter_p, ops.nextafter, np.nextafter, operands(2), FLOAT),
]
