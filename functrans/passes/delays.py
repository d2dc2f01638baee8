"""Elementwise results are computed when they are needed, where that holds less memory.

A gradient has what it needs of the forward pass computed before all of the backward pass: for each `h = tanh(x @ w)`
the factor `1 - h * h` besides `h`, which the backward pass needs too. Of the two, the program need hold only `h`: the
factor can wait for the equation that reads it.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from functrans.core.builder import Builder
from functrans.core.jaxpr import Atom, Jaxpr

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
    order = sorted(range(len(places)), key=places.__getitem__)  # those of one place stay as they are
    if order == list(range(len(places))):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    firsts = list(accumulate([len(operation.out_avals) for operation, _ in jaxpr.equations], initial=0))
    atoms: list[Any] = [None] * len(jaxpr.avals)
    for number in order:
        operation, inputs = jaxpr.equations[number]
        inputs = tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])
        atoms[firsts[number] : firsts[number + 1]] = builder.add(operation, inputs, jaxpr.sources[number])
    return builder.build([atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs])


def _places(jaxpr: Jaxpr) -> list[int]:
    """The number of the equation before which, or as which, each equation is computed."""
    places = list(range(len(jaxpr)))
    first_read: dict[Atom, int] = {}
    held_until: dict[Atom, int] = dict.fromkeys(jaxpr.outs, len(places))
    out = len(jaxpr.avals)
    for number in range(len(places) - 1, -1, -1):
        operation, inputs = jaxpr.equations[number]
        out -= len(operation.out_avals)
        place = first_read.get(out, number)
        if place > number and operation.primitive.is_elementwise and not operation.effectful:
            longer = {x for x in inputs if type(x) is int and x >= 0 and held_until.get(x, number) < place}
            if sum([jaxpr.aval(x).nbytes for x in longer]) <= operation.out_avals[0].nbytes:
                places[number] = place
        place = places[number]
        for x in inputs:
            first_read[x] = min(first_read.get(x, place), place)
            held_until[x] = max(held_until.get(x, place), place)
    return places
