"""The rules of a primitive that is a call of a program: the program is transformed, and called in its place.

How the programs are called is up to each primitive: `run(program, operands)` gives the results, by an equation of the
primitive again (`jit`), or by the equations of the program itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import UndefinedPrimal
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import fill_zeros, without_zeros
from functrans.transforms.transpose import masked_cotangents, transpose

__all__ = ["Run", "jvp_of_call", "linearized_call", "transposed_call"]

Run = Callable[[Jaxpr, Sequence[Any]], Sequence[Any]]


def jvp_of_call(jaxpr: Jaxpr, primals: Sequence[Any], tangents: Sequence[Any], run: Run) -> tuple[Any, list[Any]]:
    """The results and their tangents; None is a zero tangent."""
    given, nonzeros_in = without_zeros(tangents)
    program, nonzeros = jvp(jaxpr, nonzeros_in)
    results = run(program, [*primals, *given])
    n_outs = len(jaxpr.outs)
    return results[:n_outs], fill_zeros(results[n_outs:], nonzeros)


def linearized_call(jaxpr: Jaxpr, primals: Sequence[Any], tangents: Sequence[Any], run: Run) -> tuple[Any, list[Any]]:
    """The same by two calls: what the primals alone give, and what is linear in the tangents."""
    given, nonzeros_in = without_zeros(tangents)
    lin = linearize(jaxpr, nonzeros_in)
    results = run(lin.primal, primals)
    dots = run(lin.linear, [*given, *lin.read_residuals(primals, results)])
    return results[: len(jaxpr.outs)], fill_zeros(dots, lin.nonzeros)


def transposed_call(jaxpr: Jaxpr, cts: Sequence[Any], operands: Sequence[Any], run: Run) -> list[Any]:
    """The cotangents of the operands that are undefined primals, from those of the results; None is zero."""
    given, nonzeros_in = without_zeros(cts)
    linear = tuple([type(x) is UndefinedPrimal for x in operands])
    program, nonzeros = transpose(jaxpr, linear, nonzeros_in, masked=masked_cotangents(cts))
    fixed = [x for x in operands if type(x) is not UndefinedPrimal]
    results = run(program, [*fixed, *given]) if program.outs or is_effectful(program) else []
    outs = iter(fill_zeros(results, nonzeros))
    return [next(outs) if is_linear else None for is_linear in linear]
