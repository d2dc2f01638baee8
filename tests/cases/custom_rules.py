"""Cases of `functrans.ops.custom_rules`: functions with derivative rules of their own."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.ops.custom_rules import custom_call_p
from tests.cases.case import INEXACT, Case, Operand


@ft.custom_jvp
def _pushed(x: Any, y: Any) -> Any:
    return lax.mul(lax.sin(x), y), x


@_pushed.defjvp
def _pushed_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    dot = lax.add(lax.mul(lax.mul(lax.cos(x), tx), y), lax.mul(lax.sin(x), ty))
    return _pushed(x, y), (dot, tx)


@ft.custom_vjp
def _pulled(x: Any, y: Any) -> Any:
    return lax.mul(lax.sin(x), y)


_pulled.defvjp(
    lambda x, y: (_pulled(x, y), (x, y)),
    lambda res, ct: (lax.mul(lax.mul(lax.cos(res[0]), res[1]), ct), lax.mul(lax.sin(res[0]), ct)),
)

OPERANDS = (Operand((2, 3)), Operand((2, 3)))
CASES = [
    Case(custom_call_p, _pushed, lambda x, y: (np.sin(x) * y, x), OPERANDS, INEXACT, order=3, name="jvp"),
    Case(custom_call_p, _pulled, lambda x, y: np.sin(x) * y, OPERANDS, INEXACT, order=3, name="vjp"),
]
