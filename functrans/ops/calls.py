"""The primitives that carry a program, with their types. Their rules are in `functrans.control`."""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import declare_absent, def_abstract

__all__ = ["call_p", "jit_p", "transposed_p"]


def _program_results(*avals: Aval, jaxpr: Jaxpr, **params: Any) -> tuple[Aval, ...]:
    return jaxpr.out_avals


call_p = Primitive("call", multiple_results=True)
call_p.is_call = True
"""A program as one equation, so that recording it is cheap. Every transformation and pass begins by inlining it."""
def_abstract(call_p, _program_results)
for _rule in ("jvp", "transpose", "batch"):
    declare_absent(call_p, _rule, "it is inlined before any transformation")

jit_p = Primitive("jit", multiple_results=True)
jit_p.is_call = True
"""A call of a jitted function: stays a call, with its name, until a backend compiles the program."""
def_abstract(jit_p, _program_results)

transposed_p = Primitive("transposed", multiple_results=True)
"""The transpose of a program `jaxpr` in its last `n_cts` inputs.

Operands: the program's other inputs (residuals), then one tangent for each of its outputs. It is what linearizing a
primitive that has only a VJP rule records: transposing it gives the rule back, without ever running it forward.
"""
def_abstract(transposed_p, lambda *avals, jaxpr, n_cts: jaxpr.in_avals[len(jaxpr.in_avals) - n_cts :])
