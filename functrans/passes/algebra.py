"""Algebraic simplification, by identities that hold bit for bit in IEEE arithmetic.

`x * 1`, `x - 0` and `-(-x)` are x, `x + -y` is `x - y`; but `x + 0.0` stays, since it turns -0.0 into 0.0, and `x * 0`
stays, since x may be infinite. Changes of shape that follow each other become one, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import copysign
from typing import Any

import numpy as np

from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Literal, Operation
from functrans.core.primitive import Primitive
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.elementwise import add_p, div_p, mul_p, neg_p, sub_p
from functrans.ops.guarded import guarded_div_p, guarded_mul_p
from functrans.ops.shape import broadcast_in_dim_p, reshape_p, transpose_p
from functrans.passes.literals import fold_literals

__all__ = ["simplify"]

Definitions = dict[Atom, tuple[Operation, tuple[Atom, ...]]]
Rewritten = Atom | tuple[Operation, tuple[Atom, ...]] | None
"""What an equation is replaced by: an atom that there is already, another equation, or None to keep it."""


def simplify(jaxpr: Jaxpr) -> Jaxpr:
    """The program with the identities applied, in one walk."""
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    definitions: Definitions = {}
    for eqn in jaxpr.eqns:
        operation, inputs = eqn.operation, tuple(env.read_all(eqn.inputs))
        rewritten = _rewrite(eqn, inputs, definitions)
        if rewritten is not None and not isinstance(rewritten, tuple):
            env.write([rewritten])
            continue
        if rewritten is not None:
            operation, inputs = rewritten
        outs = builder.add(operation, inputs, eqn.source)
        if len(outs) == 1:
            definitions[outs[0]] = operation, inputs
        env.write(outs)
    return builder.build(env.read_all(jaxpr.outs))


def _rewrite(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    literal = fold_literals(eqn, inputs)
    if literal is not None:
        return literal
    rule = _RULES.get(eqn.primitive)
    return None if rule is None else rule(eqn, inputs, definitions)


def _is(atom: Atom, number: float) -> bool:
    """Whether an atom is the literal of a number; of zeros, 0.0 and not -0.0. Never so for complex numbers, of which
    one part may be infinite or a negative zero.
    """
    if type(atom) is not Literal or atom.dtype.kind == "c" or atom.value != number:
        return False
    return atom.dtype.kind != "f" or copysign(1.0, atom.value) == copysign(1.0, number)


def _defined_by(atom: Atom, primitive: Primitive, definitions: Definitions) -> tuple[Atom, ...] | None:
    """The operands of the equation that gives an atom, if it is one of the primitive."""
    if type(atom) is not int or atom not in definitions:
        return None
    operation, inputs = definitions[atom]
    return inputs if operation.primitive is primitive else None


def _again(primitive: Any, eqn: Equation, inputs: tuple[Atom, ...]) -> Rewritten:
    """An equation of another primitive on operands of the same avals."""
    avals = tuple([aval.strong for aval in eqn.in_avals[: len(inputs)]])
    return primitive.operation(avals, {}), inputs


def _neg(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    inner = _defined_by(inputs[0], neg_p, definitions)
    return None if inner is None else inner[0]


def _add(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    for one, other in (inputs, inputs[::-1]):
        if _is(other, -0.0) or (eqn.in_avals[0].dtype.kind in "iu" and _is(other, 0)):
            return one
        negated = _defined_by(other, neg_p, definitions)
        if negated is not None:
            return _again(sub_p, eqn, (one, negated[0]))
    return None


def _sub(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    x, y = inputs
    if _is(y, 0.0):
        return x
    negated = _defined_by(y, neg_p, definitions)
    return None if negated is None else _again(add_p, eqn, (x, negated[0]))


def _mul(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    for one, other in (inputs, inputs[::-1]):
        if _is(other, 1.0):
            return one
        if _is(other, -1.0):
            return _again(neg_p, eqn, (one,))
    return None


def _div(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    return inputs[0] if _is(inputs[1], 1.0) else None


def _guarded_mul(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    guards = eqn.params["guards"]
    for atom, guarding in zip(inputs, guards, strict=True):
        if guarding and _is_number(atom, np.equal, 0):
            return atom
    if any([_is_number(atom, np.isfinite) and not guards[place] for place, atom in enumerate(inputs)]):
        return _mul(eqn, inputs, definitions) or _again(mul_p, eqn, inputs)
    return None


def _guarded_div(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    if _is_number(inputs[0], np.equal, 0):
        return inputs[0]
    if _is_number(inputs[1], np.isfinite) and not _is_number(inputs[1], np.equal, 0):
        return _div(eqn, inputs, definitions) or _again(div_p, eqn, inputs)
    return None


def _is_number(atom: Atom, test: Callable[..., Any], *others: float) -> bool:
    return type(atom) is Literal and bool(test(atom.scalar, *others))


def _convert(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    return inputs[0] if eqn.in_avals[0].dtype == eqn.out_avals[0].dtype else None


def _reshape(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    inner = _defined_by(inputs[0], reshape_p, definitions)
    operand = inputs[0] if inner is None else inner[0]
    before = eqn.in_avals[0] if inner is None else definitions[inputs[0]][0].in_avals[0]
    if before.shape == eqn.out_avals[0].shape:
        return operand
    return None if inner is None else (reshape_p.operation((before,), eqn.params), inner)


def _transpose(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    permutation = eqn.params["permutation"]
    inner = _defined_by(inputs[0], transpose_p, definitions)
    if inner is not None:
        first = definitions[inputs[0]][0]
        permutation = tuple([first.params["permutation"][d] for d in permutation])
    if permutation == tuple(range(len(permutation))):
        return inputs[0] if inner is None else inner[0]
    return None if inner is None else (transpose_p.operation(first.in_avals, {"permutation": permutation}), inner)


def _broadcast(eqn: Equation, inputs: tuple[Atom, ...], definitions: Definitions) -> Rewritten:
    if eqn.in_avals[0].shape == eqn.out_avals[0].shape:
        return inputs[0]
    inner = _defined_by(inputs[0], broadcast_in_dim_p, definitions)
    if inner is None:
        return None
    first, dims = definitions[inputs[0]][0], eqn.params["broadcast_dimensions"]
    both = tuple([dims[d] for d in first.params["broadcast_dimensions"]])
    params = {"shape": eqn.params["shape"], "broadcast_dimensions": both}
    return broadcast_in_dim_p.operation(first.in_avals, params), inner


_RULES: dict[Primitive, Callable[[Equation, tuple[Atom, ...], Definitions], Rewritten]] = {
    neg_p: _neg,
    add_p: _add,
    sub_p: _sub,
    mul_p: _mul,
    div_p: _div,
    guarded_mul_p: _guarded_mul,
    guarded_div_p: _guarded_div,
    convert_element_type_p: _convert,
    reshape_p: _reshape,
    transpose_p: _transpose,
    broadcast_in_dim_p: _broadcast,
}
