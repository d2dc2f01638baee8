"""Cases of `functrans.ops.constant`."""

import numpy as np

from functrans.ops.constant import Constant, constant_p
from tests.cases.case import Case

CASES = [
    Case(
        constant_p,
        lambda: constant_p.bind(value=Constant(np.arange(3.0))),
        lambda: np.arange(3.0),
        (),
        ("float64",),
        differentiable=False,
    ),
]
