"""Elementwise equations on large arrays, put next to each other, so that they can run block by block in the cache.

An equation waits for others of its shape, as long as nothing large happens in between and nobody reads its result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from functrans.backends.memory import undone_broadcasts
from functrans.core.builder import Builder
from functrans.core.jaxpr import Equation, Jaxpr, derived

__all__ = ["Clustered", "clustered", "ufunc_of"]

_LARGE = 1 << 20
"""Bytes from which on arrays do not stay in the cache from one operation to the next."""
_COSTLY = 1 << 18
"""Bytes from which on it costs more to get fresh memory than to compute with it."""
_FEWEST = 3
"""How many equations are worth a loop over blocks."""


class Clustered(NamedTuple):
    """A program with its clusters."""

    jaxpr: Jaxpr
    ends: dict[int, int]
    """For the number of the first equation of each cluster the number of the first one behind it."""

    def inputs_worth_knowing(self) -> list[int]:
        """The numbers of the inputs of which it is worth while to know that they are in C order: those that clusters
        read, and those so large that what is made of them should have the memory of something else."""
        known = {x for first, end in self.ends.items() for eqn in self.jaxpr.eqns[first:end] for x in eqn.inputs}
        for eqn in self.jaxpr.eqns:
            if type(ufunc_of(eqn)) is np.ufunc and eqn.out_avals[0].nbytes >= _COSTLY:
                known.update(eqn.inputs)
        return [i for i, aval in enumerate(self.jaxpr.in_avals) if -1 - i in known and aval.ndim]


def clustered(jaxpr: Jaxpr) -> Clustered:
    """A program in its final form, with what can wait for others put next to them. It gives the same bits."""
    return derived(jaxpr, "clusters", lambda: _clustered(jaxpr))


def _clustered(jaxpr: Jaxpr) -> Clustered:
    members = _members(jaxpr)
    if len(members) < _FEWEST:
        return Clustered(jaxpr, {})
    undone = undone_broadcasts(jaxpr)
    order: list[Equation] = []
    sizes: dict[int, int] = {}
    waiting: dict[tuple[int, ...], list[Equation]] = {}
    delayed: set[Any] = set()
    for number, eqn in enumerate(jaxpr.eqns):
        if number in members:
            waiting.setdefault(eqn.out_avals[0].shape, []).append(eqn)
            delayed.update(eqn.outs)
            continue
        is_undone = any([out in undone for out in eqn.outs])
        large = not is_undone and any([aval.nbytes >= _LARGE for aval in (*eqn.in_avals, *eqn.out_avals)])
        if large or eqn.operation.effectful or not delayed.isdisjoint(eqn.inputs):
            _flush(waiting, order, sizes)
            delayed.clear()
        order.append(eqn)
    _flush(waiting, order, sizes)
    return Clustered(_in_order(jaxpr, order), {first: end for first, end in sizes.items() if end - first >= _FEWEST})


def _flush(waiting: dict[tuple[int, ...], list[Equation]], order: list[Equation], sizes: dict[int, int]) -> None:
    for eqns in waiting.values():
        sizes[len(order)] = len(order) + len(eqns)
        order += eqns
    waiting.clear()


def _members(jaxpr: Jaxpr) -> set[int]:
    """The equations that can be in a cluster: ufuncs of arrays of one shape and of numbers."""
    undone = undone_broadcasts(jaxpr)
    numbers = {eqn.outs[0] for eqn in jaxpr.eqns if eqn.outs and eqn.outs[0] in undone and not eqn.in_avals[0].ndim}
    return {
        number
        for number, eqn in enumerate(jaxpr.eqns)
        if type(ufunc_of(eqn)) is np.ufunc
        and eqn.out_avals[0].ndim
        and eqn.out_avals[0].nbytes >= _LARGE
        and all([x not in undone or x in numbers for x in eqn.inputs if type(x) is int])
    }


def _in_order(jaxpr: Jaxpr, order: list[Equation]) -> Jaxpr:
    builder = Builder(jaxpr.in_avals)
    have: dict[Any, Any] = {}
    builder.copy(order, have)
    return builder.build([have.get(x, x) for x in jaxpr.outs])


def ufunc_of(eqn: Equation) -> Any:
    """The ufunc that an equation is; None, or another function, if it is another operation."""
    primitive = eqn.primitive
    if not primitive.is_elementwise or primitive.multiple_results:
        return None
    if primitive.specialize is None:
        return None if eqn.params else primitive.impl
    return primitive.bound(eqn.operation)
