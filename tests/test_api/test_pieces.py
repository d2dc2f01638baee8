"""The parts of a gradient that are made once for an operation."""

from typing import Any

import numpy as np
import pytest

from functrans import lax
from functrans.api.arguments import flatten_arguments, record
from functrans.api.pieces import (
    ACTIVE,
    APART,
    INACTIVE,
    JOINED,
    MASKED,
    NUMBER,
    PLAIN,
    RENAMED,
    ZERO,
    NotInPieces,
    Piece,
    Tangent,
    piece,
    takes_number,
)
from functrans.core.jaxpr import Literal, Operation

X, Y = np.array([0.5, 2.0]), np.array([3.0, 0.25])


def operation_of(f: Any, *args: Any) -> Operation:
    arguments = flatten_arguments(f, args, {})
    (eqn,) = record(arguments, arguments.values, lambda out: ([out], None)).jaxpr.eqns
    return eqn.operation  # type: ignore[no-any-return]


def tangent(found: Piece) -> Tangent:
    (only,) = found.tangents
    assert isinstance(only, Tangent)
    return only


MUL = operation_of(lax.mul, X, X)
NEG = operation_of(lax.neg, X)


def test_a_piece_is_made_once() -> None:
    assert piece(MUL, (ACTIVE, INACTIVE)) is piece(MUL, (ACTIVE, INACTIVE))
    assert piece(MUL, (ACTIVE, INACTIVE)) is not piece(MUL, (ACTIVE, ACTIVE))
    assert piece(MUL, (INACTIVE, INACTIVE)).tangents == (INACTIVE,)


def test_the_function_for_cotangents_adds_to_what_there_is() -> None:
    both = piece(MUL, (ACTIVE, ACTIVE))
    alone = both.backward((PLAIN,), (ZERO, ZERO))
    assert [kind for kind, _, _ in alone.outs] == [PLAIN, PLAIN]
    more = both.backward((PLAIN,), (PLAIN, ZERO))
    # Slots: two operands, the result, its cotangent, those that there were.
    local = [X, Y, X * Y, np.array([1.0, 10.0]), np.array([7.0, 7.0]), None]
    results = more.function(*[local[i] for i in more.reads])
    np.testing.assert_array_equal(results[more.outs[0][1]], 7.0 + local[3] * Y)
    np.testing.assert_array_equal(results[more.outs[1][1]], local[3] * X)


def test_cotangents_that_are_handed_on_cost_nothing() -> None:
    add = piece(operation_of(lax.add, X, X), (ACTIVE, ACTIVE))
    backward = add.backward((MASKED,), (ZERO, ZERO))
    assert backward.function is None
    assert [kind for kind, _, _ in backward.outs] == [MASKED, MASKED]


def test_literal_cotangents_are_literals_again() -> None:
    total = piece(operation_of(lambda x: lax.reduce_sum(x, (0,)), X), (ACTIVE,))
    one = Literal(1, total.program.out_avals[0])
    ((kind, _, _),) = total.backward((one,), (ZERO,)).outs
    assert kind is Literal(1, total.program.in_avals[0])


def test_an_operand_given_twice() -> None:
    square = piece(MUL, (ACTIVE, -1))
    assert (len(square.program.in_avals), square.active) == (1, (0,))
    assert square.value_function()(X).tolist() == (X * X).tolist()


def test_tangents_that_are_those_of_operands() -> None:
    shift = piece(operation_of(lax.add, X, X), (ACTIVE, INACTIVE))
    assert (shift.aliases, shift.copies) == (((0, 0),), frozenset())
    assert not shift.is_simple
    assert piece(operation_of(lambda x: x[:], X), (ACTIVE,)).copies == {0}


def test_what_pieces_are_to_each_other() -> None:
    neg, mul = piece(NEG, (ACTIVE,)), piece(MUL, (ACTIVE, INACTIVE))
    assert mul.relation_to(tangent(neg), 0) == APART
    assert neg.relation_to(tangent(neg), 0) == JOINED
    total = piece(operation_of(lambda x: np.sum(x, axis=1, keepdims=True), np.ones((3, 2))), (ACTIVE,))
    spread = piece(operation_of(np.multiply, np.ones((3, 2)), np.ones((3, 1))), (INACTIVE, ACTIVE))
    assert spread.relation_to(tangent(total), 1) == RENAMED
    assert neg.fuse(tangent(neg), 0, (0, 0)).copies == {0}
    with pytest.raises(NotInPieces):
        spread.fuse(tangent(total), 1, (0, 1, 0))


def test_numbers_that_no_rule_looks_at() -> None:
    times = operation_of(lambda x: 3 * x, X)
    assert takes_number(times, 0)
    literal = Literal(3)
    assert piece(times, (NUMBER, ACTIVE)) is not piece(times, (literal, ACTIVE))
    assert not takes_number(operation_of(np.dot, X, X), 0)
