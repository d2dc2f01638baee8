"""The rules of scan: against Python loops under nested transformations, and what they keep and compute."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.control.scan_bodies import has_guards
from functrans.control.scan_plan import make_plan
from functrans.core.jaxpr import cached_equations
from functrans.test_util import check_grads
from functrans.transforms.linearize import linearize

RNG = np.random.default_rng(0)
W, U, B = RNG.normal(size=(4, 4)) / 2, RNG.normal(size=(3, 4)), RNG.normal(size=4)
H0, XS = RNG.normal(size=(2, 4)), RNG.normal(size=(5, 2, 3))


def python_scan(f, init, xs, reverse=False):
    """The meaning of scan."""
    carry, ys = init, [None] * len(xs)
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[i] = f(carry, xs[i])
    return carry, np.stack(ys)


def rnn(scan, params, h, xs):
    w, u, b = params

    def body(h, x):
        h = np.tanh(h @ w + x @ u + b)
        return h, h

    return scan(body, h, xs)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(scan, params, h, xs):
    w, u, b = params
    n = h.shape[-1]
    w, u, b = [np.concatenate([p, -p, p * 0.5, p + 1.0], -1) for p in (w, u, b)]

    def body(carry, x):
        h, c = carry
        z = h @ w + x @ u + b
        i, f, g, o = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h

    (h, c), hs = scan(body, (h, h * 0.5), xs)
    return h + c, hs


def delays(scan, params, h, xs):
    """A carry that moves along, one that never changes, an integer, and one that only sums."""
    w, _, _ = params

    def body(carry, x):
        a, b, still, count, total = carry
        new = np.sin(a @ w) * still[:, :1] + count * np.sum(x)
        return (new, a, still, count + 1, total + b * a), b * new

    (a, b, _, _, total), ys = scan(body, (h, h * 2.0, h, np.int64(0), h * 0.0), xs)
    return a * b + total, ys


def backwards(scan, params, h, xs):
    w, u, _ = params
    return scan(lambda h, x: (np.cos(h @ w + x @ u), h * h), h, xs, reverse=True)


def nested(scan, params, h, xs):
    w, u, _ = params

    def outer(h, x):
        h, ys = scan(lambda h, v: (np.sin(h @ w) * v, h), h, np.stack([x @ u, x @ u * 0.5]))
        return h, np.sum(ys * h, 0)

    return scan(outer, h, xs)


MODELS = [rnn, lstm, delays, backwards, nested]


def loss_of(model, scan):
    def loss(params, h, xs):
        last, ys = model(scan, params, h, xs)
        return np.sum(last**2) + np.sum(np.sin(ys))

    return loss


def stacked_h(f):
    return lambda p, h, x: ft.vmap(f, (None, 0, None))(p, np.stack([h, h * 2.0]), x)


TRANSFORMATIONS = {
    "value": lambda f: f,
    "grad": lambda f: ft.grad(f, (0, 1, 2)),
    "jit": lambda f: ft.jit(f),
    "jit grad": lambda f: ft.jit(ft.grad(f, (0, 1))),
    "jvp": lambda f: lambda *args: ft.jvp(f, args, args),
    "linearize": lambda f: lambda *args: ft.linearize(f, *args)[1](*args),
    "vjp of some": lambda f: lambda p, h, x: ft.vjp(lambda w: f((w, *p[1:]), h, x), p[0])[1](1.0),
    "hessian": lambda f: ft.hessian(f, 1),
    "reverse over reverse": lambda f: ft.jacrev(ft.jacrev(f, 1), 1),
    "forward over forward": lambda f: ft.jacfwd(ft.jacfwd(f, 1), 1),
    "third": lambda f: lambda p, h, x: ft.grad(lambda h: np.sum(ft.hessian(f, 1)(p, h, x)))(h),
    "vmap carry": stacked_h,
    "vmap rows": lambda f: lambda p, h, x: ft.vmap(f, (None, None, 2))(p, h, np.stack([x, x + 1.0], 2)),
    "vmap const": lambda f: (
        lambda p, h, x: ft.vmap(f, ((1, None, None), None, None))((np.stack([p[0], p[0].T], 1), *p[1:]), h, x)
    ),
    "vmap grad": lambda f: stacked_h(ft.grad(f, (0, 1))),
    "grad vmap": lambda f: ft.grad(lambda p, h, x: np.sum(stacked_h(f)(p, h, x) ** 2), (0, 2)),
    "jit vmap grad": lambda f: ft.jit(stacked_h(ft.grad(f))),
    "checkpoint": lambda f: ft.grad(ft.checkpoint(f)),
}


def assert_close(actual, expected):
    actual, expected = ft.tree.leaves(actual), ft.tree.leaves(expected)
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_is_a_loop(model, name):
    args = ((W, U, B), H0, XS[:3])
    transformed = TRANSFORMATIONS[name]
    assert_close(transformed(loss_of(model, lax.scan))(*args), transformed(loss_of(model, python_scan))(*args))


# --------------------------------------------------------------------------------------------------------------------
# Residuals


def stacked_residuals(f, *args):
    """How many stacks linearizing keeps beyond the inputs and outputs, and what else it keeps."""
    jaxpr = ft.make_jaxpr(f)(*args).jaxpr
    lin = linearize(jaxpr, tuple([aval.inexact for aval in jaxpr.in_avals]))
    kept = lin.primal.out_avals[len(jaxpr.outs) :]
    return Counter([aval.shape for aval in kept])


def test_an_rnn_keeps_one_array_a_step():
    kept = stacked_residuals(lambda *args: rnn(lax.scan, *args), (W, U, B), H0, XS)
    assert kept == {(6, 2, 4): 1}  # the states before, which are those after, shifted, and the first


def test_an_rnn_without_its_states_keeps_them_once():
    kept = stacked_residuals(lambda *args: rnn(lax.scan, *args)[0], (W, U, B), H0, XS)
    assert kept == {(6, 2, 4): 1}  # before and after are views of one array


def test_an_lstm_keeps_what_a_careful_person_keeps():
    # Four gates, the cells before, tanh of the cells after, the states before.
    def f(w, u, b, h, c, xs):
        def body(carry, x):
            h, c = carry
            i, f, g, o = np.split(h @ w + x @ u + b, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            return (h, c), h

        return lax.scan(body, (h, c), xs)

    w, u, b = [np.concatenate([p] * 4, -1) for p in (W, U, B)]
    assert stacked_residuals(f, w, u, b, H0, H0, XS) == {(5, 2, 4): 7}


def test_rows_and_constants_are_not_stacked():
    def f(a, xs):
        return lax.scan(lambda c, x: (c + np.sin(a) * x * x, c), 1.0, xs)

    kept = stacked_residuals(f, 2.0, np.ones(5))
    assert kept == {(): 2}  # sin a and cos a, computed once


def test_memory_of_a_gradient():
    n, width = 200, 500
    xs = RNG.normal(size=(n, width))
    loss = ft.jit(ft.grad(lambda w: np.sum(lax.scan(lambda h, x: (np.tanh(h * w + x),) * 2, xs[0], xs)[1])))
    loss(xs[1])
    tracemalloc.start()
    try:
        loss(xs[1])
        stacks = tracemalloc.get_traced_memory()[1] / xs.nbytes
    finally:
        tracemalloc.stop()
    # The states; those before, of which `concatenate` makes a copy; slopes and cotangents that go ahead of the loop.
    assert stacks < 6.5


def test_residuals_with_a_loop_inside():
    def f(w, x):
        def body(c, t):
            _, c = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.sin(s[1] * w) + t), (0, c))
            return c, c * t

        return lax.scan(body, x, np.arange(1.0, 4.0))

    if hasattr(lax, "while_loop"):
        expected = ft.grad(lambda w, x: np.sum(unrolled(w, x)), (0, 1))(0.7, 0.3)
        assert_close(ft.grad(lambda w, x: np.sum(f(w, x)[1]), (0, 1))(0.7, 0.3), expected)
        batched = ft.vmap(ft.grad(lambda w, x: np.sum(f(w, x)[1])), (None, 0))(0.7, np.array([0.3, 0.5]))
        np.testing.assert_allclose(batched[0], expected[0])


def unrolled(w, c):
    ys = []
    for t in (1.0, 2.0, 3.0):
        for _ in range(3):
            c = np.sin(c * w) + t
        ys.append(c * t)
    return np.stack(ys)


def test_what_nobody_uses_is_not_computed():
    def f(w, xs):
        def body(carry, x):
            h, unused, needed = carry
            return (np.sin(h * w) + needed, unused * x, np.cos(needed * x)), (h * x, np.exp(unused))

        (h, _, _), (ys, _) = lax.scan(body, (w, 1.0, 2.0), xs)
        return h + np.sum(ys)

    xs = np.arange(1.0, 4.0)
    scans = [e for e in ft.make_jaxpr(ft.grad(f))(0.5, xs).jaxpr.eqns if e.primitive is lax.scan_p]
    assert [e.params["n_carry"] for e in scans] == [2, 2]
    assert not any([e.primitive.name == "exp" for scan in scans for e in scan.params["jaxpr"].eqns])
    assert [aval.shape for aval in scans[0].out_avals] == [(), (), (3,), (3,)]  # h before, and the cosine of h * w
    check_grads(f, (0.5, xs), order=2)


# --------------------------------------------------------------------------------------------------------------------
# Transposition


def test_transposes_a_scan_with_a_counter():
    table = np.array([1.0, 2.0, 3.0])

    def f(x):
        def body(carry, row):
            i, h = carry
            return (i + 1, h * ft.numpy.take(table, i) + row), h

        (_, h), ys = lax.scan(body, (0, x[0]), x)
        return h, ys

    x, ct = RNG.normal(size=(3, 2)), (RNG.normal(size=2), RNG.normal(size=(3, 2)))
    (found,) = ft.linear_transpose(f, x)(ct)
    np.testing.assert_allclose(found, ft.vjp(f, x)[1](ct)[0])


def test_transposes_a_derivative():
    def f(x):
        return lax.scan(lambda c, t: (np.sin(c) * t, c), x, np.arange(1.0, 4.0))[0]

    (found,) = ft.linear_transpose(lambda v: ft.jvp(f, (0.3,), (v,))[1], 1.0)(1.0)
    np.testing.assert_allclose(found, ft.grad(f)(0.3))


def test_zeros_that_a_selection_placed_stay_zero():
    def f(x):
        def body(c, t):
            return np.where(c > 10.0, c * t, np.sqrt(np.where(c > 10.0, 4.0, 1.0)) * c), c

        return lax.scan(body, x, np.ones(3))[0]

    def risky(x):
        return lax.scan(lambda c, t: (np.where(c > 0.0, c * t, np.sqrt(np.abs(c))), c), x, np.ones(3))[0]

    check_grads(f, (2.0,), order=2)
    with np.errstate(divide="ignore"):
        assert (
            ft.grad(lambda x: lax.scan(lambda c, t: (np.where(x > 0, np.sqrt(x), 0.0) + c, c), 0.0, length=2)[0])(0.0)
            == 0.0
        )
        assert ft.grad(risky)(2.0) == 1.0


def test_a_gradient_that_is_nan_is_computed_with_guards():
    # The optimistic run, with plain products, gives 0 * inf in the iteration that the selection did not take.
    def f(x, xs):
        return np.sum(lax.scan(lambda c, t: (c + x, np.where(t > 0.0, np.sqrt(t * x), 0.0)), 0.0, xs)[1])

    with np.errstate(divide="ignore"):
        assert ft.grad(f)(4.0, np.array([0.0, 1.0])) == 0.25
    jaxpr = ft.make_jaxpr(ft.grad(f))(4.0, np.array([0.0, 1.0])).jaxpr
    bodies = [eqn.params["jaxpr"] for eqn in jaxpr.eqns if eqn.primitive is lax.scan_p]
    assert has_guards(bodies[-1])


def test_a_nan_that_would_not_be_seen_is_never_made():
    # A comparison would hide that the optimistic run has made a NaN.
    gradient = ft.grad(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0))

    def body(c, x):
        g = gradient(x)
        return c + np.where(g >= 0.0, 1.0, -1.0), np.where(np.isnan(g), 5.0, g)

    with np.errstate(divide="ignore"):
        total, gradients = lax.scan(body, 0.0, np.array([0.0, 4.0]))
    assert total == 2.0
    assert gradients.tolist() == [0.0, 0.25]


# --------------------------------------------------------------------------------------------------------------------
# Plans


def body_of(f, *args):
    (eqn,) = [e for e in ft.make_jaxpr(f)(*args).jaxpr.eqns if e.primitive is lax.scan_p]
    return eqn.params["jaxpr"], eqn.params["n_consts"], eqn.params["n_carry"], eqn.params["length"]


def test_what_hangs_on_rows_alone_runs_ahead():
    plan = make_plan(*body_of(lambda xs: lax.scan(lambda c, x: (c + np.sin(x), np.cos(x)), 0.0, xs), np.ones(5)))
    assert plan.ahead is not None
    assert plan.written == []


def test_a_map_of_small_rows_needs_no_loop():
    plan = make_plan(*body_of(lambda xs: lax.map(np.sin, xs), np.ones(5)))
    assert plan.loop is None
    large = np.ones((5, 10_000))
    assert make_plan(*body_of(lambda xs: lax.map(np.sin, xs), large)).ahead is None


def test_cotangents_of_weights_are_summed_up_after_the_loop():
    loss = loss_of(rnn, lax.scan)
    jaxpr = ft.make_jaxpr(ft.grad(loss))((W, U, B), H0, XS).jaxpr
    params = [eqn.params for eqn in jaxpr.eqns if eqn.primitive is lax.scan_p][-1]
    plan = make_plan(params["jaxpr"], params["n_consts"], params["n_carry"], params["length"])
    assert len(plan.carry) == 1
    assert len(plan.summed) == 3


# --------------------------------------------------------------------------------------------------------------------
# Values


def test_outputs_share_no_memory():
    a, xs = np.ones(3), np.ones((2, 3))
    outs = [
        *ft.tree.leaves(lax.scan(lambda c, x: ((c[1], c[0]), (x, x, c[0])), (a, a), xs)),
        *ft.tree.leaves(lax.scan(lambda c, x: (x, np.sin(x)), a, xs)),
        *ft.tree.leaves(lax.scan(lambda c, x: (c, None), a, xs[:0])),
        *ft.tree.leaves(lax.map(lambda x: (x, x[None], np.broadcast_to(a, (2, 3))), xs)),
    ]
    for number, x in enumerate(outs):
        assert x.flags.writeable
        for other in [a, xs, *outs[:number]]:
            assert not np.shares_memory(x, other)


def test_a_body_defined_anew_is_the_same_program():
    def run():
        return ft.grad(lambda w: lax.scan(lambda c, t: (np.sin(c * w * 0.3) + t, c * w), 1.0, np.arange(4.0))[0])(0.7)

    first = run()
    before = cached_equations()
    assert [run() for _ in range(3)] == [first] * 3
    assert cached_equations() == before


def test_collectives_inside():
    x = np.arange(6.0).reshape(2, 3)

    def f(row):
        return lax.scan(lambda c, v: (c + lax.psum(v, "i"), lax.psum(c * v, "i")), 1.0, row)

    last, ys = ft.vmap(f, axis_name="i")(x)
    sums = x.sum(0)
    np.testing.assert_allclose(last, [1.0 + sums.sum()] * 2)
    np.testing.assert_allclose(ys, [(1.0 + np.cumsum(sums) - sums) * sums] * 2)


def test_effects_happen_in_order(capsys):
    lax.scan(lambda c, x: (ft.debug.print("{} {}", c, x) or c + x, None), 0.0, np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "0.0 1.0\n1.0 2.0\n"
