"""Equations whose results nobody uses are left out, and so is what a loop computes only for such results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.builder import Builder, new_program
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Jaxpr, RawEquation, Source

__all__ = ["drop_unused_inputs", "eliminate_dead_code"]


def eliminate_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """The program without the equations on which no output depends. Effects are kept."""
    needed = _needed_equations(jaxpr)
    if len(needed) == len(jaxpr) and not any(needed.values()):
        return jaxpr
    equations: list[RawEquation] = []
    sources: list[Source] = []
    atoms: list[Any] = []
    first = 0
    for number, (operation, inputs) in enumerate(jaxpr.equations):
        results: Sequence[int] = range(len(operation.out_avals))
        if number not in needed:
            atoms.extend([None] * len(results))
            continue
        inputs = tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])
        narrowed = needed[number]
        if narrowed is not None:
            n_before = len(results)
            operation, operands, results = narrowed
            inputs = tuple([inputs[i] for i in operands])
            atoms.extend([None] * n_before)
            for place, i in enumerate(results):
                atoms[i - n_before] = first + place
        else:
            atoms.extend(range(first, first + len(results)))
        equations.append((operation, inputs))
        sources.append(jaxpr.sources[number])
        first += len(operation.out_avals)
    outs = [atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs]
    return new_program(jaxpr.in_avals, equations, sources, outs)


def drop_unused_inputs(jaxpr: Jaxpr, first: int) -> tuple[Jaxpr, tuple[int, ...]]:
    """The program without those of its inputs from number `first` on that nothing uses, and the numbers of the rest."""
    used = {atom for _, inputs in jaxpr.equations for atom in inputs}.union(jaxpr.outs)
    kept = [i for i in range(len(jaxpr.in_avals)) if i < first or -1 - i in used]
    if len(kept) == len(jaxpr.in_avals):
        return jaxpr, tuple(kept[first:])
    builder = Builder(tuple([jaxpr.in_avals[i] for i in kept]))
    place = {i: -1 - number for number, i in enumerate(kept)}
    env = Environment([place.get(i) for i in range(len(jaxpr.in_avals))])
    for (operation, inputs), source in zip(jaxpr.equations, jaxpr.sources, strict=True):
        env.write(builder.add(operation, tuple(env.read_all(inputs)), source))
    return builder.build(env.read_all(jaxpr.outs)), tuple(kept[first:])


def _needed_equations(jaxpr: Jaxpr) -> dict[int, Any]:
    """The numbers of the equations that are needed, each with what is left of it where not all of it is."""
    equations = jaxpr.equations
    used: set[Atom] = set(jaxpr.outs)
    needed: dict[int, Any] = {}
    first = len(jaxpr.avals)
    for number in range(len(equations) - 1, -1, -1):
        operation, inputs = equations[number]
        n_outs = len(operation.out_avals)
        first -= n_outs
        is_used = first in used if n_outs == 1 else not used.isdisjoint(range(first, first + n_outs))
        if not is_used and not operation.effectful:
            continue
        primitive: Any = operation.primitive
        narrow = primitive.narrow
        found = None
        if narrow is not None:
            found = narrow(operation, tuple([out in used for out in range(first, first + n_outs)]))
            if found is not None:
                inputs = tuple([inputs[i] for i in found[1]])
        needed[number] = found
        used.update(inputs)
    return needed
