"""Changes of shape that follow each other."""

import numpy as np
import pytest

from functrans import lax
from tests.test_passes.programs import assert_simplifies, assert_stays

X = np.arange(6.0).reshape(2, 3)
V = np.arange(3.0)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, v: lax.reshape(lax.reshape(x, (6,)), (2, 3)), lambda x, v: x),
        (lambda x, v: lax.reshape(lax.reshape(x, (6,)), (3, 2)), lambda x, v: lax.reshape(x, (3, 2))),
        (lambda x, v: lax.squeeze(lax.expand_dims(x, (1,)), (1,)), lambda x, v: x),
        (lambda x, v: lax.squeeze(lax.expand_dims(x, (0, 1)), (0,)), lambda x, v: lax.reshape(x, (1, 2, 3))),
        (lambda x, v: lax.transpose(lax.transpose(x, (1, 0)), (1, 0)), lambda x, v: x),
        (
            lambda x, v: lax.transpose(lax.transpose(spread(x, (4, 2, 3), (1, 2)), (1, 2, 0)), (1, 0, 2)),
            lambda x, v: lax.transpose(spread(x, (2, 3, 4), (0, 1)), (1, 0, 2)),
        ),
        (lambda x, v: lax.transpose(lax.expand_dims(x, (0,)), (1, 0, 2)), lambda x, v: lax.reshape(x, (2, 1, 3))),
        (lambda x, v: lax.transpose(spread(v, (4, 3), (1,)), (1, 0)), lambda x, v: spread(v, (3, 4), (0,))),
        (
            lambda x, v: spread(spread(x, (4, 2, 3), (1, 2)), (4, 2, 5, 3), (0, 1, 3)),
            lambda x, v: spread(x, (4, 2, 5, 3), (1, 3)),
        ),
        (lambda x, v: spread(lax.expand_dims(v, (0,)), (4, 3), (0, 1)), lambda x, v: spread(v, (4, 3), (1,))),
        (lambda x, v: spread(v, (1, 3, 1), (1,)), lambda x, v: lax.reshape(v, (1, 3, 1))),
        (lambda x, v: lax.expand_dims(spread(v, (4, 3), (1,)), (0,)), lambda x, v: spread(v, (1, 4, 3), (2,))),
        (lambda x, v: lax.squeeze(spread(v, (1, 4, 3), (2,)), (0,)), lambda x, v: spread(v, (4, 3), (1,))),
        (lambda x, v: lax.rev(lax.rev(x, (0, 1)), (1,)), lambda x, v: lax.rev(x, (0,))),
        (lambda x, v: lax.rev(lax.rev(x, (0,)), (0,)), lambda x, v: x),
    ],
)
def test_chains(f, expected):
    assert_simplifies(f, expected, X, V)


def spread(x, shape, dims):
    return lax.broadcast_in_dim(x, shape, dims)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, v: lax.reshape(lax.transpose(x, (1, 0)), (2, 3)),
        lambda x, v: lax.transpose(lax.reshape(x, (3, 2)), (1, 0)),
        lambda x, v: lax.reshape(spread(v, (4, 3), (1,)), (12,)),
        lambda x, v: spread(lax.reshape(x, (6,)), (4, 6), (1,)),
    ],
)
def test_what_moves_elements_stays(f):
    assert_stays(f, X, V)
