"""The body of a loop for a batch: on stacks of its inputs, and for members that leave the loop at different times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.control.loop_bodies import Body
from functrans.control.members import chosen, front_axis, in_the_place_of, source_of
from functrans.core.evaluation import eval_jaxpr
from functrans.core.jaxpr import axis_names_in
from functrans.core.recording import Recording
from functrans.core.rules import BatchAxis
from functrans.ops.families import stacked
from functrans.transforms.batch import Axes, batch, batch_to

__all__ = ["BatchedBody", "batched_body"]


class BatchedBody(NamedTuple):
    """A body on stacks."""

    body: Body
    size: int
    inputs: Axes
    """Along which axis each input is stacked."""
    carry: Axes
    """The same of the carry alone, before and after."""
    written: Axes
    """The same of what is written."""
    apart: bool
    """Whether members are computed apart from each other: no collective is over them."""

    def first_carry(self, carry: Sequence[Any], axes: Sequence[int | None]) -> list[Any]:
        """The carry stacked as the body takes it."""
        return [
            x if wanted is None else stacked(x, self.size, have, wanted)
            for x, have, wanted in zip(carry, axes, self.carry, strict=True)
        ]

    def run_masked(self, active: Any, operands: Sequence[Any], recording: Recording) -> list[Any]:
        """The results where the members that are not active keep their carry."""
        n_consts, n_carry = self.body.n_consts, self.body.n_carry
        placed = list(operands)
        if self.apart:
            # In the body they have the inputs of one that is; what is on tapes was written so.
            end = n_consts + n_carry
            placed[:end] = in_the_place_of(operands[:end], self.inputs[:end], source_of(active))
        results = eval_jaxpr(self.body.jaxpr, placed, recording)
        carry = zip(operands[n_consts : n_consts + n_carry], results[:n_carry], self.carry, strict=True)
        kept = [chosen(active, (old, new), along or 0) for old, new, along in carry]
        return kept + results[n_carry:]


def batched_body(axis: BatchAxis, body: Body, axes: Sequence[int | None], *, whole: bool = False) -> BatchedBody:
    """A body on stacks.

    Args:
        axis: the batch.
        body: the body.
        axes: along which axes its inputs are stacked; its carry, that of the first iteration.
        whole: whether all parts of the carry are to be stacked.
    """
    jaxpr, n_consts, n_carry = body
    consts, carry, elements = body.parts(axes)
    if whole:
        carry = [0 if along is None else along for along in carry]
    avals = jaxpr.out_avals
    while True:
        given = batch(jaxpr, axis, (*consts, *carry, *elements))[1]
        following = [
            have if have is not None else front_axis(aval, along)
            for have, aval, along in zip(carry, avals[:n_carry], given[:n_carry], strict=True)
        ]
        if following == carry:
            break
        carry = following
    written = [front_axis(aval, along) for aval, along in zip(avals[n_carry:], given[n_carry:], strict=True)]
    inputs = (*consts, *carry, *elements)
    program = Body(batch_to(jaxpr, axis, inputs, (*carry, *written)), n_consts, n_carry)
    apart = axis.name is None or axis.name not in axis_names_in(jaxpr)
    return BatchedBody(program, axis.size, inputs, tuple(carry), tuple(written), apart)
