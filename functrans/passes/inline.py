"""Calls replaced by the equations of the programs that they carry, with the literals that are handed to them."""

from __future__ import annotations

from collections.abc import Callable

from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Jaxpr, Source, derived, interned
from functrans.core.primitive import Primitive
from functrans.ops.calls import call_p
from functrans.ops.conversion import convert_element_type_p
from functrans.passes.literals import folded

__all__ = ["inline", "inline_all", "inline_where"]


def inline(jaxpr: Jaxpr) -> Jaxpr:
    """The program with every `call` inlined: the form in which programs are transformed and printed."""
    return derived(jaxpr, "inline", lambda: interned(_inline(jaxpr, _is_plain_call)))


def inline_all(jaxpr: Jaxpr) -> Jaxpr:
    """The program with everything inlined that is a call (`jit`, custom rules): the form that a backend gets."""
    return _inline(jaxpr, _is_any_call)


def _is_plain_call(primitive: Primitive) -> bool:
    return primitive is call_p


def _is_any_call(primitive: Primitive) -> bool:
    return primitive.is_call


def inline_where(jaxpr: Jaxpr, chosen: Callable[[Primitive], bool]) -> Jaxpr:
    """The program with the chosen calls inlined."""
    return _inline(jaxpr, chosen)


def _inline(jaxpr: Jaxpr, chosen: Callable[[Primitive], bool]) -> Jaxpr:
    if not any([chosen(eqn.primitive) for eqn in jaxpr.eqns]):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    inputs: list[Atom] = [-1 - i for i in range(len(jaxpr.in_avals))]
    return builder.build(_copy_into(builder, jaxpr, inputs, chosen))


def _copy_into(
    builder: Builder,
    jaxpr: Jaxpr,
    inputs: list[Atom],
    chosen: Callable[[Primitive], bool],
    source: Source = None,
) -> list[Atom]:
    """Copy a program's equations; those without a line of their own get that of the call."""
    env = Environment(inputs)
    for eqn in jaxpr.eqns:
        operands = env.read_all(eqn.inputs)
        if chosen(eqn.primitive):
            env.write(_copy_into(builder, eqn.params["jaxpr"], operands, chosen, eqn.source or source))
        elif (literal := folded(eqn.operation, operands)) is not None:
            env.write([literal])
        elif eqn.primitive is convert_element_type_p and eqn.in_avals[0].dtype == eqn.out_avals[0].dtype:
            env.write(operands)  # it changed no more than the weakness, which matters to promotion alone
        else:
            env.write(builder.add(eqn.operation, tuple(operands), eqn.source or source))
    return env.read_all(jaxpr.outs)
