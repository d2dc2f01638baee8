"""Bounds: a maximum or a minimum with a number becomes a `clamp`, and both together become one.

NumPy's loop for clip with numbers as bounds takes a quarter of the time of that for a maximum with a number.
It has other derivatives where x is at a bound, so this is for programs of which none will be taken any more.
"""

from __future__ import annotations

from math import copysign, inf, isnan

from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops.elementwise import add_p
from functrans.ops.selection import clamp_p, max_p, min_p
from functrans.passes.choices import CHOICES
from functrans.passes.rewriting import Rule, Rules, Walk

__all__ = ["BOUNDS"]

Inputs = tuple[Atom, ...]

_FEW = 1024
"""For fewer elements the call costs more than it saves."""


def _bound(lower: bool) -> Rule:
    primitive = max_p if lower else min_p

    def rule(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
        found = CHOICES[primitive](walk, operation, inputs)
        if found is not None or operation.out_avals[0].size < _FEW or operation.out_avals[0].dtype.char not in "fd":
            return found
        for x, bound in (inputs, inputs[::-1]):
            if type(bound) is Literal and type(x) is not Literal and not isnan(bound.value):
                return _clamped(walk, x, bound, lower, is_first=bound is inputs[0])
        return None

    return rule


def _clamped(walk: Walk, x: Atom, bound: Literal, lower: bool, is_first: bool) -> Atom | None:
    """x with another bound.

    Of two zeros `clamp` gives x, and `max` and `min` the second operand. So if that is 0.0, x is too, by adding 0.0.
    """
    is_zero = bound.value == 0 and not is_first
    if is_zero and copysign(1, bound.value) < 0:
        return None
    before, was_zero = _bounds_of(walk, x)
    if before is not None:
        inner, low, high = before
        if lower and low.value == -inf and bound.value < high.value:
            return _with_zero(walk, walk.emit(clamp_p, (inner, bound, high)), bound, is_zero or was_zero)
        if not lower and high.value == inf and low.value < bound.value:
            return _with_zero(walk, walk.emit(clamp_p, (inner, low, bound)), bound, is_zero or was_zero)
    open_end = Literal(inf if lower else -inf, bound.aval)
    low, high = (bound, open_end) if lower else (open_end, bound)
    return _with_zero(walk, walk.emit(clamp_p, (x, low, high)), bound, is_zero)


def _bounds_of(walk: Walk, x: Atom) -> tuple[tuple[Atom, Literal, Literal] | None, bool]:
    """What x is clamped from, and its bounds, if they are numbers; and whether 0.0 has been added."""
    added = walk.operands(x, add_p)
    if added is not None and type(added[1]) is Literal and added[1].value == 0:
        x = added[0]
    found = walk.operands(x, clamp_p)
    if found is None or type(found[1]) is not Literal or type(found[2]) is not Literal:
        return None, False
    return (found[0], found[1], found[2]), added is not None


def _with_zero(walk: Walk, x: Atom, bound: Literal, is_added: bool) -> Atom:
    return walk.emit(add_p, (x, Literal(0.0, bound.aval))) if is_added else x


BOUNDS: Rules = {max_p: _bound(lower=True), min_p: _bound(lower=False)}
