"""Members of a batch that do not take part: they are computed with the inputs of one that does.

Where a branch, or an iteration of a loop, is for some members of a batch only, it runs for the whole stack, but on
inputs with which a member really runs it: nothing that it does there can raise, warn or give a NaN that would not be
there anyway. What comes out for the others is not used, and the gradient of the gathering adds zeros to a finite one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import stage
from functrans.core.jaxpr import Literal
from functrans.core.rules import def_batch, def_linear
from functrans.core.tapes import element_aval, is_tape
from functrans.ops.comparison import select, select_n
from functrans.ops.families import align, stacked
from functrans.ops.indexing import GatherDimensionNumbers, gather
from functrans.ops.iota import iota
from functrans.ops.joining import concatenate
from functrans.ops.reductions import argmax
from functrans.ops.shape import broadcast_in_dim, moveaxis, reshape
from functrans.ops.slicing import index_in_dim
from functrans.ops.tapes import choose_tapes, join_tapes, join_tapes_p
from functrans.ops.while_loop import AS_LONG_AS_THE_TAPES, replay_p

__all__ = [
    "chosen",
    "empty_batch",
    "front_axis",
    "in_the_place_of",
    "joined",
    "member",
    "over_elements",
    "source_of",
    "taken",
    "to_front",
]


def source_of(active: Any) -> Any:
    """For each member one that takes part: itself, or else the first that does."""
    size = active.shape[0]
    first = reshape(argmax(active, 0, np.int64), (1,))
    return select(active, iota(np.int64, size), broadcast_in_dim(first, (size,), (0,)))


def in_the_place_of(operands: Sequence[Any], axes: Sequence[int | None], source: Any) -> list[Any]:
    """Operands in which each member has the values of its source; those that are stacked are so along axis 0.

    A stack of tapes of loops inside of a `scan`, whose members are along a later axis, stays as it is: the loop that
    has written it has put the same members in the place of others.
    """
    return [x if axis != 0 or type(x) is Literal else taken(x, source) for x, axis in zip(operands, axes, strict=True)]


def taken(x: Any, indices: Any) -> Any:
    """The parts of an array, or of the arrays on a tape, at indices along axis 0."""
    if is_tape(aval_of(x)):
        return over_elements(taken, [x], [indices], ())
    rest = tuple(range(1, x.ndim))
    numbers = GatherDimensionNumbers(rest, (0,), (0,))
    return gather(x, reshape(indices, (*indices.shape, 1)), numbers, (1, *x.shape[1:]), mode="promise_in_bounds")


def chosen(index: Any, cases: Sequence[Any], axis: int = 0) -> Any:
    """For each member, of cases that are stacked along an axis, the one that its index says."""
    first = aval_of(cases[0])
    if is_tape(first):
        return choose_tapes(index, cases, (axis,))
    return select_n(broadcast_in_dim(index, first.shape, (axis,)), *cases)


def over_elements(function: Any, tapes: Sequence[Any], shared: Sequence[Any], options: tuple[Any, ...]) -> Any:
    """A tape of what a function gives for each of the elements of tapes, and arrays that all of them share."""
    tape_avals = [element_aval(aval_of(x)) for x in tapes]
    shared_avals = [aval_of(x).strong for x in shared]
    with stage("tape", [*shared_avals, *tape_avals]) as recording:
        inputs = recording.inputs()
        out = function(*inputs[len(shared) :], *inputs[: len(shared)], *options)
        body, _ = recording.close([out])
    length = Literal(AS_LONG_AS_THE_TAPES, Aval((), np.dtype(np.int64)))
    (result,) = replay_p.bind(length, *shared, *tapes, body=body, n_consts=len(shared), n_carry=0, reverse=False)
    return result


def member(x: Any, number: int, axis: int | None) -> Any:
    """One member of a batch."""
    if axis is None:
        return x
    if is_tape(aval_of(x)):
        return over_elements(member, [x], [], (number, axis))
    return index_in_dim(x, number, axis, keepdims=False)


def joined(members: Sequence[Any]) -> Any:
    """Members as a stack along axis 0."""
    if is_tape(aval_of(members[0])):
        return join_tapes(members)
    return concatenate([reshape(x, (1, *x.shape)) for x in members], 0)


def empty_batch(avals: Sequence[Aval]) -> tuple[list[Any], list[int]]:
    """The results of anything for a batch without members."""
    return [Literal(0, Aval((0, *aval.shape), aval.dtype)) for aval in avals], [0] * len(avals)


def to_front(
    operands: Sequence[Any], axes: Sequence[int | None], size: int
) -> tuple[list[Any], tuple[int | None, ...]]:
    """Operands with their batch axis in front, and where it is: None for those without one."""
    wanted = [front_axis(aval_of(x), axis) for x, axis in zip(operands, axes, strict=True)]
    moved = [
        x if axis is None or new is None else stacked(x, size, axis, new)
        for x, axis, new in zip(operands, axes, wanted, strict=True)
    ]
    return moved, tuple(wanted)


def front_axis(aval: Aval, axis: int | None) -> int | None:
    """Where the batch axis of a value goes: in front, but that of a tape stays."""
    return axis if axis is None or is_tape(aval) else 0


def _join_tapes_batch(size: int, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, int]:
    return moveaxis(join_tapes(align(size, operands, axes, 0)), 1, 0), 0


def_linear(join_tapes_p, lambda ct, *tapes: [member(ct, number, 0) for number in range(len(tapes))])
def_batch(join_tapes_p, _join_tapes_batch)
