"""Cases of `functrans.ops.identity`."""

from functrans.ops import identity as ops
from tests.cases.case import ANY
from tests.cases.elementwise import operands, rows

CASES = [
    *rows(ops.stop_gradient_p, ops.stop_gradient, lambda x: x.copy(), operands(), ANY, differentiable=False),
    *rows(ops.copy_p, ops.copy, lambda x: x.copy(), operands(), ANY, tolerance=0),
]
