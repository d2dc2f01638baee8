"""Arithmetic identities: what holds bit for bit in IEEE arithmetic is used, and what only looks so is not."""

import numpy as np
import pytest

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.ops import bitwise, magnitude, power
from functrans.ops.guarded import guarded_div, guarded_mul
from tests.test_passes.programs import SPECIAL, assert_simplifies, assert_stays

X = np.array(SPECIAL)
Y = X[::-1].copy()
K, M = np.array([-128, -1, 0, 3, 127], np.int8), np.array([1, -128, 5, 3, 100], np.int8)
Z = np.array([1 + 2j, -0.0 - 0.0j, complex(np.inf, np.nan)])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, y: lax.mul(x, 1.0), lambda x, y: x),
        (lambda x, y: lax.mul(1.0, lax.add(x, y)), lambda x, y: lax.add(x, y)),
        (lambda x, y: lax.mul(x, -1.0), lambda x, y: lax.neg(x)),
        (lambda x, y: lax.div(x, 1.0), lambda x, y: x),
        (lambda x, y: lax.div(x, -1.0), lambda x, y: lax.neg(x)),
        (lambda x, y: lax.div(x, 8.0), lambda x, y: lax.mul(x, 0.125)),
        (lambda x, y: lax.div(x, -0.25), lambda x, y: lax.mul(x, -4.0)),
        (lambda x, y: lax.sub(x, 0.0), lambda x, y: x),
        (lambda x, y: lax.sub(-0.0, x), lambda x, y: lax.neg(x)),
        (lambda x, y: lax.add(x, -0.0), lambda x, y: x),
        (lambda x, y: lax.neg(lax.neg(x)), lambda x, y: x),
        (lambda x, y: lax.add(x, lax.neg(y)), lambda x, y: lax.sub(x, y)),
        (lambda x, y: lax.add(lax.neg(x), y), lambda x, y: lax.sub(y, x)),
        (lambda x, y: lax.sub(x, lax.neg(y)), lambda x, y: lax.add(x, y)),
        (lambda x, y: lax.mul(lax.neg(x), lax.neg(y)), lambda x, y: lax.mul(x, y)),
        (lambda x, y: lax.mul(lax.neg(x), 3.0), lambda x, y: lax.mul(x, -3.0)),
        (lambda x, y: lax.div(3.0, lax.neg(x)), lambda x, y: lax.div(-3.0, x)),
        (lambda x, y: magnitude.abs(lax.neg(x)), lambda x, y: magnitude.abs(x)),
        (lambda x, y: magnitude.abs(magnitude.abs(x)), lambda x, y: magnitude.abs(x)),
        (lambda x, y: power.square(lax.neg(x)), lambda x, y: power.square(x)),
        (lambda x, y: power.square(magnitude.abs(x)), lambda x, y: power.square(x)),
        (lambda x, y: power.integer_pow(x, 1), lambda x, y: x),
        (lambda x, y: lax.mul(power.integer_pow(x, 0), y), lambda x, y: y),
        (lambda x, y: guarded_mul(x, 2.0), lambda x, y: lax.mul(x, 2.0)),
        (lambda x, y: guarded_mul(x, 1.0), lambda x, y: x),
        (lambda x, y: lax.sub(y, guarded_mul(0.0, x)), lambda x, y: y),
        (lambda x, y: guarded_div(x, 3.0), lambda x, y: lax.div(x, 3.0)),
        (lambda x, y: lax.sub(y, guarded_div(0.0, x)), lambda x, y: y),
    ],
)
def test_floats(f, expected):
    assert_simplifies(f, expected, X, Y)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: lax.add(x, 0.0),  # turns -0.0 into 0.0
        lambda x, y: lax.sub(x, -0.0),
        lambda x, y: lax.sub(0.0, x),
        lambda x, y: lax.mul(x, 0.0),  # x may be infinite
        lambda x, y: lax.sub(x, x),
        lambda x, y: lax.div(x, x),
        lambda x, y: lax.neg(lax.sub(x, y)),  # of equal ones 0.0 and -0.0
        lambda x, y: lax.div(x, 3.0),  # 1/3 is rounded
        lambda x, y: lax.div(x, 2.0**-1074),  # has no reciprocal
        lambda x, y: lax.mul(lax.mul(x, 1e-300), 1e300),  # may underflow
        lambda x, y: lax.add(lax.add(x, 1.0), 2.0),
        lambda x, y: guarded_mul(x, y),
        lambda x, y: guarded_mul(x, np.inf),
        lambda x, y: guarded_div(x, 0.0),
    ],
)
def test_what_only_looks_like_an_identity_stays(f):
    assert_stays(f, X, Y)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda i, j: lax.add(i, 0), lambda i, j: i),
        (lambda i, j: lax.sub(0, i), lambda i, j: lax.neg(i)),
        (lambda i, j: lax.neg(lax.sub(i, j)), lambda i, j: lax.sub(j, i)),
        (lambda i, j: lax.add(lax.sub(i, i), j), lambda i, j: j),
        (lambda i, j: lax.add(lax.mul(i, 0), j), lambda i, j: j),
        (lambda i, j: lax.add(lax.add(i, 100), 100), lambda i, j: lax.add(i, -56)),
        (lambda i, j: lax.mul(lax.mul(i, 5), 7), lambda i, j: lax.mul(i, 35)),
    ],
)
def test_integers_wrap_around(f, expected):
    assert_simplifies(f, expected, K, M)


@pytest.mark.parametrize("f", [lambda z: lax.mul(z, 1.0), lambda z: lax.add(z, 0.0), lambda z: lax.sub(z, 0.0)])
def test_complex_numbers_stay(f):
    # (inf + nanj) times 1 is not itself, and -0.0 plus 0.0 is 0.0 in either part.
    assert_stays(f, Z)


def test_literals_are_folded_where_there_is_one_right_result():
    assert_simplifies(lambda x: lax.mul(lax.add(splat(0.1), splat(0.2)), x), lambda x: lax.mul(0.1 + 0.2, x), X)
    assert_simplifies(
        lambda k: bitwise.bitwise_and(k, lax.neg(Literal(6, Aval((5,), np.dtype(np.int8))))),
        lambda k: bitwise.bitwise_and(k, -6),
        K,
    )
    assert_simplifies(
        lambda x: lax.mul(x, lax.sin(splat(0.1))), lambda x: lax.mul(x, lax.sin(splat(0.1))), X
    )  # rounding is the library's


def splat(number):
    return Literal(number, Aval(X.shape, X.dtype))
