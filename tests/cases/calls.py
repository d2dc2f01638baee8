"""Cases of `functrans.ops.calls`: the primitives that carry a program."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.core.aval import aval_of
from functrans.core.evaluation import stage
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_impl, def_vjp
from functrans.ops import calls
from tests.cases.case import INEXACT, Case, Operand


def _called(x: Any, y: Any) -> tuple[Any, ...]:
    jaxpr = ft.make_jaxpr(lambda x, y: (lax.sin(lax.mul(x, y)), y))(
        *[ft.ShapeDtypeStruct(z.shape, z.dtype) for z in (x, y)]
    ).jaxpr
    return calls.call_p.bind(x, y, jaxpr=jaxpr)  # type: ignore[no-any-return]


def _jitted(x: Any, y: Any) -> Any:
    return ft.jit(lambda x, y: (lax.exp(lax.mul(x, y)), lax.neg(x)))(x, y)


def _transposed(x: Any, t: Any) -> Any:
    """t * cos(x), as the transpose of its own transpose."""
    avals = [aval_of(x), aval_of(t)]
    with stage("backward", avals) as recording:
        x_, ct = recording.inputs()
        backward, _ = recording.close([lax.mul(ct, lax.cos(x_))])
    return calls.transposed_p.bind(x, t, jaxpr=backward, n_cts=1)[0]


_sine_p = Primitive("sine_by_vjp")
def_impl(_sine_p, np.sin)
def_abstract(_sine_p, lambda x: x.strong)
def_vjp(_sine_p, lambda ct, out, x: lax.mul(ct, lax.cos(x)))
def_batch(_sine_p, lambda size, operands, axes: (_sine_p.bind(operands[0]), axes[0]))

CASES = [
    Case(calls.call_p, _called, lambda x, y: (np.sin(x * y), y), (Operand((2, 3)), Operand((2, 3))), INEXACT),
    Case(calls.jit_p, _jitted, lambda x, y: (np.exp(x * y), -x), (Operand((2, 3)), Operand((2, 3))), INEXACT, order=3),
    Case(calls.transposed_p, _transposed, lambda x, t: t * np.cos(x), (Operand((3,)), Operand((3,))), INEXACT),
    Case(calls.transposed_p, lambda x: _sine_p.bind(x), np.sin, (Operand((3,)),), INEXACT, name="by VJP", order=3),
]
