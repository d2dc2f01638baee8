"""Transposes that products do without, with the same bits, and those that they keep."""

import numpy as np
import pytest

from functrans import lax
from functrans.ops.guarded import guarded_dot_general
from functrans.ops.shape import transpose
from tests.test_passes.programs import assert_simplifies, assert_stays

rng = np.random.default_rng(0)
A, B, V = rng.normal(size=(37, 19)), rng.normal(size=(37, 23)), rng.normal(size=37)
S, T = rng.normal(size=(3, 5, 7)), rng.normal(size=(3, 5, 4))

MATMUL = (((1,), (0,)), ((), ()))
STACKED = (((2,), (1,)), ((0,), (0,)))


@pytest.mark.parametrize("dot", [lax.dot_general, guarded_dot_general])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int32"])
def test_products_of_transposed_matrices(dot, dtype):
    if dtype == "int32" and dot is guarded_dot_general:
        dot = lax.dot_general
    a, b, v = [(x * 10).astype(dtype) for x in (A, B, V)]
    flipped = lambda x: transpose(x, (1, 0))
    assert_simplifies(lambda a, b: dot(flipped(a), b, MATMUL), lambda a, b: dot(a, b, (((0,), (0,)), ((), ()))), a, b)
    assert_simplifies(
        lambda a, b: dot(flipped(b), flipped(a), (((1,), (1,)), ((), ()))),
        lambda a, b: dot(b, a, (((0,), (0,)), ((), ()))),
        a,
        b,
    )
    assert_simplifies(lambda a, v: dot(flipped(a), v, MATMUL), lambda a, v: dot(a, v, (((0,), (0,)), ((), ()))), a, v)


def test_stacks_of_matrices():
    assert_simplifies(
        lambda s, t: lax.dot_general(transpose(s, (0, 2, 1)), t, STACKED),
        lambda s, t: lax.dot_general(s, t, (((1,), (1,)), ((0,), (0,)))),
        S,
        T,
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda s, t: lax.dot_general(transpose(s, (2, 1, 0)), t, (((1, 2), (1, 0)), ((), ()))),
        lambda s, t: lax.dot_general(transpose(s, (2, 0, 1)), t, (((2,), (1,)), ((), ()))),
        lambda s, t: transpose(lax.dot_general(s, t, (((1,), (1,)), ((0,), (0,)))), (0, 2, 1)),
    ],
)
def test_where_blas_would_be_called_otherwise_they_stay(f):
    assert_stays(f, S, T)
