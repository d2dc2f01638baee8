"""The same program with its inputs and outputs in other places: what one transformation gives, as the next wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.aval import Aval
from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Jaxpr, derived, interned
from functrans.passes.dead_code import eliminate_dead_code

__all__ = ["rearranged", "reordered"]


def rearranged(jaxpr: Jaxpr, in_avals: Sequence[Aval], inputs: Sequence[Atom], outs: Sequence[Atom]) -> Jaxpr:
    """A program that computes what another does.

    Args:
        jaxpr: the other program.
        in_avals: the inputs of the new program.
        inputs: for each input of the other program what it is in the new one: `-1 - i` for input i, or a literal.
        outs: the outputs of the new program: a number among those of the other one, `-1 - i` for the new program's own
            input i, or a literal.
    """
    key = ("rearranged", tuple(in_avals), tuple(inputs), tuple(outs))
    return derived(jaxpr, key, lambda: _rearrange(jaxpr, tuple(in_avals), inputs, outs))


def _rearrange(jaxpr: Jaxpr, in_avals: tuple[Aval, ...], inputs: Sequence[Atom], outs: Sequence[Atom]) -> Jaxpr:
    builder = Builder(in_avals)
    env = Environment(inputs)
    for eqn in jaxpr.eqns:
        env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    results = env.read_all(jaxpr.outs)
    chosen = [results[out] if type(out) is int and out >= 0 else out for out in outs]
    return interned(eliminate_dead_code(builder.build(chosen)))


def reordered(jaxpr: Jaxpr, inputs: Sequence[int], outs: Sequence[Atom] | None = None) -> Jaxpr:
    """The program with its inputs in another order, and other outputs.

    Args:
        jaxpr: the program.
        inputs: the numbers of its inputs, in their new order; those that nothing needs may be missing.
        outs: which atoms of it are the outputs; its own if not given.
    """
    atoms = jaxpr.outs if outs is None else tuple(outs)
    return derived(jaxpr, ("reordered", tuple(inputs), atoms), lambda: _reorder(jaxpr, inputs, atoms))


def _reorder(jaxpr: Jaxpr, inputs: Sequence[int], outs: Sequence[Atom]) -> Jaxpr:
    own = [-1 - i for i in range(len(jaxpr.in_avals))]
    needed = eliminate_dead_code(_copied(jaxpr, jaxpr.in_avals, own, outs))
    place = {i: -1 - number for number, i in enumerate(inputs)}
    atoms = [place.get(i) for i in range(len(jaxpr.in_avals))]
    return interned(_copied(needed, tuple([jaxpr.in_avals[i] for i in inputs]), atoms, needed.outs))


def _copied(jaxpr: Jaxpr, in_avals: tuple[Aval, ...], inputs: Sequence[Any], outs: Sequence[Atom]) -> Jaxpr:
    builder = Builder(in_avals)
    env = Environment(inputs)
    for eqn in jaxpr.eqns:
        env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    return builder.build(env.read_all(outs))
