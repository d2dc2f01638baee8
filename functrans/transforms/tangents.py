"""Tangents and cotangents while a program is walked: None is a zero by structure, which costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation
from functrans.errors import MissingRuleError
from functrans.ops.elementwise import add

__all__ = ["Nonzeros", "add_tangents", "missing_derivative", "read_tangents"]

Nonzeros = tuple[bool, ...]


def read_tangents(tangents: Environment, atoms: Sequence[Any]) -> list[Any]:
    """The tangents of atoms; a literal's is zero."""
    return [tangents.read(atom) if type(atom) is int else None for atom in atoms]


def add_tangents(a: Any, b: Any) -> Any:
    """The sum of two tangents or cotangents."""
    if a is None or b is None:
        return b if a is None else a
    return add(a, b)


def missing_derivative(eqn: Equation) -> MissingRuleError:
    """The error for a primitive without JVP and VJP rules."""
    name = eqn.primitive.name
    return MissingRuleError(
        f"primitive {name!r} has no derivative rule. Give it a JVP, "
        f"functrans.extend.def_jvp({name}_p, lambda t, out, *primals: ...), or a VJP, "
        f"functrans.extend.def_vjp({name}_p, lambda ct, out, *primals: ...); one of the two is enough."
    )
