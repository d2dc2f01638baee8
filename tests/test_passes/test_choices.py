"""Selections, comparisons, extremes and bits."""

import numpy as np
import pytest

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.ops.bitwise import bitwise_and, bitwise_not, bitwise_or, bitwise_xor
from functrans.ops.comparison import select_n
from tests.test_passes.programs import SPECIAL, assert_simplifies, assert_stays

X = np.array(SPECIAL)
Y = X[::-1].copy()
P = np.arange(10) % 3 == 0
K, M = np.array([-128, -1, 0, 3, 127], np.int8), np.array([1, -128, 0, 3, 100], np.int8)
TRUE, FALSE = [Literal(value, Aval((10,), np.dtype(bool))) for value in (True, False)]
SEVEN = Literal(7, Aval((10,), np.dtype(int)))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda p, x, y: lax.select(TRUE, x, y), lambda p, x, y: x),
        (lambda p, x, y: lax.select(FALSE, x, y), lambda p, x, y: y),
        (lambda p, x, y: lax.select(p, x, x), lambda p, x, y: x),
        (lambda p, x, y: lax.select(bitwise_not(p), x, y), lambda p, x, y: lax.select(p, y, x)),
        (lambda p, x, y: lax.select(p, lax.select(p, x, 0.0), y), lambda p, x, y: lax.select(p, x, y)),
        (lambda p, x, y: lax.select(p, x, lax.select(p, 0.0, y)), lambda p, x, y: lax.select(p, x, y)),
        (lambda p, x, y: select_n(SEVEN, x, 0.0, y), lambda p, x, y: y),
        (lambda p, x, y: lax.max(x, x), lambda p, x, y: x),
        (lambda p, x, y: lax.min(x, x), lambda p, x, y: x),
        (lambda p, x, y: bitwise_not(bitwise_not(p)), lambda p, x, y: p),
        (lambda p, x, y: bitwise_not(lax.eq(x, y)), lambda p, x, y: lax.ne(x, y)),
        (lambda p, x, y: bitwise_and(p, TRUE), lambda p, x, y: p),
        (lambda p, x, y: bitwise_or(bitwise_and(p, FALSE), lax.lt(x, y)), lambda p, x, y: lax.lt(x, y)),
        (lambda p, x, y: bitwise_xor(bitwise_xor(p, p), p), lambda p, x, y: p),
    ],
)
def test_choices(f, expected):
    assert_simplifies(f, expected, P, X, Y)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda k, m: bitwise_not(lax.lt(k, m)), lambda k, m: lax.ge(k, m)),
        (lambda k, m: bitwise_or(lax.gt(k, k), lax.eq(k, m)), lambda k, m: lax.eq(k, m)),
        (lambda k, m: bitwise_and(lax.le(k, k), lax.eq(k, m)), lambda k, m: lax.eq(k, m)),
        (lambda k, m: bitwise_or(k, 0), lambda k, m: k),
        (lambda k, m: bitwise_and(k, -1), lambda k, m: k),
        (lambda k, m: bitwise_xor(bitwise_and(k, 0), m), lambda k, m: m),
        (lambda k, m: bitwise_and(bitwise_or(m, -1), k), lambda k, m: k),
    ],
)
def test_integers(f, expected):
    assert_simplifies(f, expected, K, M)


@pytest.mark.parametrize(
    "f",
    [
        lambda p, x, y: lax.eq(x, x),  # NaN is not equal to itself
        lambda p, x, y: lax.ne(x, x),
        lambda p, x, y: lax.le(x, x),
        lambda p, x, y: bitwise_not(lax.lt(x, y)),  # nor is it ordered
        lambda p, x, y: lax.max(x, y),
        lambda p, x, y: lax.select(p, x, lax.select(lax.lt(x, y), x, y)),
        lambda p, x, y: lax.select(p, x, y),
    ],
)
def test_what_nan_decides_stays(f):
    assert_stays(f, P, X, Y)


def test_bits_that_are_not_all_set_decide_nothing():
    assert_stays(lambda k, m: bitwise_and(k, 1), K, M)
    assert_stays(lambda k, m: bitwise_xor(k, -1), K, M)
