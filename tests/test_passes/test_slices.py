"""Slices of what was sliced, padded, joined or broadcast; pads and concatenations that do nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.ops.indexing import GatherDimensionNumbers, gather
from functrans.passes.pipeline import simplified
from functrans.passes.simplify import simplify_final
from tests.test_passes.programs import (
    assert_same_bits,
    assert_simplifies,
    assert_stays,
    eval_directly,
    program_of,
)

X = np.arange(24.0).reshape(4, 6)
V = np.array([-0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
ROW = GatherDimensionNumbers((0,), (0,), (0,))


def part(x, start, stop, stride=1, axis=0):
    return lax.slice_in_dim(x, start, stop, stride, axis)


def padded(x, *config, value=0.0):
    return lax.pad(x, value, [config])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, v: part(part(v, 1, 6), 1, 4), lambda x, v: part(v, 2, 5)),
        (lambda x, v: part(part(v, 0, 6, 2), 1, 3), lambda x, v: lax.slice(v, (2,), (5,), (2,))),
        (lambda x, v: part(part(x, 1, 3), 2, 4, axis=1), lambda x, v: lax.slice(x, (1, 2), (3, 4))),
        (lambda x, v: part(spread(v, (4, 6), (1,)), 1, 3), lambda x, v: spread(v, (2, 6), (1,))),
        (lambda x, v: part(spread(v, (4, 6), (1,)), 1, 3, axis=1), lambda x, v: spread(part(v, 1, 3), (4, 2), (1,))),
        (lambda x, v: part(padded(v, 2, 3, 0), 2, 8), lambda x, v: v),
        (lambda x, v: part(padded(v, 2, 3, 0), 3, 6), lambda x, v: part(v, 1, 4)),
        (lambda x, v: part(padded(v, 1, 0, 1), 1, 12, 2), lambda x, v: v),
        (lambda x, v: lax.mul(part(padded(v, 2, 3, 0, value=1.0), 8, 11), part(v, 0, 3)), lambda x, v: part(v, 0, 3)),
        (lambda x, v: padded(padded(v, 1, 2, 1), 3, 0, 0), lambda x, v: padded(v, 4, 2, 1)),
        (
            lambda x, v: lax.pad(lax.expand_dims(padded(v, 1, 2, 0), (0,)), 0.0, [(2, 1, 0), (0, 0, 0)]),
            lambda x, v: lax.pad(lax.expand_dims(v, (0,)), 0.0, [(2, 1, 0), (1, 2, 0)]),
        ),
        (lambda x, v: lax.concatenate([part(v, 0, 2), part(v, 2, 5)], 0), lambda x, v: part(v, 0, 5)),
        (lambda x, v: lax.concatenate([part(v, 0, 2), part(v, 2, 6)], 0), lambda x, v: v),
        (lambda x, v: lax.concatenate([v, part(v, 2, 2)], 0), lambda x, v: v),
        (lambda x, v: lax.dynamic_slice(v, [2], (3,)), lambda x, v: part(v, 2, 5)),
        (lambda x, v: lax.dynamic_slice(v, [-3], (2,)), lambda x, v: part(v, 3, 5)),
        (lambda x, v: lax.dynamic_slice(v, [5], (4,)), lambda x, v: part(v, 2, 6)),
        (lambda x, v: lax.dynamic_update_slice(v, lax.neg(v), [1]), lambda x, v: lax.neg(v)),
        (lambda x, v: gather(x, literal(2), ROW, (1, 6)), lambda x, v: lax.reshape(part(x, 2, 3), (6,))),
        (lambda x, v: gather(x, literal(9), ROW, (1, 6), mode="clip"), lambda x, v: lax.reshape(part(x, 3, 4), (6,))),
    ],
)
def test_slices(f, expected):
    assert_simplifies(f, expected, X, V)


def spread(x, shape, dims):
    return lax.broadcast_in_dim(x, shape, dims)


def literal(index):
    return Literal(index, Aval((1,), np.dtype(int)))


def test_slices_of_joined_arrays_are_read_where_they_were_in_the_final_form_alone():
    f = lambda x, v: part(lax.concatenate([v, lax.neg(v), v], 0), 7, 11, 2)
    assert_simplifies(f, lambda x, v: part(lax.neg(v), 1, 4, 2), X, V, rules=simplify_final)
    assert_stays(f, X, V)
    across = program_of(lambda x, v: part(lax.concatenate([v, lax.neg(v)], 0), 5, 8), X, V)
    assert simplify_final(across) is across


@pytest.mark.parametrize(
    "f",
    [
        lambda x, v: part(padded(v, 2, 3, 0), 1, 4),
        lambda x, v: part(padded(v, 0, 0, 1), 0, 11, 3),
        lambda x, v: padded(padded(v, 1, 2, 0), 1, 0, 0, value=1.0),
        lambda x, v: padded(padded(v, 1, 2, 0), -2, 0, 0),
        lambda x, v: padded(padded(v, 1, 2, 0), 0, 0, 1),
        lambda x, v: lax.concatenate([part(v, 2, 4), part(v, 0, 2)], 0),
        lambda x, v: lax.concatenate([part(v, 0, 2), part(v, 3, 5)], 0),
        lambda x, v: gather(x, literal(9), ROW, (1, 6)),
    ],
)
def test_what_is_something_else_stays(f):
    assert_stays(f, X, V)


@given(st.data())
def test_random_chains(data):
    x = np.array([[-0.0, 1.0, np.inf], [3.0, np.nan, 5.0]])
    steps = [data.draw(st.sampled_from(["slice", "pad", "twice", "lift", "drop", "spread", "rev"])) for _ in range(5)]
    number = data.draw(st.integers(0, 2**32 - 1))

    def f(x):
        rng = np.random.default_rng(number)
        for step in steps:
            axis = int(rng.integers(x.ndim))
            n = x.shape[axis]
            if step == "slice" and n:
                start, stop = sorted(rng.integers(0, n + 1, 2).tolist())
                x = part(x, start, stop, int(rng.integers(1, 3)), axis)
            elif step == "pad" and x.size < 100:
                config = [(0, 0, 0)] * x.ndim
                config[axis] = tuple(rng.integers(0, 3, 3).tolist())
                x = lax.pad(x, float(rng.choice([0.0, 0.0, -0.0])), config)
            elif step == "twice" and x.size < 100:
                x = lax.concatenate([x, part(x, 0, n // 2, axis=axis), x], axis)
            elif step == "lift" and x.ndim < 4:
                x = lax.expand_dims(x, (axis,))
            elif step == "drop" and x.ndim > 1 and n == 1:
                x = lax.squeeze(x, (axis,))
            elif step == "spread" and x.ndim < 4 and x.size < 100:
                x = spread(x, (2, *x.shape), range(1, x.ndim + 1))
            elif step == "rev":
                x = lax.rev(x, (axis,))
        return x

    program = program_of(f, x)
    expected = eval_directly(program, [x])
    assert_same_bits(eval_directly(simplified(program), [x]), expected)
    assert_same_bits(eval_directly(simplify_final(program), [x]), expected)
