"""Checkpointing: the primitives of functions that are computed again in reverse mode, and names for values."""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_jvp, def_transpose
from functrans.ops.families import ANY, elementwise

__all__ = ["checkpoint_p", "name", "name_p", "rematerialized_p"]


def name(x: Any, name: str) -> Any:
    """x itself, under a name by which policies of `checkpoint` know it."""
    return name_p.bind(x, name=name)


name_p = elementwise("name", lambda x, *, name: x, ANY)
name_p.is_view = True
def_jvp(name_p, lambda t, out, x, *, name: t)
def_transpose(name_p, lambda ct, x, *, name: (ct,))


def _program_results(*avals: Aval, jaxpr: Jaxpr, **params: Any) -> tuple[Aval, ...]:
    return jaxpr.out_avals


checkpoint_p = Primitive("checkpoint", multiple_results=True)
checkpoint_p.is_call = True
"""A call of a program of which reverse mode keeps the operands, and what a policy says, but nothing else."""
def_abstract(checkpoint_p, _program_results)

rematerialized_p = Primitive("rematerialized", multiple_results=True)
"""A program that computes again what a checkpoint did not keep, and then a derivative from it.

It is no call: inlined into the program around it, where the same values had been computed before, it would be merged
with that computation, and they would be kept after all.
"""
def_abstract(rematerialized_p, _program_results)
