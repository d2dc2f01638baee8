"""What is known of a program's memory before it runs: who shares it with whom, and until when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Jaxpr
from functrans.ops import shape as shapes
from functrans.ops.comparison import select_n_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.convolution import conv_general_dilated_p
from functrans.ops.cumulative import cumsum_p
from functrans.ops.guarded import guarded_dot_general_p
from functrans.ops.identity import copy_p, stop_gradient_p
from functrans.ops.iota import iota_p
from functrans.ops.joining import concatenate_p, split_p
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.power import integer_pow_p, rsqrt_p
from functrans.ops.reductions import argmax_p, argmin_p, reduce_and_p, reduce_max_p, reduce_min_p, reduce_or_p
from functrans.ops.selection import clamp_p
from functrans.ops.shape import broadcast_in_dim_p
from functrans.ops.slicing import pad_p, slice_p
from functrans.ops.sorting import argsort_p, sort_p
from functrans.ops.transcendental import logistic_p
from functrans.ops.window_reductions import reduce_window_max_p, reduce_window_min_p, reduce_window_sum_p

__all__ = [
    "KEPT_BYTES",
    "aligned_shape",
    "deaths",
    "end_of_errors",
    "is_full",
    "memory_owners",
    "shared_outputs",
    "undone_broadcasts",
]

KEPT_BYTES = 32_768
"""Values up to this size are not worth letting go early."""


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


def end_of_errors(jaxpr: Jaxpr) -> int:
    """The number of the equation from which on none can raise an error, whatever its operands are."""
    for number in range(len(jaxpr.eqns), 0, -1):
        primitive = jaxpr.eqns[number - 1].primitive
        if not (primitive in _NEVER_RAISE or (primitive.is_elementwise and type(primitive.impl) is np.ufunc)):
            return number
    return 0


_NEVER_RAISE = frozenset({
    shapes.broadcast_in_dim_p, shapes.reduce_sum_p, shapes.reshape_p, shapes.squeeze_p, shapes.expand_dims_p,
    shapes.transpose_p, shapes.rev_p, convert_element_type_p, select_n_p, clamp_p, iota_p, slice_p, pad_p,
    integer_pow_p, rsqrt_p, logistic_p, concatenate_p, split_p, reduce_max_p, reduce_min_p, reduce_and_p, reduce_or_p,
    argmax_p, argmin_p, dot_general_p, guarded_dot_general_p, stop_gradient_p, copy_p, cumsum_p, sort_p, argsort_p,
    conv_general_dilated_p, reduce_window_sum_p, reduce_window_max_p, reduce_window_min_p,
})  # fmt: skip


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
