"""Selections, comparisons, extremes and bits: what is decided beforehand, or twice.

A comparison of a float with itself stays, since NaN is not equal to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops.bitwise import and_p, not_p, or_p, xor_p
from functrans.ops.comparison import eq_p, ge_p, gt_p, le_p, lt_p, ne_p, select_n_p
from functrans.ops.selection import max_p, min_p
from functrans.passes.rewriting import Rule, Rules, Walk

__all__ = ["CHOICES"]

Inputs = tuple[Atom, ...]


def _select(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    which, cases = inputs[0], inputs[1:]
    if all([case == cases[0] for case in cases[1:]]):
        return cases[0]
    if type(which) is Literal:
        return cases[min(max(int(which.value), 0), len(cases) - 1)]
    if operation.in_avals[0].dtype.kind != "b":
        return None
    opposite = walk.operands(which, not_p)
    if opposite is not None:
        return walk.apply(operation, (opposite[0], *cases[::-1]))
    known = [_case_of(walk, case, which, number) for number, case in enumerate(cases)]
    return None if known == list(cases) else walk.apply(operation, (which, *known))


def _case_of(walk: Walk, case: Atom, which: Atom, number: int) -> Atom:
    """What is left of a case that is a selection by the same condition."""
    inner = walk.operands(case, select_n_p)
    return case if inner is None or inner[0] != which else inner[1 + number]


def _one_of_two_equal(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    return inputs[0] if inputs[0] == inputs[1] else None


def _compared(with_itself: bool) -> Rule:
    def rule(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
        if inputs[0] != inputs[1] or operation.in_avals[0].dtype.kind not in "biu":
            return None
        return Literal(with_itself, operation.out_avals[0])

    return rule


def _bits(neutral: int | None, absorbing: int | None) -> Rule:
    """Of a bitwise operation: the numbers, 0 or -1 (all bits set), that change nothing, and that decide alone."""

    def rule(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
        for one, other in (inputs, inputs[::-1]):
            if _are_bits(other, neutral):
                return one
            if _are_bits(other, absorbing):
                return other
        if inputs[0] != inputs[1]:
            return None
        return Literal(0, operation.out_avals[0]) if operation.primitive is xor_p else inputs[0]

    return rule


def _are_bits(atom: Atom, bits: int | None) -> bool:
    if type(atom) is not Literal or bits is None:
        return False
    return bool(np.invert(atom.scalar) == 0 if bits else atom.scalar == 0)


def _not(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    inner = walk.operands(inputs[0], not_p)
    if inner is not None:
        return inner[0]
    found = walk.made_by[inputs[0]] if type(inputs[0]) is int and inputs[0] >= 0 else None
    if found is None:
        return None
    opposite = _OPPOSITES.get(found[0].primitive)
    is_ordered = found[0].primitive in (eq_p, ne_p) or (opposite and found[0].in_avals[0].dtype.kind in "biu")
    return walk.emit(opposite, found[1]) if is_ordered else None


_OPPOSITES: dict[Any, Any] = {eq_p: ne_p, ne_p: eq_p, lt_p: ge_p, ge_p: lt_p, gt_p: le_p, le_p: gt_p}


CHOICES: Rules = {
    select_n_p: _select,
    max_p: _one_of_two_equal,
    min_p: _one_of_two_equal,
    eq_p: _compared(True),
    le_p: _compared(True),
    ge_p: _compared(True),
    ne_p: _compared(False),
    lt_p: _compared(False),
    gt_p: _compared(False),
    and_p: _bits(-1, 0),
    or_p: _bits(0, -1),
    xor_p: _bits(0, None),
    not_p: _not,
}
