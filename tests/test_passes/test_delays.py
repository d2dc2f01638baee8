"""Elementwise results wait for the equation that reads them, where that holds less memory."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from functrans.core.check import check_jaxpr
from functrans.passes.delays import delay_until_needed
from functrans.passes.pipeline import finalize
from tests.test_passes.programs import assert_becomes, assert_same_bits, eval_directly, program_of

X = np.linspace(0.5, 1.5, 6)


def assert_order_stays(f, *args):
    program = program_of(f, *args)
    assert delay_until_needed(program) is program


def test_a_result_waits_for_its_reader():
    def f(x):
        early, z = lax.neg(x), lax.cumsum(x)
        return z, lax.mul(z, early)

    def expected(x):
        z = lax.cumsum(x)
        return z, lax.mul(z, lax.neg(x))

    assert_becomes(delay_until_needed, f, expected, X)


def test_a_chain_waits_as_a_whole():
    def f(x):
        h = lax.tanh(x)
        factor = lax.neg(lax.mul(h, h))
        y = lax.cumsum(h)
        return h, lax.mul(y, factor)

    def expected(x):
        h = lax.tanh(x)
        y = lax.cumsum(h)
        factor = lax.neg(lax.mul(h, h))
        return h, lax.mul(y, factor)

    assert_becomes(delay_until_needed, f, expected, X)


def test_an_operand_that_is_larger_is_not_held_for_it():
    def f(x):
        h = lax.sin(x)
        mask = lax.gt(h, lax.cos(x))
        y = lax.cumsum(x)
        return lax.select(mask, y, x)

    assert_order_stays(f, X)


def test_one_operand_for_one_result_is_as_well_but_two_are_not():
    def f(x):
        a, b = lax.sin(x), lax.cos(x)
        both = lax.add(a, b)
        y = lax.cumsum(x)
        return lax.mul(both, y)

    assert_order_stays(f, X)


def test_effects_keep_their_place():
    def f(x):
        y = lax.neg(x)
        ft.debug.callback(lambda z: None, y)
        return lax.mul(lax.sin(x), y)

    assert_order_stays(f, X)


def test_what_nothing_reads_keeps_its_place():
    assert_order_stays(lambda x: (lax.neg(x), lax.cumsum(x)), X)


OPERATIONS = (
    lambda x, y: lax.add(x, y),
    lambda x, y: lax.mul(x, y),
    lambda x, y: lax.sin(x),
    lambda x, y: lax.cumsum(y),
    lambda x, y: lax.select(lax.gt(x, y), x, y),
    lambda x, y: lax.broadcast_in_dim(lax.reduce_sum(x, (0,)), (6,), ()),
)


@given(st.data())
def test_any_program_keeps_its_results(data):
    chosen = data.draw(st.lists(st.tuples(*[st.integers(0, 99)] * 3), min_size=1, max_size=25))
    kept = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=4))

    def f(x, y):
        values = [x, y]
        for operation, i, j in chosen:
            values.append(OPERATIONS[operation % len(OPERATIONS)](values[i % len(values)], values[j % len(values)]))
        return [values[i % len(values)] for i in kept]

    args = (X, np.cos(X))
    program = program_of(f, *args)
    got = delay_until_needed(program)
    check_jaxpr(got)
    assert len(got) == len(program)
    assert_same_bits(eval_directly(got, args), eval_directly(program, args))
    assert delay_until_needed(got) is got or len(delay_until_needed(got)) == len(got)


def test_a_deep_gradient_holds_one_array_a_layer():
    depth, width = 20, 128
    weights = [np.eye(width) / 2 for _ in range(depth)]

    def loss(weights, x):
        for w in weights:
            x = np.tanh(x @ w)
        return np.sum(x)

    gradient, x = ft.jit(ft.grad(loss)), np.ones((width, width))
    gradient(weights, x)
    tracemalloc.start()
    try:
        gradient(weights, x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * depth * x.nbytes


def test_the_final_form_of_a_gradient():
    def loss(w, x):
        return np.sum(np.cumsum(np.tanh(x * w)) ** 2)

    names = [eqn.primitive.name for eqn in finalize(ft.make_jaxpr(ft.grad(loss))(X, X).jaxpr).eqns]
    assert names.index("sub") > names.index("cumsum")
