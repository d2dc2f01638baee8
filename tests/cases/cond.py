"""Cases of `functrans.ops.cond`: one of several programs."""

from typing import Any

import numpy as np

from functrans import lax
from functrans.ops.cond import cond_p
from tests.cases.case import INEXACT, Case, Operand


def _two(p: Any, x: Any, y: Any) -> Any:
    return lax.cond(p, lambda x, y: (lax.mul(lax.sin(x), y), x), lambda x, y: (lax.neg(x), lax.mul(y, y)), x, y)


def _two_by_hand(p: Any, x: Any, y: Any) -> Any:
    return (np.sin(x) * y, x) if p else (-x, y * y)


def _three(i: Any, x: Any) -> Any:
    return lax.switch(i, [lax.exp, lambda x: x, lambda x: lax.mul(lax.mul(x, x), x)], x)


CASES = [
    Case(
        cond_p,
        _two,
        _two_by_hand,
        (Operand((), dtype="bool"), Operand((2, 3)), Operand((2, 3))),
        INEXACT,
        order=3,
    ),
    Case(
        cond_p,
        _three,
        lambda i, x: [np.exp(x), x, x * x * x][min(max(int(i), 0), 2)],
        (Operand((), -1, 3, dtype="int64"), Operand((3,))),
        INEXACT,
        name="switch",
    ),
]
