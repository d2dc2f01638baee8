"""The primitive of functions with derivative rules of their own, and the forms in which it keeps the rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import BatchAxis, def_abstract

__all__ = ["BatchedRules", "DeferredRules", "RulePrograms", "Rules", "VjpPrograms", "custom_call_p"]


def _results(*avals: Aval, jaxpr: Jaxpr, name: str, n_consts: int, rules: Rules) -> tuple[Aval, ...]:
    return jaxpr.out_avals


custom_call_p = Primitive("custom_call", multiple_results=True)
custom_call_p.is_call = True
"""A call of the program `jaxpr`, whose derivative is that of `rules`.

Operands: the arguments, then `n_consts` values that the function or its rules close over.
"""
def_abstract(custom_call_p, _results)


class VjpPrograms(NamedTuple):
    """A VJP rule as programs."""

    forward: Jaxpr
    """From the operands to the results, then the residuals."""

    backward: Jaxpr
    """From the residuals, then the cotangents of the inexact results, to those of the inexact arguments."""


class RulePrograms(NamedTuple):
    """Rules that have been recorded: one of the two is enough."""

    jvp: Jaxpr | None
    """From the operands, then the tangents of the inexact arguments, to the results, then their tangents."""

    vjp: VjpPrograms | None

    def __str__(self) -> str:
        return ",".join([rule for rule in self._fields if getattr(self, rule) is not None])


class DeferredRules:
    """Rules that are Python functions still, which are recorded when a derivative is asked for.

    Args:
        key: what they are, by structure: functions that are defined anew at each call are equal.
        shown: what printed programs show.
        record: `record(nonzeros, forward, jaxpr)` gives the programs, where `nonzeros` says which arguments have a
            tangent, `forward` whether forward mode asks, and `jaxpr` is the program of the function.
        portable: whether key and `record` are of nothing but globals of modules, so that they can be pickled.
    """

    __slots__ = ("_hash", "_key", "_portable", "_programs", "_record", "_shown")

    def __init__(self, key: Hashable, shown: str, record: Callable[..., RulePrograms], portable: bool = False) -> None:
        self._key = key
        self._portable = portable
        self._hash = hash(key)
        self._shown = shown
        self._record = record
        self._programs: dict[Hashable, RulePrograms] = {}

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is DeferredRules and self._hash == other._hash and self._key == other._key

    def __repr__(self) -> str:
        return self._shown

    def __reduce__(self) -> tuple[Any, ...]:
        if self._portable:
            return DeferredRules, (self._key, self._shown, self._record, True)
        raise TypeError(
            f"a program in which rules of custom derivatives ({self._shown}) are Python functions still cannot be "
            "pickled: differentiate it before, or pickle the function"
        )

    def programs(self, nonzeros: tuple[bool, ...], forward: bool, jaxpr: Jaxpr) -> RulePrograms:
        """The rules as programs."""
        key = nonzeros, forward, jaxpr.in_avals, jaxpr.out_avals
        found = self._programs.get(key)
        if found is None:
            found = self._programs.setdefault(key, self._record(nonzeros, forward, jaxpr))
        return found


class BatchedRules(NamedTuple):
    """The rules of the members of a batch, whose results are stacked along axis 0."""

    rules: Rules
    jaxpr: Jaxpr
    """The program of a member."""
    axis: BatchAxis
    axes: tuple[int | None, ...]
    """Along which axis each operand is stacked."""

    def __str__(self) -> str:
        return f"batched({self.rules})"


Rules = RulePrograms | DeferredRules | BatchedRules
