"""The rules of `transposed`, the transpose of a program: to transpose it is to run the program itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.backends.numpy_codegen.generate import write_function
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import Value
from functrans.backends.running import run
from functrans.core.aval import Aval
from functrans.core.evaluation import eval_jaxpr
from functrans.core.jaxpr import Equation, Jaxpr
from functrans.core.rules import (
    BatchAxis,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.ops.calls import transposed_p
from functrans.ops.families import stacked
from functrans.passes.inline import inline
from functrans.passes.pipeline import finalize
from functrans.transforms.batch import batch_to
from functrans.transforms.from_vjp import forward_of
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import fill_zeros, without_zeros


def _impl(*avals: Aval, jaxpr: Jaxpr, n_cts: int) -> Callable[..., Any]:
    return lambda *values: run(forward_of(jaxpr, n_cts), values)  # another one where a setting has changed


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, n_cts: int) -> tuple[Any, Any]:
    given, nonzeros = without_zeros(tangents)
    program, nonzero_outs = jvp(forward_of(jaxpr, n_cts), nonzeros)
    results = eval_jaxpr(program, [*primals, *given])
    return results[:n_cts], fill_zeros(results[n_cts:], nonzero_outs)


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, n_cts: int) -> tuple[Any, Any]:
    n_fixed = len(jaxpr.in_avals) - n_cts
    given, nonzeros = without_zeros(tangents)
    if not any(nonzeros[:n_fixed]):  # it is linear in the others
        filled = [zeros_like(x) if t is None else t for x, t in zip(primals[n_fixed:], tangents[n_fixed:], strict=True)]
        outs = transposed_p.bind(*primals, jaxpr=jaxpr, n_cts=n_cts)
        return outs, list(transposed_p.bind(*primals[:n_fixed], *filled, jaxpr=jaxpr, n_cts=n_cts))
    lin = linearize(forward_of(jaxpr, n_cts), nonzeros)
    results = eval_jaxpr(lin.primal, primals)
    dots = eval_jaxpr(lin.linear, [*given, *lin.read_residuals(primals, results)])
    return results[:n_cts], fill_zeros(dots, lin.nonzeros)


def _transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, n_cts: int) -> list[Any]:
    n_fixed = len(jaxpr.in_avals) - n_cts
    avals = jaxpr.in_avals[n_fixed:]
    filled = [zeros_like(aval) if ct is None else ct for ct, aval in zip(cts, avals, strict=True)]
    return [None] * n_fixed + eval_jaxpr(inline(jaxpr), [*operands[:n_fixed], *filled])


def _batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, n_cts: int
) -> tuple[Sequence[Any], Sequence[int]]:
    n_fixed = len(jaxpr.in_avals) - n_cts
    program = batch_to(jaxpr, axis, (*axes[:n_fixed], *(0,) * n_cts), (0,) * len(jaxpr.outs))
    tangents = [stacked(x, axis.size, along, 0) for x, along in zip(operands[n_fixed:], axes[n_fixed:], strict=True)]
    outs = transposed_p.bind(*operands[:n_fixed], *tangents, jaxpr=program, n_cts=n_cts)
    return outs, (0,) * n_cts


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value] | None:
    """The source of an equation, in files that people read: a call of a function of its own."""
    if not writer.module.is_read:
        return None  # the function is another one where a setting has changed
    program = finalize(forward_of(eqn.params["jaxpr"], eqn.params["n_cts"]))
    return write_call(writer, write_function(writer.module, program), operands, eqn.out_avals)


def_specialized_impl(transposed_p, _impl)
def_source(transposed_p, _write_call)
def_general_jvp(transposed_p, _jvp)
def_linearize(transposed_p, _linearize)
def_transpose(transposed_p, _transpose)
def_program_batch(transposed_p, _batch)
