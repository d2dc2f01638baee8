"""The primitives that run a program again and again. Their rules are in `functrans.control`.

`while_p` asks a program whether to go on; `replay_p` runs for a given number of iterations, and reads a tape in each.
Both may write tapes: what an iteration of the first keeps for its derivative, the second reads. Each transformation of
one of them gives the same two again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract
from functrans.core.tapes import element_aval, tape_aval

__all__ = ["AS_LONG_AS_THE_TAPES", "replay_p", "while_p"]

AS_LONG_AS_THE_TAPES = -1
"""As the number of iterations of `replay_p`: as many as are on the longest of its tapes."""

_LENGTH = Aval((), np.dtype(np.int64))


def _same(avals: Sequence[Aval], others: Sequence[Aval]) -> bool:
    return [aval.strong for aval in avals] == [aval.strong for aval in others]


def _while_abstract(
    *operands: Aval, cond: Jaxpr, body: Jaxpr, n_cond_consts: int, n_body_consts: int, counted: bool, checkpoint: int
) -> tuple[Aval, ...]:
    n_consts = n_cond_consts + n_body_consts
    carry = operands[n_consts:]
    if not _same(cond.in_avals, (*operands[:n_cond_consts], *carry)) or not _same(
        body.in_avals, operands[n_cond_consts:]
    ):
        raise TypeError(f"while: the programs take {cond.in_avals} and {body.in_avals}, the operands are {operands}")
    if len(cond.outs) != 1 or cond.out_avals[0] is not Aval((), np.dtype(bool)):
        raise TypeError(f"while: the condition must give one boolean scalar, not {cond.out_avals}")
    if not _same(body.out_avals[: len(carry)], carry):
        raise TypeError(f"while: the body gives {body.out_avals[: len(carry)]} from {carry}")
    written = [tape_aval(aval.strong) for aval in body.out_avals[len(carry) :]]
    return (*[aval.strong for aval in carry], *written, *([_LENGTH] if counted else []))


while_p = Primitive("while", multiple_results=True)
"""While `cond(*cond_consts, *carry)` holds: `carry, written = body(*body_consts, *carry)`.

Operands: the constants of both programs, the first carry. Results: the last carry, a tape of each thing that the body
writes, and, if `counted`, the number of iterations. With `checkpoint` its derivative keeps so many carries instead of
tapes (`functrans.ops.checkpointed_loop`).
"""
def_abstract(while_p, _while_abstract)


def _replay_abstract(
    length: Aval, *operands: Aval, body: Jaxpr, n_consts: int, n_carry: int, reverse: bool
) -> tuple[Aval, ...]:
    if length.shape or length.dtype.kind not in "iu":
        raise TypeError(f"replay: the number of iterations must be an integer scalar, got {length}")
    carry, tapes = operands[n_consts : n_consts + n_carry], operands[n_consts + n_carry :]
    if not _same(body.in_avals, (*operands[: n_consts + n_carry], *[element_aval(tape) for tape in tapes])):
        raise TypeError(f"replay: the body takes {body.in_avals}, the operands are {operands}")
    if not _same(body.out_avals[:n_carry], carry):
        raise TypeError(f"replay: the body gives {body.out_avals[:n_carry]} from {carry}")
    return (*[aval.strong for aval in carry], *[tape_aval(aval.strong) for aval in body.out_avals[n_carry:]])


replay_p = Primitive("replay", multiple_results=True)
"""`length` times: `carry, written = body(*consts, *carry, *elements)`, where the elements are those of the tapes.

With `reverse` from the last elements to the first; what is written in an iteration stands on its tape where its
elements stood on theirs. Operands: the length, constants, the first carry, tapes. Results: the last carry, tapes.
"""
def_abstract(replay_p, _replay_abstract)
