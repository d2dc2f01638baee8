"""Elementwise results are computed when they are needed, where that holds less memory.

A gradient has what it needs of the forward pass computed before all of the backward pass: for each `h = tanh(x @ w)`
the factor `1 - h * h` besides `h`, which the backward pass needs too. Of the two, the program need hold only `h`: the
factor can wait for the equation that reads it.
"""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.builder import Builder
from functrans.core.jaxpr import Jaxpr

__all__ = ["delay_until_needed"]


def delay_until_needed(jaxpr: Jaxpr) -> Jaxpr:
    """The program with elementwise equations just before the first that reads their result, unless the operands that
    are held longer for it are larger than the result: so at no place more memory is held than before.

    >>> import numpy as np
    >>> import functrans as ft
    >>> from functrans import lax
    >>> def f(x):
    ...     y = lax.neg(x)
    ...     z = lax.sin(x)
    ...     return lax.cos(z), y, lax.mul(y, z)
    >>> delay_until_needed(ft.make_jaxpr(f)(np.ones(2)).jaxpr)
    { lambda ; a:f64[2]. let
        b:f64[2] = sin a
        c:f64[2] = cos b
        d:f64[2] = neg a
        e:f64[2] = mul d b
      in (c, d, e) }
    """
    places = _places(jaxpr)
    order = sorted(range(len(places)), key=lambda number: (places[number], number))
    if order == list(range(len(order))):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    results: list[Any] = [None] * len(jaxpr.avals)
    for number in order:
        eqn = jaxpr.eqns[number]
        inputs = [results[x] if type(x) is int and x >= 0 else x for x in eqn.inputs]
        for out, atom in zip(eqn.outs, builder.add(eqn.operation, tuple(inputs), eqn.source), strict=True):
            results[out] = atom
    return builder.build([results[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs])


def _places(jaxpr: Jaxpr) -> list[int]:
    """The number of the equation before which, or as which, each equation is computed."""
    places = list(range(len(jaxpr.eqns)))
    first: dict[int, int] = {}  # for each result the place of the first equation that reads it
    last = dict.fromkeys([x for x in jaxpr.outs if type(x) is int], len(places))  # and until when it is held
    for number in range(len(places) - 1, -1, -1):
        eqn = jaxpr.eqns[number]
        if eqn.primitive.is_elementwise and not eqn.operation.effectful:
            place = first.get(eqn.outs.start, number)
            longer = {x for x in eqn.inputs if type(x) is int and x >= 0 and last.get(x, number) < place}
            if sum([_bytes(jaxpr.aval(x)) for x in longer]) <= _bytes(eqn.out_avals[0]):
                places[number] = place
        for x in eqn.inputs:
            if type(x) is int:
                first[x] = min(first.get(x, len(places)), places[number])
                last[x] = max(last.get(x, 0), places[number])
    return places


def _bytes(aval: Aval) -> int:
    return aval.size * aval.dtype.itemsize
