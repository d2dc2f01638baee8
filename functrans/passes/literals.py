"""Literals through the operations that only change their type, and through arithmetic: a literal again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from functrans.core.jaxpr import Atom, Equation, Literal
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.elementwise import add_p, div_p, mul_p, neg_p, sub_p
from functrans.ops.shape import broadcast_in_dim_p, reshape_p, transpose_p

__all__ = ["fold_literals"]

_EXACT = (add_p, sub_p, mul_p, div_p, neg_p)
"""Arithmetic, whose result is the same for one number and for many (unlike `exp`, say)."""

_RESHAPING = (broadcast_in_dim_p, reshape_p, transpose_p)


def fold_literals(eqn: Equation, operands: Sequence[Atom]) -> Literal | None:
    """The literal that an equation gives on these operands, if it is one."""
    literals = [x for x in operands if type(x) is Literal]
    if not literals or len(literals) != len(operands):
        return None
    if eqn.primitive in _EXACT:
        with np.errstate(all="ignore"):
            value = eqn.primitive.implementation(eqn.operation)(*[x.scalar for x in literals])
        return Literal(value.item(), eqn.out_avals[0])
    literal = literals[0]
    if eqn.primitive in _RESHAPING:
        return Literal(literal.value, eqn.out_avals[0])
    if eqn.primitive is convert_element_type_p:
        with np.errstate(all="ignore"):
            converted = eqn.primitive.implementation(eqn.operation)(literal.scalar)
        return Literal(converted.item(), eqn.out_avals[0])
    return None
