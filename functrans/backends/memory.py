"""What is known of a program's memory before it runs: who shares it with whom, and until when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Jaxpr
from functrans.ops.shape import broadcast_in_dim_p

__all__ = [
    "KEPT_BYTES",
    "aligned_shape",
    "deaths",
    "is_full",
    "memory_owners",
    "nbytes",
    "shared_outputs",
    "undone_broadcasts",
]

KEPT_BYTES = 32_768
"""Values up to this size are not worth letting go early."""


def nbytes(aval: Aval) -> int:
    """The size of an array."""
    return aval.size * aval.dtype.itemsize


def undone_broadcasts(jaxpr: Jaxpr) -> set[int]:
    """The results of broadcasts that all their consumers can leave to NumPy: elementwise operations with another
    operand of full shape. They stay undone, but that their axes are aligned.
    """
    candidates: set[int] = set()
    for eqn in jaxpr.eqns:
        if eqn.primitive is broadcast_in_dim_p:
            candidates.add(eqn.outs[0])
        elif not eqn.primitive.is_elementwise or not any([is_full(x, candidates) for x in eqn.inputs]):
            candidates.difference_update([x for x in eqn.inputs if type(x) is int])
    candidates.difference_update([x for x in jaxpr.outs if type(x) is int])
    return candidates


def is_full(atom: Atom, undone: set[int]) -> bool:
    """Whether an operand is an array of its equation's shape, and neither a literal nor a broadcast left undone."""
    return type(atom) is int and atom not in undone


def aligned_shape(operand: Aval, *, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> tuple[int, ...]:
    """The shape in which NumPy itself stretches the operand of a broadcast: its own where that will do, else with axes
    of length 1 where it needs them.
    """
    n_new = len(shape) - operand.ndim
    if tuple(broadcast_dimensions) == tuple(range(n_new, len(shape))):
        return operand.shape
    aligned = [1] * len(shape)
    for n, d in zip(operand.shape, broadcast_dimensions, strict=True):
        aligned[d] = n
    return tuple(aligned)


def deaths(jaxpr: Jaxpr) -> list[list[int]]:
    """For each equation the results that nothing reads after it, and that are no outputs."""
    last: dict[int, int] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        last.update([(atom, number) for atom in eqn.inputs if type(atom) is int])
        last.update([(out, number) for out in eqn.outs])  # perhaps nothing reads it
    dying: list[list[int]] = [[] for _ in jaxpr.eqns]
    outs = set(jaxpr.outs)
    for atom, number in last.items():
        if atom not in outs:
            dying[number].append(atom)
    return dying


def memory_owners(jaxpr: Jaxpr) -> Callable[[Atom], Atom]:
    """For each atom the atom whose memory it may share: an input, a result, or a literal."""
    owners: dict[int, Atom] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.is_view:
            first = eqn.inputs[0]
            owner = owners.get(first, first) if type(first) is int else first
            owners.update(dict.fromkeys(eqn.outs, owner))
    return lambda atom: owners.get(atom, atom) if type(atom) is int else atom


def shared_outputs(jaxpr: Jaxpr) -> list[bool]:
    """For each output whether it may share memory with an input, a literal or an output before it, or with itself (as
    what a broadcast gives may), so that it must be copied to be an array of its own.
    """
    owners, stretched = memory_owners(jaxpr), _stretched(jaxpr)
    taken: set[Any] = set()
    shared = []
    for atom in jaxpr.outs:
        owner = owners(atom)
        shared.append(type(owner) is not int or owner < 0 or owner in taken or atom in stretched)
        taken.add(owner)
    return shared


def _stretched(jaxpr: Jaxpr) -> set[Atom]:
    """The results that are views of broadcasts, of which several elements may share their memory."""
    stretched: set[Atom] = set()
    for eqn in jaxpr.eqns:
        if eqn.primitive is broadcast_in_dim_p or (eqn.primitive.is_view and eqn.inputs[0] in stretched):
            stretched.update(eqn.outs)
    return stretched
