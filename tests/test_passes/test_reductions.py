"""Reductions of what was stretched, and of literals."""

import numpy as np
import pytest

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.ops.reductions import reduce_and, reduce_max, reduce_min
from functrans.ops.shape import reduce_sum
from tests.test_passes.programs import assert_simplifies, assert_stays

V = np.array([-0.0, 1.5, np.nan])
K = np.array([-128, 3, 100], np.int8)
B = K > 0


def spread(x, shape=(4, 3), dims=(1,)):
    return lax.broadcast_in_dim(x, shape, dims)


def full(value, shape, dtype=float):
    return Literal(value, Aval(shape, np.dtype(dtype)))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda v, k, b: reduce_max(spread(v), (0,)), lambda v, k, b: v),
        (lambda v, k, b: reduce_min(spread(v, (4, 2, 3), (2,)), (0,)), lambda v, k, b: spread(v, (2, 3), (1,))),
        (lambda v, k, b: reduce_and(spread(b), (0,)), lambda v, k, b: b),
        (lambda v, k, b: reduce_max(lax.reshape(v, (1, 3)), (0,)), lambda v, k, b: v),
        (lambda v, k, b: reduce_sum(lax.reshape(k, (1, 3)), (0,)), lambda v, k, b: k),
        (lambda v, k, b: reduce_sum(spread(k), (0,)), lambda v, k, b: lax.mul(k, 4)),
        (lambda v, k, b: reduce_sum(spread(k, (200, 3)), (0,)), lambda v, k, b: lax.mul(k, -56)),
        (lambda v, k, b: lax.mul(v, reduce_sum(full(0.5, (8, 3)), (0,))), lambda v, k, b: lax.mul(v, 4.0)),
        (lambda v, k, b: lax.mul(v, reduce_max(full(2.5, (8, 3)), (0,))), lambda v, k, b: lax.mul(v, 2.5)),
        (lambda v, k, b: lax.add(v, reduce_sum(full(-0.0, (8, 3)), (0,))), lambda v, k, b: lax.add(v, 0.0)),
    ],
)
def test_of_equal_numbers(f, expected):
    assert_simplifies(f, expected, V, K, B)


@pytest.mark.parametrize(
    "f",
    [
        lambda v, k, b: reduce_sum(spread(v), (0,)),  # partial sums are rounded
        lambda v, k, b: reduce_sum(lax.reshape(v, (1, 3)), (0,)),  # the sum of -0.0 is 0.0
        lambda v, k, b: reduce_max(spread(v), (1,)),
        lambda v, k, b: reduce_max(spread(v), (0, 1)),
        lambda v, k, b: lax.mul(v, reduce_sum(full(0.1, (8, 3)), (0,))),
        lambda v, k, b: lax.mul(v, reduce_sum(full(np.inf, (8, 3)), (0,))),
    ],
)
def test_what_is_rounded_or_does_more_stays(f):
    assert_stays(f, V, K, B)


def test_of_no_numbers_there_is_no_maximum():
    with pytest.raises(ValueError, match="zero-size"):
        reduce_max(np.ones((0, 3)), (0,))
