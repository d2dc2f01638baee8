"""Cases of `functrans.ops.complex`."""

import numpy as np

from functrans.ops import complex as ops
from tests.cases.case import COMPLEXES, FLOATS, Case
from tests.cases.elementwise import operands, rows

CASES = [
    *rows(ops.real_p, ops.real, lambda x: x.real.copy(), operands(), COMPLEXES, tolerance=0),
    *rows(ops.imag_p, ops.imag, lambda x: x.imag.copy(), operands(), COMPLEXES, tolerance=0),
    *rows(ops.conj_p, ops.conj, np.conjugate, operands(), COMPLEXES),
    *rows(ops.complex_p, ops.complex, lambda x, y: x + 1j * y, operands(2), FLOATS, tolerance=0),
    Case(ops.complex_p, lambda x: ops.complex(1, x), lambda x: 1 + 1j * x, operands(), FLOATS, name="literal"),
]
