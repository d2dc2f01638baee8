"""Cases of `functrans.ops.checkpoint`."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.ops import checkpoint as ops
from tests.cases.case import ANY, INEXACT, Case, Operand
from tests.cases.elementwise import operands, rows


def _body(x: Any, y: Any) -> Any:
    return lax.sin(lax.mul(x, y)), y


def _rematerialized(x: Any, y: Any) -> Any:
    jaxpr = ft.make_jaxpr(_body)(*[ft.ShapeDtypeStruct(z.shape, z.dtype) for z in (x, y)]).jaxpr
    return ops.rematerialized_p.bind(x, y, jaxpr=jaxpr, policy=None, prevent_cse=True)


def _reference(x: Any, y: Any) -> Any:
    return np.sin(x * y), y


_SHAPES = (Operand((2, 3)), Operand((2, 3)))
_KEPT = ft.checkpoint(_body, policy=ft.checkpoint_policies.everything_saveable)
_MERGED = ft.checkpoint(_body, prevent_cse=False)

CASES = [
    *rows(ops.name_p, lambda x: ops.name(x, "x"), lambda x: x.copy(), operands(), ANY, tolerance=0),
    Case(ops.checkpoint_p, ft.checkpoint(_body), _reference, _SHAPES, INEXACT, order=3),
    Case(ops.checkpoint_p, _KEPT, _reference, _SHAPES, INEXACT, name="everything kept"),
    Case(ops.checkpoint_p, _MERGED, _reference, _SHAPES, INEXACT, name="may be merged"),
    Case(ops.rematerialized_p, _rematerialized, _reference, _SHAPES, INEXACT),
]
