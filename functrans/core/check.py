"""The type checker of programs: every transformation and pass must give a program that it accepts."""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Equation, Jaxpr, Literal, jaxprs_in
from functrans.core.printing import format_jaxpr
from functrans.errors import JaxprTypeError

__all__ = ["check_jaxpr"]


def check_jaxpr(jaxpr: Jaxpr) -> None:
    """Check that a program is well typed, with the programs inside of it.

    Each atom must be defined before it is used; each operand must have the aval that its equation was made for; each
    primitive's abstract rule, asked again, must give the avals of the results.

    Raises:
        JaxprTypeError: naming the first equation that is wrong, with the whole program.
    """
    defined = 0
    for number, eqn in enumerate(jaxpr.eqns):
        _check_inputs(jaxpr, eqn, number, defined)
        _check_results(jaxpr, eqn, number)
        for value in eqn.params.values():
            for inner in jaxprs_in(value):
                check_jaxpr(inner)
        defined = eqn.outs.stop
    for atom in jaxpr.outs:
        if not _is_defined(jaxpr, atom, defined):
            raise JaxprTypeError(f"output {atom!r} is not defined in\n{format_jaxpr(jaxpr)}")


def _check_inputs(jaxpr: Jaxpr, eqn: Equation, number: int, defined: int) -> None:
    if len(eqn.inputs) != len(eqn.in_avals):
        _fail(jaxpr, eqn, number, f"has {len(eqn.inputs)} operands and {len(eqn.in_avals)} avals for them")
    for position, (atom, expected) in enumerate(zip(eqn.inputs, eqn.in_avals, strict=True)):
        if not _is_defined(jaxpr, atom, defined):
            _fail(jaxpr, eqn, number, f"uses operand {position} before it is defined")
        actual = jaxpr.aval(atom)
        if actual.strong is not expected.strong:  # weakness matters to promotion alone, which is over
            _fail(jaxpr, eqn, number, f"was made for {expected} as operand {position} and has {actual}")


def _check_results(jaxpr: Jaxpr, eqn: Equation, number: int) -> None:
    primitive: Any = eqn.primitive
    outs = primitive.abstract(*eqn.in_avals, **eqn.params)
    outs = tuple(outs) if primitive.multiple_results else (outs,)
    if not all([type(aval) is Aval for aval in outs]) or outs != eqn.out_avals:
        _fail(jaxpr, eqn, number, f"gives {outs} by its abstract rule and {eqn.out_avals} in the program")


def _is_defined(jaxpr: Jaxpr, atom: Any, defined: int) -> bool:
    if type(atom) is Literal:
        return True
    return type(atom) is int and -len(jaxpr.in_avals) <= atom < defined


def _fail(jaxpr: Jaxpr, eqn: Equation, number: int, problem: str) -> None:
    raise JaxprTypeError(f"equation {number} ({eqn.primitive.name}) {problem}, in\n{format_jaxpr(jaxpr)}")
