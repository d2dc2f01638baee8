"""Equations that compute the same twice compute it once."""

from __future__ import annotations

from typing import Any

from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Jaxpr
from functrans.ops.elementwise import add_p, mul_p

__all__ = ["merge_common_subexpressions"]

_COMMUTATIVE = (add_p, mul_p)


def merge_common_subexpressions(jaxpr: Jaxpr) -> Jaxpr:
    """The program in which equal operations on equal operands are one equation. Effects are never merged."""
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    seen: dict[Any, range] = {}
    for eqn in jaxpr.eqns:
        inputs = tuple(env.read_all(eqn.inputs))
        key = eqn.operation, frozenset(inputs) if eqn.primitive in _COMMUTATIVE else inputs
        outs = None if eqn.operation.effectful else seen.get(key)
        if outs is None:
            outs = seen[key] = builder.add(eqn.operation, inputs, eqn.source)
        env.write(outs)
    return builder.build(env.read_all(jaxpr.outs))
