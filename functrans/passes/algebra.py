"""Arithmetic, by identities that hold bit for bit in IEEE arithmetic.

`x * 1`, `x - 0` and `-(-x)` are x, `x + -y` is `x - y`, and to divide by 8 is to multiply by 1/8. But `x + 0.0` stays,
since it turns -0.0 into 0.0, and so do `x * 0`, `x - x` and `x / x`, since x may be infinite or NaN. (Of a NaN itself
the sign may change, which no arithmetic looks at.)
"""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops.elementwise import add_p, div_p, mul_p, neg_p, sub_p
from functrans.ops.guarded import guarded_div_p, guarded_mul_p
from functrans.ops.magnitude import abs_p
from functrans.ops.power import integer_pow_p, square_p
from functrans.passes.literals import is_number, is_splat
from functrans.passes.rewriting import Rules, Walk

__all__ = ["ALGEBRA"]

Inputs = tuple[Atom, ...]


def _is_integer(operation: Operation) -> bool:
    return operation.in_avals[0].dtype.kind in "iu"


def _neg(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    inner = walk.operands(inputs[0], neg_p)
    if inner is not None:
        return inner[0]
    difference = walk.operands(inputs[0], sub_p) if _is_integer(operation) else None  # of equal floats it is 0.0
    return None if difference is None else walk.emit(sub_p, difference[::-1])


def _add(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if not walk.concerns(inputs, neg_p):
        return None
    for one, other in (inputs, inputs[::-1]):
        if is_number(other, -0.0) or (_is_integer(operation) and is_number(other, 0)):
            return one
        negated = walk.operands(other, neg_p)
        if negated is not None:
            return walk.emit(sub_p, (one, negated[0]))
    return _regrouped(walk, operation, inputs)


def _sub(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    x, y = inputs
    if x == y and _is_integer(operation):
        return Literal(0, operation.out_avals[0].strong)
    if not walk.concerns(inputs, neg_p):
        return None
    if is_number(y, 0.0):
        return x
    if is_number(x, -0.0) or (_is_integer(operation) and is_number(x, 0)):
        return walk.emit(neg_p, (y,))
    negated = walk.operands(y, neg_p)
    return None if negated is None else walk.emit(add_p, (x, negated[0]))


def _mul(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if not walk.concerns(inputs, neg_p):
        return None
    for one, other in (inputs, inputs[::-1]):
        if is_number(other, 1.0):
            return one
        if is_number(other, -1.0):
            return walk.emit(neg_p, (one,))
        if _is_integer(operation) and is_number(other, 0):
            return other
    signless = _without_signs(walk, operation, inputs)
    return _regrouped(walk, operation, inputs) if signless is None else signless


def _div(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if not walk.concerns(inputs, neg_p):
        return None
    x, y = inputs
    if is_number(y, 1.0):
        return x
    if is_number(y, -1.0):
        return walk.emit(neg_p, (x,))
    if type(y) is Literal and _has_exact_reciprocal(y):
        return walk.emit(mul_p, (x, Literal(1 / y.value, y.aval)))
    return _without_signs(walk, operation, inputs)


def _has_exact_reciprocal(literal: Literal) -> bool:
    """Whether it is a power of two, in a range in which its reciprocal is normal too."""
    if literal.dtype.kind != "f" or not np.isfinite(literal.scalar):
        return False
    mantissa, exponent = frexp(literal.value)
    return abs(mantissa) == 0.5 and abs(exponent) < np.finfo(literal.dtype).maxexp - 1


def _without_signs(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    """(-x) * (-y) as x * y, and (-x) * 2 as x * -2; the same of quotients."""
    inner = [walk.operands(atom, neg_p) for atom in inputs]
    if inner == [None, None] or operation.in_avals[0].dtype.kind == "c":
        return None
    found: list[Atom] = []
    for atom, negated in zip(inputs, inner, strict=True):
        if negated is not None:
            found.append(negated[0])
        elif type(atom) is Literal and atom.dtype.kind == "f":
            found.append(Literal(-atom.value, atom.aval))
        else:
            return None
    return walk.emit(operation.primitive, tuple(found))


def _regrouped(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    """(x + 1) + 2 as x + 3, and so of products: of integers, which wrap around alike."""
    x, y = inputs
    if not _is_integer(operation) or type(y) is not Literal:
        return None
    inner = walk.operands(x, operation.primitive)
    if inner is None or type(inner[1]) is not Literal:
        return None
    return walk.emit(operation.primitive, (inner[0], walk.apply(operation, (inner[1], y))))


def _abs(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    inner = walk.operands(inputs[0], neg_p)
    if inner is not None:
        return walk.apply(operation, inner)
    return (
        inputs[0] if walk.operands(inputs[0], abs_p) is not None and operation.in_avals[0].dtype.kind != "c" else None
    )


def _square(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if operation.in_avals[0].dtype.kind == "c":
        return None
    for primitive in (neg_p, abs_p):
        inner = walk.operands(inputs[0], primitive)
        if inner is not None and walk.aval(inner[0]).dtype.kind != "c":
            return walk.apply(operation, inner)
    return None


def _integer_pow(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    power = operation.params["y"]
    if power == 0:
        return Literal(1, operation.out_avals[0].strong)
    return inputs[0] if power == 1 else None


def _guarded_mul(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    guards = operation.params["guards"]
    for atom, guarding in zip(inputs, guards, strict=True):
        if guarding and is_splat(atom, np.equal, 0):
            return Literal(0, _strong(atom))
    if any([is_splat(atom, np.isfinite) and not guards[place] for place, atom in enumerate(inputs)]):
        return walk.emit(mul_p, inputs)
    return None


def _guarded_div(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if is_splat(inputs[0], np.equal, 0):
        return Literal(0, _strong(inputs[0]))
    if is_splat(inputs[1], np.isfinite) and not is_splat(inputs[1], np.equal, 0):
        return walk.emit(div_p, inputs)
    return None


def _strong(literal: Any) -> Aval:
    return literal.aval.strong


ALGEBRA: Rules = {
    neg_p: _neg,
    add_p: _add,
    sub_p: _sub,
    mul_p: _mul,
    div_p: _div,
    abs_p: _abs,
    square_p: _square,
    integer_pow_p: _integer_pow,
    guarded_mul_p: _guarded_mul,
    guarded_div_p: _guarded_div,
}
