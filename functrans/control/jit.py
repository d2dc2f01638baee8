"""The rules of `jit`: the body is transformed, and stays a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import UndefinedPrimal, def_batch, def_general_jvp, def_linearize, def_transpose
from functrans.ops.calls import jit_p
from functrans.transforms.batch import batch
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.transpose import transpose

__all__ = ["bind_jit"]


def bind_jit(jaxpr: Jaxpr, name: str, operands: Sequence[Any]) -> Sequence[Any]:
    """One equation that calls a program, under a name."""
    return jit_p.bind(*operands, jaxpr=jaxpr, name=name)


def _given(tangents: Sequence[Any]) -> tuple[list[Any], tuple[bool, ...]]:
    return [t for t in tangents if t is not None], tuple([t is not None for t in tangents])


def _spread(values: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    remaining = iter(values)
    return [next(remaining) if present else None for present in mask]


def _jit_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    given, mask = _given(tangents)
    program, nonzeros = jvp(jaxpr, mask)
    results = bind_jit(program, name, [*primals, *given])
    n_outs = len(jaxpr.outs)
    return results[:n_outs], _spread(results[n_outs:], nonzeros)


def _jit_linearize(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    given, mask = _given(tangents)
    lin = linearize(jaxpr, mask)
    results = bind_jit(lin.primal, name, primals)
    dots = bind_jit(lin.linear, name, [*given, *lin.read_residuals(primals, results)])
    return results[: len(jaxpr.outs)], _spread(dots, lin.nonzeros)


def _jit_transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, name: str) -> list[Any]:
    given, mask = _given(cts)
    linear = tuple([type(x) is UndefinedPrimal for x in operands])
    program, nonzeros = transpose(jaxpr, linear, mask)
    fixed = [x for x in operands if type(x) is not UndefinedPrimal]
    outs = iter(_spread(bind_jit(program, name, [*fixed, *given]), nonzeros))
    return [next(outs) if is_linear else None for is_linear in linear]


def _jit_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, name: str
) -> tuple[Sequence[Any], Sequence[int | None]]:
    program, out_axes = batch(jaxpr, size, tuple(axes))
    return bind_jit(program, name, operands), out_axes


def_general_jvp(jit_p, _jit_jvp)
def_linearize(jit_p, _jit_linearize)
def_transpose(jit_p, _jit_transpose)
def_batch(jit_p, _jit_batch)
