"""Cases of `functrans.extend`."""

import numpy as np

from functrans import extend
from tests.cases.case import Case

CASES = [
    Case(
        extend.constant_p,
        lambda: extend.constant_p.bind(value=extend.Constant(np.arange(3.0))),
        lambda: np.arange(3.0),
        (),
        ("float64",),
        differentiable=False,
    ),
]
