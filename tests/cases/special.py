"""Cases of `functrans.ops.special`."""

import math
from statistics import NormalDist

import numpy as np

from functrans.ops import special as ops
from tests.cases.case import FLOATS, Case
from tests.cases.elementwise import operands, rows

FLOAT = ("float16", *FLOATS)


def each(function):
    """A reference for floats of any size from a function of Python floats."""
    return lambda x: np.asarray([function(float(v)) for v in x.flat], x.dtype).reshape(x.shape)


def erf_inv(p):
    x = NormalDist().inv_cdf((1 + p) / 2) / math.sqrt(2)
    for _ in range(2):
        x -= (math.erf(x) - p) * math.sqrt(math.pi) / 2 * math.exp(x * x)
    return x


CASES = [
    *rows(ops.erf_p, ops.erf, each(math.erf), operands(), FLOAT),
    Case(ops.erf_p, ops.erf, each(math.erf), operands(1, -6, 6), FLOAT, name="wide"),
    *rows(ops.erfc_p, ops.erfc, each(math.erfc), operands(), FLOAT),
    Case(ops.erfc_p, ops.erfc, each(math.erfc), operands(1, -6, 6), FLOAT, name="wide"),
    *rows(ops.erf_inv_p, ops.erf_inv, each(erf_inv), operands(1, -0.8, 0.8), FLOAT),
]
