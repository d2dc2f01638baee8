"""Tangents and cotangents while a program is walked: None is a zero by structure, which costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from functrans.core.aval import Aval
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation
from functrans.core.rules import zeros_like
from functrans.errors import MissingRuleError
from functrans.ops.elementwise import add
from functrans.ops.tapes import add_tapes

__all__ = [
    "Nonzeros",
    "add_tangents",
    "fill_zeros",
    "instantiated",
    "missing_derivative",
    "nonzeros_of",
    "read_tangents",
    "without_zeros",
]

Nonzeros = tuple[bool, ...]
"""Which of some values have a tangent, or a cotangent, that is not zero."""


def nonzeros_of(tangents: Sequence[Any]) -> Nonzeros:
    """Which of the tangents are not zero."""
    return tuple([t is not None for t in tangents])


def without_zeros(tangents: Sequence[Any]) -> tuple[list[Any], Nonzeros]:
    """The tangents that are not zero, and which those are."""
    return [t for t in tangents if t is not None], nonzeros_of(tangents)


def fill_zeros(given: Iterable[Any], nonzeros: Nonzeros) -> list[Any]:
    """The inverse of `without_zeros`."""
    remaining = iter(given)
    return [next(remaining) if nonzero else None for nonzero in nonzeros]


def instantiated(tangents: list[Any], wanted: Nonzeros, avals: Sequence[Aval]) -> list[Any]:
    """The tangents, with zeros in the place of those that are wanted and None. Integers never have one."""
    if not wanted:
        return tangents
    return [
        zeros_like(aval) if t is None and is_wanted and aval.inexact else t
        for t, is_wanted, aval in zip(tangents, wanted, avals, strict=True)
    ]


def read_tangents(tangents: Environment, atoms: Sequence[Any]) -> list[Any]:
    """The tangents of atoms; a literal's is zero."""
    return [tangents.read(atom) if type(atom) is int else None for atom in atoms]


def add_tangents(a: Any, b: Any) -> Any:
    """The sum of two tangents or cotangents."""
    if a is None or b is None:
        return b if a is None else a
    return add(a, b) if a.dtype.kind != "V" else add_tapes(a, b)


def missing_derivative(eqn: Equation) -> MissingRuleError:
    """The error for a primitive without JVP and VJP rules."""
    name = eqn.primitive.name
    return MissingRuleError(
        f"primitive {name!r} has no derivative rule. Give it a JVP, "
        f"{eqn.primitive.remedy('jvp', 'lambda t, out, *primals: ...')}, or a VJP, "
        f"{eqn.primitive.remedy('vjp', 'lambda ct, out, *primals: ...')}; one of the two is enough."
    )
