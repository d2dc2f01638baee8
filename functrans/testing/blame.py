"""The rule at fault: the first primitive of a function's program whose own derivative is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import array_outputs, flatten_arguments, record
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation, Literal
from functrans.passes.inline import inline_all
from functrans.testing.comparison import FORWARD, REVERSE, Mismatch, Tolerance, find_mismatch
from functrans.testing.differentiated import Differentiated, forward_of, reverse_of

__all__ = ["Blamed", "rule_at_fault"]


class Blamed(NamedTuple):
    """A wrong rule."""

    rule: str
    """`JVP rule`, `VJP rule` or `transpose rule`; or empty where the primitive is declared to have no derivative."""
    primitive: str
    mismatch: Mismatch
    operand: int | None


def rule_at_fault(f: Differentiated) -> Blamed | None:
    """The first primitive in the program of `f` whose own derivative is wrong at the values that it meets."""
    if not f.is_traced:
        return None
    arguments = flatten_arguments(f.call, tuple(f.xs), {})
    jaxpr, values, _, _ = record(arguments, arguments.values, lambda out: array_outputs(f.call, out))
    program = inline_all(jaxpr)
    env = Environment(values)
    with np.errstate(all="ignore"):
        for eqn in program.eqns:
            operands = [x.array if type(x) is Literal else x for x in env.read_all(eqn.inputs)]
            blamed = _check_equation(eqn, operands)
            if blamed is not None:
                return blamed
            outs = eqn.primitive.evaluate(eqn.operation, operands)
            env.write(outs if eqn.primitive.multiple_results else (outs,))
    return None


def _check_equation(eqn: Equation, operands: Sequence[Any]) -> Blamed | None:
    moved = [i for i, aval in enumerate(eqn.in_avals) if aval.inexact]
    inexact_outs = [i for i, aval in enumerate(eqn.out_avals) if aval.inexact]
    if not moved or not inexact_outs:
        return None
    xs = [np.asarray(operands[i]) for i in moved]
    call = _function_of(eqn, operands, moved, inexact_outs)
    names = [f"operand {i}" for i in moved]
    f = Differentiated(eqn.primitive.name, call, xs, xs, names, 1, forward_of(call), reverse_of(call))
    for mode in (FORWARD, REVERSE):
        try:
            mismatch = find_mismatch(f, mode, Tolerance())
        except Exception:  # a mode that the primitive does not have, or an operand that it does not take alone
            continue
        if mismatch is not None and mismatch.settled:
            operand = None if mismatch.argument is None else moved[mismatch.argument]
            return Blamed(_rule_of(eqn.primitive, mode), eqn.primitive.name, mismatch, operand)
    return None


def _function_of(
    eqn: Equation, operands: Sequence[Any], moved: list[int], inexact_outs: list[int]
) -> Callable[..., tuple[Any, ...]]:
    """An equation as a function of its inexact operands."""

    def call(*xs: Any) -> tuple[Any, ...]:
        whole = list(operands)
        for i, x in zip(moved, xs, strict=True):
            whole[i] = x
        outs = eqn.primitive.bind(*whole, **eqn.params)
        outs = outs if eqn.primitive.multiple_results else (outs,)
        return tuple([outs[i] for i in inexact_outs])

    return call


def _rule_of(primitive: Any, mode: str) -> str:
    if primitive.is_constant:
        return ""
    has_jvp = primitive.jvp is not None or primitive.jvp_rules is not None
    if mode == FORWARD:
        return "JVP rule" if has_jvp else "VJP rule"
    if primitive.vjp is not None:
        return "VJP rule"
    return "transpose rule" if primitive.transpose is not None else "JVP rule"
