"""What is left of an operation when its effects are taken away: what Python may compute before the program runs.

An effect without results (`debug.print`) changes no value, so a program that carries such effects has the same values
without them. Where a result comes from an effect, nothing can be had but by making it happen.
"""

from __future__ import annotations

from typing import Any

from functrans.core.builder import Builder
from functrans.core.jaxpr import Atom, Jaxpr, Operation, derived, interned

__all__ = ["is_effectful", "without_effects", "without_unused_effects"]


def is_effectful(jaxpr: Jaxpr) -> bool:
    """Whether a program does something besides computing its outputs."""
    found: bool | None = jaxpr.memo.get("effectful")
    if found is None:
        found = jaxpr.memo["effectful"] = any([eqn.operation.effectful for eqn in jaxpr.eqns])
    return found


def without_effects(operation: Operation) -> Operation:
    """The operation with its results and none of its effects. It is still effectful where a result needs one."""
    if not operation.effectful or operation.primitive.effectful:
        return operation
    if "without effects" not in operation.memo:
        params = {name: _stripped(value) for name, value in operation.params.items()}
        primitive: Any = operation.primitive
        operation.memo["without effects"] = primitive.operation(operation.in_avals, params)
    return operation.memo["without effects"]


def without_unused_effects(jaxpr: Jaxpr) -> Jaxpr:
    """The program with only those of its effects that an output needs."""
    if not is_effectful(jaxpr):
        return jaxpr
    return derived(jaxpr, "without effects", lambda: interned(_without_effects(jaxpr)))


def _without_effects(jaxpr: Jaxpr) -> Jaxpr:
    used = {atom for atom in jaxpr.outs if type(atom) is int}
    needed = []
    for eqn in reversed(jaxpr.eqns):
        if not used.isdisjoint(eqn.outs):
            needed.append(eqn)
            used.update([atom for atom in eqn.inputs if type(atom) is int])
    builder = Builder(jaxpr.in_avals)
    place: dict[Atom, Atom] = {}
    for eqn in reversed(needed):
        inputs = tuple([place.get(atom, atom) for atom in eqn.inputs])
        place.update(zip(eqn.outs, builder.add(without_effects(eqn.operation), inputs, eqn.source), strict=True))
    return builder.build([place.get(atom, atom) for atom in jaxpr.outs])


def _stripped(value: Any) -> Any:
    if type(value) is Jaxpr:
        return without_unused_effects(value)
    if isinstance(value, tuple):
        parts = [_stripped(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
