"""Sums of padded arrays as one equation: which are found, that the bits stay, and that the work is linear."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from functrans.ops.padded_sums import sum_padded
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.padded_sums import sum_padded_arrays
from functrans.passes.pipeline import finalize
from tests.test_passes.programs import SPECIAL, assert_becomes, assert_same_bits, eval_directly, program_of

A, B, C = np.array(SPECIAL[:3]), np.array(SPECIAL[3:7]), np.array(SPECIAL)
WHOLE = ((0, 0, 0),)


def gathered(jaxpr):
    return eliminate_dead_code(sum_padded_arrays(jaxpr))


def padded(x, low, high, interior=0):
    return lax.pad(x, 0.0, [(low, high, interior)])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (
            lambda a, b, c: lax.add(padded(a, 0, 7), padded(b, 6, 0)),
            lambda a, b, c: sum_padded([a, b], [((0, 7, 0),), ((6, 0, 0),)]),
        ),
        (
            lambda a, b, c: lax.add(padded(a, 1, 6), lax.add(padded(b, 6, 0), padded(a, 2, 3, 1))),
            lambda a, b, c: sum_padded([b, a, a], [((6, 0, 0),), ((2, 3, 1),), ((1, 6, 0),)]),
        ),
        (
            lambda a, b, c: lax.add(lax.add(lax.add(padded(a, 7, 0), c), padded(b, 0, 6)), padded(a, 1, 6)),
            lambda a, b, c: sum_padded([a, c, b, a], [((7, 0, 0),), WHOLE, ((0, 6, 0),), ((1, 6, 0),)]),
        ),
    ],
)
def test_sums_become_one_equation(f, expected):
    assert_becomes(gathered, f, expected, A, B, C)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b, c: lax.add(padded(a, 0, 7), c),  # one alone
        lambda a, b, c: lax.add(lax.pad(a, -0.0, [(0, 7, 0)]), lax.pad(b, -0.0, [(6, 0, 0)])),
        lambda a, b, c: lax.add(lax.pad(a, 1.0, [(0, 7, 0)]), lax.pad(b, 1.0, [(6, 0, 0)])),
        lambda a, b, c: lax.add(lax.pad(c, 0.0, [(-1, 0, 0)]), lax.pad(c, 0.0, [(0, -1, 0)])),
        lambda a, b, c: lax.mul(padded(a, 0, 7), padded(b, 6, 0)),
        lambda a, b, c: lax.add(lax.add(lax.add(padded(a, 0, 7), c), lax.sin(c)), lax.cos(c)),
    ],
)
def test_other_sums_stay(f):
    program = program_of(f, A, B, C)
    assert sum_padded_arrays(program) is program


def test_what_is_used_in_between_is_kept():
    def f(a, b, c):
        first = lax.add(padded(a, 0, 7), padded(b, 6, 0))
        return lax.add(lax.add(first, padded(a, 3, 4)), padded(b, 0, 6)), lax.sin(first)

    program = program_of(f, A, B, C)
    got = gathered(program)
    assert [eqn.primitive.name for eqn in got.eqns] == ["sum_padded", "sum_padded", "sin"]
    assert_same_bits(eval_directly(got, (A, B, C)), eval_directly(program, (A, B, C)))


@given(st.data())
def test_bits_of_random_sums(data):
    n = data.draw(st.integers(1, 6))
    values = st.sampled_from((*SPECIAL, 0.1, 1e16, -3.7))

    def term():
        m = data.draw(st.integers(0, n))
        interior = data.draw(st.integers(0, (n - m) // (m - 1))) if m > 1 else data.draw(st.integers(0, 2))
        room = n - m - max(m - 1, 0) * interior
        low = data.draw(st.integers(0, room))
        return np.array(data.draw(st.lists(values, min_size=m, max_size=m)), float), (low, room - low, interior)

    terms = [term() for _ in range(data.draw(st.integers(2, 6)))]

    def f(*xs):
        total = padded(xs[0], *terms[0][1])
        for x, (_, config) in zip(xs[1:], terms[1:], strict=True):
            total = lax.add(total, padded(x, *config))
        return total

    xs = [x for x, _ in terms]
    program = program_of(f, *xs)
    assert_same_bits(eval_directly(gathered(program), xs), eval_directly(program, xs))


@pytest.mark.parametrize("read", [lambda x, i: x[i, 1], lambda x, i: x[i][2], lambda x, i: x[i : i + 2].sum()])
def test_the_derivative_of_a_loop_over_slices_is_one_sum(read):
    x = np.arange(24.0).reshape(8, 3)
    loss = lambda x: sum([np.sin(read(x, i)) * i for i in range(7)])
    program = ft.make_jaxpr(ft.grad(loss))(x).jaxpr
    final = finalize(program)
    names = [eqn.primitive.name for eqn in final.eqns]
    assert names.count("sum_padded") == 1
    assert not {"pad", "add"} & set(names)
    assert_same_bits(eval_directly(final, [x]), eval_directly(program_of(ft.grad(loss), x), [x]))
