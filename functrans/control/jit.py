"""The rules of `jit`: the body is transformed, and stays a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.control.calls import Run, jvp_of_call, linearized_call, transposed_call
from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import (
    BatchAxis,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_transpose,
)
from functrans.ops.calls import jit_p
from functrans.transforms.batch import batch

__all__ = ["bind_jit"]


def bind_jit(jaxpr: Jaxpr, name: str, operands: Sequence[Any]) -> Sequence[Any]:
    """One equation that calls a program, under a name."""
    return jit_p.bind(*operands, jaxpr=jaxpr, name=name)


def _under(name: str) -> Run:
    return lambda program, operands: bind_jit(program, name, operands)


def _jit_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    return jvp_of_call(jaxpr, primals, tangents, _under(name))


def _jit_linearize(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str) -> tuple[Any, Any]:
    return linearized_call(jaxpr, primals, tangents, _under(name))


def _jit_transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, name: str) -> list[Any]:
    return transposed_call(jaxpr, cts, operands, _under(name))


def _jit_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, name: str
) -> tuple[Sequence[Any], Sequence[int | None]]:
    program, out_axes = batch(jaxpr, axis, tuple(axes))
    return bind_jit(program, name, operands), out_axes


def_general_jvp(jit_p, _jit_jvp)
def_linearize(jit_p, _jit_linearize)
def_transpose(jit_p, _jit_transpose)
def_program_batch(jit_p, _jit_batch)
