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
    for (operation, inputs), source in zip(jaxpr.equations, jaxpr.sources, strict=True):
        if first != len(atoms):  # some were merged, so the numbers of those behind them have moved
            inputs = tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])
        key = operation, inputs if operation.primitive not in _COMMUTATIVE else _in_order(inputs)
        place = first if operation.effectful else seen.setdefault(key, first)
        n_outs = len(operation.out_avals)
        if place == first:
            equations.append((operation, inputs))
            sources.append(source)
            first += n_outs
        if n_outs == 1:
            atoms.append(place)
        else:
            atoms.extend(range(place, place + n_outs))
    if len(equations) == len(jaxpr):
        return jaxpr
    return new_program(
        jaxpr.in_avals, equations, sources, [atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs]
    )


def _in_order(inputs: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Two operands, always in the same order."""
    x, y = inputs
    return (y, x) if type(x) is not int or (type(y) is int and y < x) else inputs
