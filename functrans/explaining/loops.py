"""The first iteration of a loop, which is timed to say what its iterations spend their time on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functrans.backends.running import run
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Equation, Jaxpr
from functrans.passes.pipeline import finalize

__all__ = ["Iteration", "first_iteration", "loop_body"]


class Iteration(NamedTuple):
    """What a loop runs in its first iteration."""

    body: Jaxpr
    values: list[Any]
    """Those of the body's inputs."""


def loop_body(eqn: Equation) -> Jaxpr | None:
    """The program that a loop repeats, in the form in which it is run; None for what is no loop."""
    name = _BODIES.get(eqn.primitive.name)
    return None if name is None else finalize(eqn.params[name])


def first_iteration(eqn: Equation, operands: Sequence[Any]) -> Iteration | None:
    """The first iteration of a loop; None if it has none, if it has effects, or for what is no loop."""
    body = loop_body(eqn)
    if body is None or is_effectful(body):
        return None
    values = _VALUES[eqn.primitive.name](eqn, operands)
    return None if values is None else Iteration(body, values)


def _scan_values(eqn: Equation, operands: Sequence[Any]) -> list[Any] | None:
    first = eqn.params["n_consts"] + eqn.params["n_carry"]
    if not eqn.params["length"] or any([aval.dtype.kind == "V" for aval in eqn.in_avals]):
        return None
    row = -1 if eqn.params["reverse"] else 0
    return [*operands[:first], *[x[row] for x in operands[first:]]]


def _while_values(eqn: Equation, operands: Sequence[Any]) -> list[Any] | None:
    n_cond = eqn.params["n_cond_consts"]
    carry = operands[n_cond + eqn.params["n_body_consts"] :]
    (goes_on,) = run(eqn.params["cond"], [*operands[:n_cond], *carry])
    return list(operands[n_cond:]) if goes_on else None


_BODIES = {"scan": "jaxpr", "while": "body"}
_VALUES: dict[str, Callable[[Equation, Sequence[Any]], list[Any] | None]] = {
    "scan": _scan_values,
    "while": _while_values,
}
