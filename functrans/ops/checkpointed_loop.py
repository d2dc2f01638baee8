"""The primitives of loops that keep few of their states, and compute the others again for their derivative.

`snapshots_p` is `while` that keeps snapshots of its carry; `retrace_p` is a linear `replay`, whose elements are not on
tapes but computed again. Their rules are in `functrans.control.checkpointed_loop`.
"""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract
from functrans.dtypes import opaque
from functrans.ops.while_loop import while_p

__all__ = ["Snapshots", "retrace_p", "snapshots_p"]

_OPAQUE = Aval((), opaque)


class Snapshots(HasAval):
    """Carries of a loop, and the numbers of the iterations before which it had them."""

    __slots__ = ("kept",)

    aval = _OPAQUE

    def __init__(self, kept: list[tuple[int, Any]]) -> None:
        self.kept = kept


def _snapshots_abstract(
    *operands: Aval, cond: Jaxpr, body: Jaxpr, n_cond_consts: int, n_body_consts: int, checkpoint: int
) -> tuple[Aval, ...]:
    params = {"n_cond_consts": n_cond_consts, "n_body_consts": n_body_consts, "checkpoint": checkpoint}
    outs = while_p.abstract(*operands, cond=cond, body=body, counted=True, **params)  # type: ignore[misc]
    return (*outs, _OPAQUE)


snapshots_p = Primitive("snapshots", multiple_results=True)
"""As `while`, counted, of a body that writes nothing; the last result is the snapshots, at most `checkpoint`."""
def_abstract(snapshots_p, _snapshots_abstract)


def _retrace_abstract(
    length: Aval,
    kept: Aval,
    *operands: Aval,
    step: Jaxpr,
    linear: Jaxpr,
    n_consts: int,
    n_carry: int,
    n_linear_consts: int,
    const_residuals: tuple[int, ...],
    residuals: tuple[int, ...],
    reverse: bool,
    snapshots: int,
) -> tuple[Aval, ...]:
    given = [aval.strong for aval in operands]
    end = n_consts + n_carry
    written = step.out_avals[n_carry:]
    ins = [*[given[i] for i in const_residuals], *given[end:], *[written[i].strong for i in residuals]]
    if [aval.strong for aval in step.in_avals] != given[:end] or [aval.strong for aval in linear.in_avals] != ins:
        raise TypeError(
            f"retrace: the programs take {step.in_avals} and {linear.in_avals}, the operands are {operands}"
        )
    outs = [aval.strong for aval in linear.out_avals]
    if length.shape or outs != given[end + n_linear_consts :]:
        raise TypeError(f"retrace: the linear program gives {outs} from {given[end + n_linear_consts :]}")
    return tuple(outs)


retrace_p = Primitive("retrace", multiple_results=True)
"""The carry of a loop over `length` iterations of `linear`, which reads what `step` writes in its iterations.

Operands: the length, snapshots of the carry of `step` (a literal if there are none), its constants and its first carry;
then constants and the first carry of `linear`. That takes some of the constants of `step`, `const_residuals`, its own
constants, its carry, and some of what `step` writes, `residuals`. With `reverse` the last iteration comes first.
"""
def_abstract(retrace_p, _retrace_abstract)
