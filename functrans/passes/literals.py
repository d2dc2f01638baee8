"""Literals through the operations that only change their type: a literal again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from functrans.core.jaxpr import Atom, Equation, Literal
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.shape import broadcast_in_dim_p, reshape_p, transpose_p

__all__ = ["fold_literals"]

_RESHAPING = (broadcast_in_dim_p, reshape_p, transpose_p)


def fold_literals(eqn: Equation, operands: Sequence[Atom]) -> Literal | None:
    """The literal that an equation gives on these operands, if it is one."""
    if len(operands) != 1 or type(operands[0]) is not Literal:
        return None
    literal = operands[0]
    if eqn.primitive in _RESHAPING:
        return Literal(literal.value, eqn.out_avals[0])
    if eqn.primitive is convert_element_type_p:
        with np.errstate(all="ignore"):
            converted = eqn.primitive.implementation(eqn.operation)(literal.scalar)
        return Literal(converted.item(), eqn.out_avals[0])
    return None
