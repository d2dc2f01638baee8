"""Simplification by local rules, all in one walk: each equation is looked at once, with what its operands come from.

The rules are in `algebra.py`, `choices.py`, `conversions.py`, `shapes.py`, `slices.py`, `reductions.py` and
`contractions.py`; what becomes of literals is in `literals.py`. All keep the bits of the results, and give primitives
that have their derivative rules, so that other transformations may follow; those of `bounds.py` do not.
"""

from __future__ import annotations

from functrans.core.jaxpr import Atom, Jaxpr, Operation
from functrans.ops.checkpoint import name_p
from functrans.ops.identity import copy_p, stop_gradient_p
from functrans.passes.algebra import ALGEBRA
from functrans.passes.bounds import BOUNDS
from functrans.passes.choices import CHOICES
from functrans.passes.contractions import CONTRACTIONS
from functrans.passes.conversions import CONVERSIONS
from functrans.passes.reductions import REDUCTIONS
from functrans.passes.rewriting import Rules, Walk, rewrite
from functrans.passes.shapes import SHAPES
from functrans.passes.slices import FINAL_SLICES, SLICES

__all__ = ["simplify", "simplify_final"]

_RULES: Rules = {**ALGEBRA, **CHOICES, **CONVERSIONS, **SHAPES, **SLICES, **REDUCTIONS, **CONTRACTIONS}


def simplify(jaxpr: Jaxpr) -> Jaxpr:
    """The program with the rules applied."""
    return rewrite(jaxpr, _RULES)


def _operand(walk: Walk, operation: Operation, inputs: tuple[Atom, ...]) -> Atom:
    return inputs[0]


_FINAL_RULES: Rules = {**_RULES, **FINAL_SLICES, **BOUNDS, **dict.fromkeys((stop_gradient_p, copy_p, name_p), _operand)}


def simplify_final(jaxpr: Jaxpr) -> Jaxpr:
    """As `simplify`, for a program of which no derivative will be taken any more: without what only says something to
    a transformation, `stop_gradient`, names and copies.
    """
    return rewrite(jaxpr, _FINAL_RULES)
