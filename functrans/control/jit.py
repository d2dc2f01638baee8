"""The rules of `jit`: the body is transformed, and stays a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_transpose,
)
from functrans.ops.calls import jit_p
from functrans.transforms.batch import batch
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import fill_zeros, without_zeros
from functrans.transforms.transpose import transpose

__all__ = ["bind_jit"]


def bind_jit(jaxpr: Jaxpr, name: str, operands: Sequence[Any]) -> Sequence[Any]:
    """One equation that calls a program, under a name."""
    return jit_p.bind(*operands, jaxpr=jaxpr, name=name)


def _jit_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    given, nonzeros_in = without_zeros(tangents)
    program, nonzeros = jvp(jaxpr, nonzeros_in)
    results = bind_jit(program, name, [*primals, *given])
    n_outs = len(jaxpr.outs)
    return results[:n_outs], fill_zeros(results[n_outs:], nonzeros)


def _jit_linearize(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    given, nonzeros_in = without_zeros(tangents)
    lin = linearize(jaxpr, nonzeros_in)
    results = bind_jit(lin.primal, name, primals)
    dots = bind_jit(lin.linear, name, [*given, *lin.read_residuals(primals, results)])
    return results[: len(jaxpr.outs)], fill_zeros(dots, lin.nonzeros)


def _jit_transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, name: str) -> list[Any]:
    given, nonzeros_in = without_zeros(cts)
    linear = tuple([type(x) is UndefinedPrimal for x in operands])
    program, nonzeros = transpose(jaxpr, linear, nonzeros_in)
    fixed = [x for x in operands if type(x) is not UndefinedPrimal]
    outs = iter(fill_zeros(bind_jit(program, name, [*fixed, *given]), nonzeros))
    return [next(outs) if is_linear else None for is_linear in linear]


def _jit_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, name: str
) -> tuple[Sequence[Any], Sequence[int | None]]:
    program, out_axes = batch(jaxpr, axis, tuple(axes))
    return bind_jit(program, name, operands), out_axes


def_general_jvp(jit_p, _jit_jvp)
def_linearize(jit_p, _jit_linearize)
def_transpose(jit_p, _jit_transpose)
def_program_batch(jit_p, _jit_batch)
