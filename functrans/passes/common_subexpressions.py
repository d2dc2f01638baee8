"""Equations that compute the same twice compute it once."""

from __future__ import annotations

from typing import Any

from functrans.core.builder import new_program
from functrans.core.jaxpr import Atom, Jaxpr, RawEquation, Source
from functrans.ops.elementwise import add_p, mul_p

__all__ = ["merge_common_subexpressions"]

_COMMUTATIVE = frozenset({add_p, mul_p})


def merge_common_subexpressions(jaxpr: Jaxpr) -> Jaxpr:
    """The program in which equal operations on equal operands are one equation. Effects are never merged."""
    seen: dict[Any, int] = {}
    equations: list[RawEquation] = []
    sources: list[Source] = []
    atoms: list[Atom] = []
    first = 0
    for eqn in jaxpr.eqns:
        operation, inputs = eqn.operation, eqn.inputs
        n_outs = len(operation.out_avals)
        if first != len(atoms):  # some were merged, so the numbers of those behind them have moved
            inputs = tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])
        key = operation, frozenset(inputs) if operation.primitive in _COMMUTATIVE else inputs
        place = first if operation.effectful else seen.setdefault(key, first)
        if place == first:
            equations.append((operation, inputs))
            sources.append(eqn.source)
            first += n_outs
        atoms.extend(range(place, place + n_outs))
    if first == len(atoms):
        return jaxpr
    return new_program(
        jaxpr.in_avals, equations, sources, [atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs]
    )
