"""What does not change in a loop is computed before it, and only if the loop runs."""

import warnings

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.check import check_jaxpr
from functrans.ops.scan import scan_p
from functrans.ops.while_loop import while_p
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline
from functrans.passes.invariants import hoist_invariants
from functrans.test_util import check_grads
from tests.test_passes.programs import assert_same_bits, eval_directly

W = np.linspace(-1.0, 1.0, 64).reshape(8, 8)
C = np.linspace(0.5, 1.5, 8)
XS = np.arange(40.0).reshape(5, 8) / 40


def hoisted_names(f, *args):
    """The names of the equations around the loop, and of those of its body, after the pass."""
    closed = ft.make_jaxpr(f)(*args)
    got = eliminate_dead_code(hoist_invariants(inline(closed.jaxpr)))
    check_jaxpr(got)
    values = [*args, *closed.consts]
    assert_same_bits(eval_directly(got, values), eval_directly(closed.jaxpr, values))
    around = [eqn.primitive.name for eqn in got.eqns]
    (loop,) = [eqn for eqn in got.eqns if eqn.primitive in (scan_p, while_p)]
    body = loop.params["body"] if loop.primitive is while_p else loop.params["jaxpr"]
    return around, [eqn.primitive.name for eqn in body.eqns], loop


def test_a_scan():
    around, body, loop = hoisted_names(
        lambda w, c, xs: lax.scan(lambda h, x: (np.tanh(np.exp(w) @ h + x) * c[0], h), c, xs), W, C, XS
    )
    assert around == ["exp", "slice", "reshape", "scan"] or around == ["exp", "slice", "squeeze", "scan"]
    assert body == ["dot_general", "add", "tanh", "broadcast_in_dim", "mul"]
    assert loop.params["n_consts"] == 2  # those that it took before are no longer needed


def test_an_effect_stays_where_it_is():
    def f(w, xs):
        def step(h, x):
            ft.debug.print("{}", np.sum(w))
            return h + np.sum(w) * x, None

        return lax.scan(step, xs[0], xs)[0]

    around, body, _ = hoisted_names(f, W, XS)
    assert "reduce_sum" in around
    assert "debug_callback" in body
    assert "reduce_sum" not in body


def test_a_scan_that_never_runs_computes_nothing():
    around, _, _ = hoisted_names(lambda w, xs: lax.scan(lambda h, x: (h + np.log(w), None), w, xs)[0], -W, XS[:0])
    assert around == ["scan"]


def test_a_loop_in_a_loop():
    def f(w, c, xs):
        inner = lambda x: lax.scan(lambda h, _: (h @ np.sin(w) + x, None), c, length=3)[0]
        return lax.scan(lambda h, x: (h + inner(x), None), c, xs)[0]

    around, body, _ = hoisted_names(f, W, C, XS)
    assert around == ["sin", "scan"]
    assert body == ["scan", "add"]


def loop(step, start=0):
    """As long as the number of iterations is less than the first weight."""
    return lambda w, x: lax.while_loop(lambda s: s[0] < w[0, 0], lambda s: (s[0] + 1, step(w, s[1])), (start, x))


def test_a_while():
    around, body, _ = hoisted_names(loop(lambda w, x: np.maximum(-w, 0.0) @ x), W + 4.0, C)
    assert "cond" not in around
    assert around[-3:] == ["neg", "max", "while"]  # these can do no harm
    assert body == ["add", "dot_general"]
    around, body, _ = hoisted_names(loop(lambda w, x: np.tanh(w @ w) @ x), W + 4.0, C)
    assert around[-3:] == ["lt", "cond", "while"]
    assert body == ["add", "dot_general"]


def test_a_while_that_runs_for_sure():
    f = lambda w, x: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.exp(w) @ s[1]), (0, x))
    around, body, _ = hoisted_names(f, W, C)
    assert around == ["exp", "while"]
    assert body == ["add", "dot_general"]


def test_what_costs_less_than_a_test_stays_in_a_while():
    around, body, _ = hoisted_names(loop(lambda w, x: w[0, 0] * w[0, 1] * x), W + 4.0, C)
    assert "cond" not in around
    assert "mul" in body


def test_the_condition_of_a_while():
    f = lambda w, x: lax.while_loop(lambda x: np.sum(x) < np.sum(w * w), lambda x: x * 2.0, x)
    around, _, loop = hoisted_names(f, W, C)
    assert around == ["mul", "reduce_sum", "while"]
    assert [eqn.primitive.name for eqn in loop.params["cond"].eqns] == ["reduce_sum", "lt"]


@pytest.mark.parametrize("step", [lambda w, x: x + np.log(-w)[0], lambda w, x: x + np.exp(w * 1e300)[0]])
def test_a_while_that_never_runs_warns_of_nothing(step):
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert_same_bits(ft.jit(loop(step, start=2))(W + 3.0, C), (2, C))
    with np.errstate(all="ignore"):
        n, x = ft.jit(loop(step))(W + 3.0, C)
        assert n == 2
        np.testing.assert_array_equal(x, step(W + 3.0, step(W + 3.0, C)))


def test_derivatives_of_loops_with_invariants():
    def f(w, c):
        scanned = lax.scan(lambda h, x: (np.tanh(np.sin(w) @ h + x), None), c, XS)[0]
        return np.sum(lax.fori_loop(0, 3, lambda i, h: np.cos(np.sin(w) @ h), scanned))

    for wrt in (0, 1):
        np.testing.assert_array_equal(ft.jit(ft.grad(f, wrt))(W, C), ft.grad(f, wrt)(W, C))
    check_grads(f, (W, C), 2)
