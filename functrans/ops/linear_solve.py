"""Solutions of equations: the primitives whose derivatives are those of the equation, not of how it was solved."""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract

__all__ = ["linear_solve_p", "root_p", "undifferentiated_p"]


def _results(*avals: Aval, jaxpr: Jaxpr, **params: Any) -> tuple[Aval, ...]:
    return jaxpr.out_avals


linear_solve_p = Primitive("linear_solve", multiple_results=True)
linear_solve_p.is_call = True
"""The solution x of `matvec(x) = b`, by the program `jaxpr`, which may give auxiliary results after it.

Operands: what the programs close over, then the `n` parts of b. All programs take the former first: `matvec` then takes
x, `vecmat` (its transpose) and `transpose_solve` (that of `jaxpr`; None if there is none) a cotangent.
"""
def_abstract(linear_solve_p, _results)

undifferentiated_p = Primitive("undifferentiated", multiple_results=True)
undifferentiated_p.is_call = True
"""A call of a program whose results are constants to every derivative."""
def_abstract(undifferentiated_p, _results)

root_p = Primitive("custom_root", multiple_results=True)
root_p.is_call = True
"""A root x of `f(x) = 0`, with its derivative by the implicit function theorem.

Operands: what the programs close over, then the `n` parts of the root, as found: `jaxpr` just hands them on. `f` is the
program of the function, and `tangent_solve` that of `df/dx dx = y`, from x and y.
"""
def_abstract(root_p, _results)
