"""Transposing a loop that is linear in some of its operands.

A part of its carry may not depend on them (a counter). It runs forwards first, its values at the beginning of each
iteration kept on tapes; then the transposed body runs backwards over these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.control.loop_bodies import Body, fixed_point, transposed_body, with_zeros
from functrans.control.rearranging import rearranged
from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import UndefinedPrimal, zeros_like
from functrans.ops.while_loop import replay_p
from functrans.transforms.tangents import Nonzeros, fill_zeros

__all__ = ["SplitCarry", "bind_replay", "linear_carry", "split_carry"]


def bind_replay(
    body: Body, length: Any, consts: Sequence[Any], carry: Sequence[Any], tapes: Sequence[Any], *, reverse: bool = False
) -> tuple[list[Any], list[Any]]:
    """One equation that replays: the last carry, and the tapes that are written. None if the body gives nothing."""
    if not body.jaxpr.outs:
        return [], []
    params = {"body": body.jaxpr, "n_consts": body.n_consts, "n_carry": body.n_carry, "reverse": reverse}
    results = replay_p.bind(length, *consts, *carry, *tapes, **params)
    return list(results[: body.n_carry]), list(results[body.n_carry :])


def linear_carry(body: Body, consts: Nonzeros, carry: Nonzeros, elements: Nonzeros) -> Nonzeros:
    """Which parts of the carry depend on linear operands, where these parts of it do at the start."""

    def step(flags: Nonzeros) -> Nonzeros:
        return _dependent(body.jaxpr, (*consts, *flags, *elements))[: body.n_carry]

    return fixed_point(step, carry)


def _dependent(jaxpr: Jaxpr, inputs: Nonzeros) -> Nonzeros:
    """Which outputs depend on the inputs that are flagged."""
    reached = {-1 - i for i, flag in enumerate(inputs) if flag}
    for eqn in jaxpr.eqns:
        if not reached.isdisjoint([x for x in eqn.inputs if type(x) is int]):
            reached.update(eqn.outs)
    return tuple([type(out) is int and out in reached for out in jaxpr.outs])


class SplitCarry(NamedTuple):
    """A body split for transposition."""

    forward: Body
    """What does not depend on linear operands, which also writes its own carry as it was before."""
    linear: Body
    """The body with the carry of `forward` as its last elements."""
    const_flags: Nonzeros
    carry_flags: Nonzeros
    element_flags: Nonzeros

    def pull_back(
        self,
        length: Any,
        consts: Sequence[Any],
        carry: Sequence[Any],
        tapes: Sequence[Any],
        kept: Sequence[Any],
        carry_cts: Sequence[Any],
        written_cts: Sequence[Any],
        reverse: bool = False,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The cotangents of constants, carry and tapes. None for those that are not linear, or get none.

        Args:
            length: the number of iterations.
            consts, carry, tapes: the operands of the loop, of which the linear ones are not looked at.
            kept: what `forward` has written.
            carry_cts, written_cts: the cotangents of the results; None for zero.
            reverse: whether the loop runs backwards, so that its transpose runs forwards.
        """
        given = [ct for ct, flag in zip(carry_cts, self.carry_flags, strict=True) if flag]
        element_flags = (*self.element_flags, *(False,) * len(kept))
        transposed = transposed_body(self.linear, (self.const_flags, element_flags), given, written_cts)
        body = transposed.body
        groups = body.parts(body.jaxpr.in_avals)
        n_sums = sum(transposed.consts)
        carry_avals = self.linear.parts(self.linear.jaxpr.in_avals)[1]
        first = [zeros_like(aval) for aval in groups[1][:n_sums]] + with_zeros(given, transposed.carry, carry_avals)
        fixed = [x for x, flag in zip(consts, self.const_flags, strict=True) if not flag]
        fixed_tapes = [x for x, flag in zip([*tapes, *kept], element_flags, strict=True) if not flag]
        outs, element_cts = bind_replay(
            body,
            length,
            fixed,
            first,
            [*fixed_tapes, *[ct for ct in written_cts if ct is not None]],
            reverse=not reverse,
        )
        return (
            fill_zeros(fill_zeros(outs[:n_sums], transposed.consts), self.const_flags),
            _undefined_only(fill_zeros(fill_zeros(outs[n_sums:], transposed.carry), self.carry_flags), carry),
            fill_zeros(fill_zeros(element_cts, transposed.elements), element_flags)[: len(tapes)],
        )


def _undefined_only(cts: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    return [ct if type(x) is UndefinedPrimal else None for ct, x in zip(cts, operands, strict=True)]


def split_carry(body: Body, consts: Nonzeros, carry: Nonzeros, elements: Nonzeros) -> SplitCarry:
    """Split a body by which of its inputs are linear."""
    const_avals, carry_avals, element_avals = body.parts(body.jaxpr.in_avals)
    n_carry = body.n_carry
    fixed = [i for i, flag in enumerate(carry) if not flag]
    moving = [i for i, flag in enumerate(carry) if flag]
    # The linear body: constants, moving carry, elements, then the fixed carry.
    order = [carry_avals[i] for i in moving]
    avals = [*const_avals, *order, *element_avals, *[carry_avals[i] for i in fixed]]
    n_consts, n_elements = len(const_avals), len(element_avals)
    atom_of = {i: -1 - n_consts - k for k, i in enumerate(moving)}
    first_fixed = n_consts + len(moving) + n_elements
    atom_of.update({i: -1 - first_fixed - k for k, i in enumerate(fixed)})
    inputs = [
        *[-1 - i for i in range(n_consts)],
        *[atom_of[i] for i in range(n_carry)],
        *[-1 - n_consts - len(moving) - k for k in range(n_elements)],
    ]
    outs = [*moving, *range(n_carry, len(body.jaxpr.outs))]
    linear = Body(rearranged(body.jaxpr, avals, inputs, outs), n_consts, len(moving))
    return SplitCarry(_forward_body(body, consts, carry, elements, fixed), linear, consts, carry, elements)


def _forward_body(body: Body, consts: Nonzeros, carry: Nonzeros, elements: Nonzeros, fixed: list[int]) -> Body:
    """What of a body does not depend on linear inputs; these are zeros, and nothing reads them."""
    flags = (*consts, *carry, *elements)
    kept = [i for i, flag in enumerate(flags) if not flag]
    atom_of = {i: -1 - number for number, i in enumerate(kept)}
    in_avals = body.jaxpr.in_avals
    inputs = [atom_of[i] if i in atom_of else zeros_like(in_avals[i]) for i in range(len(in_avals))]
    n_fixed_consts = sum([not flag for flag in consts])
    own = [-1 - n_fixed_consts - k for k in range(len(fixed))]
    program = rearranged(body.jaxpr, [in_avals[i] for i in kept], inputs, [*fixed, *own])
    return Body(program, n_fixed_consts, len(fixed))
