"""Equations whose results nobody uses are left out, and so is what a loop computes only for such results."""

from __future__ import annotations

from typing import Any

from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Jaxpr

__all__ = ["drop_unused_inputs", "eliminate_dead_code"]


def eliminate_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """The program without the equations on which no output depends. Effects are kept."""
    needed = _needed_equations(jaxpr)
    if len(needed) == len(jaxpr.eqns) and not any(needed.values()):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    for number, eqn in enumerate(jaxpr.eqns):
        if number not in needed:
            env.write([None] * len(eqn.outs))
            continue
        inputs, narrowed = env.read_all(eqn.inputs), needed[number]
        if narrowed is None:
            env.write(builder.add(eqn.operation, tuple(inputs), eqn.source))
        else:
            operation, operands, results = narrowed
            outs = builder.add(operation, tuple([inputs[i] for i in operands]), eqn.source)
            atoms = dict(zip(results, outs, strict=True))
            env.write([atoms.get(i) for i in range(len(eqn.outs))])
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


def _needed_equations(jaxpr: Jaxpr) -> dict[int, Any]:
    """The numbers of the equations that are needed, each with what is left of it where not all of it is."""
    used = {atom for atom in jaxpr.outs if type(atom) is int}
    needed: dict[int, Any] = {}
    for number in range(len(jaxpr.eqns) - 1, -1, -1):
        eqn = jaxpr.eqns[number]
        if not eqn.operation.effectful and used.isdisjoint(eqn.outs):
            continue
        narrow, inputs = eqn.primitive.narrow, eqn.inputs
        needed[number] = None
        if narrow is not None:
            needed[number] = narrow(eqn.operation, tuple([out in used for out in eqn.outs]))
            if needed[number] is not None:
                inputs = tuple([inputs[i] for i in needed[number][1]])
        used.update([atom for atom in inputs if type(atom) is int])
    return needed
