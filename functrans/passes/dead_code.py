"""Equations whose results nobody uses are left out."""

from __future__ import annotations

from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Jaxpr

__all__ = ["drop_unused_inputs", "eliminate_dead_code"]


def eliminate_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """The program without the equations on which no output depends. Effects are kept."""
    needed = _needed_equations(jaxpr)
    if len(needed) == len(jaxpr.eqns):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    for number, eqn in enumerate(jaxpr.eqns):
        if number in needed:
            env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
        else:
            env.write([None] * len(eqn.outs))
    return builder.build(env.read_all(jaxpr.outs))


def drop_unused_inputs(jaxpr: Jaxpr, first: int) -> tuple[Jaxpr, tuple[int, ...]]:
    """The program without those of its inputs from number `first` on that nothing uses, and the numbers of the rest."""
    used = {atom for eqn in jaxpr.eqns for atom in eqn.inputs}.union(jaxpr.outs)
    kept = [i for i in range(len(jaxpr.in_avals)) if i < first or -1 - i in used]
    builder = Builder(tuple([jaxpr.in_avals[i] for i in kept]))
    place = {i: -1 - number for number, i in enumerate(kept)}
    env = Environment([place.get(i) for i in range(len(jaxpr.in_avals))])
    for eqn in jaxpr.eqns:
        env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    return builder.build(env.read_all(jaxpr.outs)), tuple(kept[first:])


def _needed_equations(jaxpr: Jaxpr) -> set[int]:
    used = {atom for atom in jaxpr.outs if type(atom) is int}
    needed = set()
    for number in range(len(jaxpr.eqns) - 1, -1, -1):
        eqn = jaxpr.eqns[number]
        if eqn.operation.effectful or not used.isdisjoint(eqn.outs):
            needed.add(number)
            used.update([atom for atom in eqn.inputs if type(atom) is int])
    return needed
