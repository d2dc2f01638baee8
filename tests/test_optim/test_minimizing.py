"""functrans.optim: L-BFGS against dense matrices, line searches against their conditions, and minimize."""

import numpy as np
import pytest

import functrans as ft
from functrans import optim


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def beale(x):
    return (
        (1.5 - x[0] + x[0] * x[1]) ** 2 + (2.25 - x[0] + x[0] * x[1] ** 2) ** 2 + (2.625 - x[0] + x[0] * x[1] ** 3) ** 2
    )


def quadratic(n, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    return a @ a.T + np.eye(n), rng.normal(size=n)


@pytest.mark.parametrize("scaled", [True, False])
def test_lbfgs_is_bfgs_with_dense_matrices(scaled):
    """Nocedal and Wright, eq. 6.17: H' = (I - s y'/y's) H (I - y s'/y's) + s s'/y's, from the scaled identity."""
    a, b = quadratic(5)
    memory = 3
    transformation = optim.scale_by_lbfgs(memory, scaled)
    x = np.ones(5)
    state = transformation.init({"x": x[:2], "y": x[2:]})
    pairs, old = [], None
    for step in range(7):
        g = a @ x - b
        if old is not None:
            pairs = [*pairs, (x - old[0], g - old[1])][-memory:]
        first = min(1, 1 / np.linalg.norm(g))
        gamma = (
            1.0 if not scaled else first if not pairs else pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1])
        )
        h = gamma * np.eye(5)
        for s, y in pairs:
            v = np.eye(5) - np.outer(y, s) / (y @ s)
            h = v.T @ h @ v + np.outer(s, s) / (y @ s)
        updates, state = transformation.update({"x": g[:2], "y": g[2:]}, state, {"x": x[:2], "y": x[2:]})
        np.testing.assert_allclose(np.concatenate([updates["x"], updates["y"]]), h @ g, rtol=1e-8, atol=1e-10)
        old = x, g
        x = x - 0.1 * (step + 1) * h @ g
    assert state.count == 7


def test_lbfgs_forgets_steps_without_curvature():
    transformation = optim.scale_by_lbfgs(2)
    state = transformation.init(np.zeros(2))
    for x, g in (([0.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.5, 0.0]), ([2.0, 0.0], [0.5, 0.0])):
        updates, state = transformation.update(np.array(g), state, np.array(x))
        assert np.all(np.isfinite(updates))
    assert np.all(state.weights_memory == 0)
    np.testing.assert_allclose(updates, [0.5, 0.0])


@pytest.mark.parametrize("guess", ["one", "keep"])
@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 50.0, 1e4])
@pytest.mark.parametrize(
    "f", [rosenbrock, beale, lambda x: np.sum(np.abs(x - 3) ** 1.5), lambda x: np.log1p(np.sum(x * x))]
)
def test_zoom_satisfies_the_wolfe_conditions(f, scale, guess):
    x = np.array([-1.2, 0.9])
    value, grad = ft.value_and_grad(f)(x)
    search = optim.scale_by_zoom_linesearch(40, initial_guess_strategy=guess, approx_dec_rtol=None)
    direction = -scale * grad
    updates, state = search.update(direction, search.init(x), x, value=value, grad=grad, value_fn=f)
    size, slope = float(state.learning_rate), direction @ grad
    new_value, new_grad = ft.value_and_grad(f)(x + size * direction)
    assert new_value <= value + 1e-4 * size * slope
    assert abs(new_grad @ direction) <= 0.9 * abs(slope)
    np.testing.assert_allclose(updates, size * direction)
    np.testing.assert_allclose(state.value, new_value)
    np.testing.assert_allclose(state.grad, new_grad)
    assert state.info.decrease_error == 0
    assert state.info.curvature_error == 0


def test_zoom_survives_infinities_and_ascent():
    def f(x):
        return -np.log(np.maximum(1 - x, 0.0)) + 3 * x  # not finite from 1 on

    search = optim.scale_by_zoom_linesearch(30, initial_guess_strategy="one")
    with np.errstate(all="ignore"):
        value, grad = ft.value_and_grad(f)(0.0)
        updates, state = search.update(-grad, search.init(0.0), 0.0, value=value, grad=grad, value_fn=f)
        assert f(updates) < value
        updates, state = search.update(5.0, search.init(-3.0), -3.0, value=f(-3.0), grad=1.0, value_fn=f)
        assert updates == 0  # that would ascend
    bounded = optim.scale_by_zoom_linesearch(30, max_learning_rate=0.5)
    updates, state = bounded.update(-1.0, bounded.init(0.0), 0.0, value=0.0, grad=1.0, value_fn=lambda x: x)
    assert state.learning_rate == 0.5


@pytest.mark.parametrize("store_grad", [False, True])
def test_backtracking(store_grad):
    calls = []

    def f(x, shift):
        calls.append(1)
        return np.sum((x - shift) ** 2)

    search = optim.scale_by_backtracking_linesearch(20, decrease_factor=0.5, store_grad=store_grad)
    x, shift = np.array([3.0]), 1.0
    grad = 2 * (x - shift)
    updates, state = search.update(-4 * grad, search.init(x), x, value=4.0, grad=grad, value_fn=f, shift=shift, other=2)
    assert state.learning_rate in (0.125, 0.0625)  # 1, 1/2 and 1/4 go too far
    assert len(calls) == int(state.info.num_linesearch_steps) + store_grad
    np.testing.assert_allclose(state.value, (x + updates - shift) @ (x + updates - shift))
    if store_grad:
        np.testing.assert_allclose(state.grad, 2 * (x + updates - shift))
        state = (state,)
        assert_value = optim.value_and_grad_from_state(f)(x + updates, shift, state=state)
        np.testing.assert_allclose(assert_value[0], state[0].value)
    else:
        with pytest.raises(ValueError, match="store_grad=True"):
            optim.value_and_grad_from_state(f)(x, shift, state=state)


@pytest.mark.parametrize("f", [rosenbrock, beale])
@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        optim.lbfgs(memory_size=3, linesearch=optim.scale_by_backtracking_linesearch(30, store_grad=True)),
        optim.lbfgs(linesearch=optim.scale_by_backtracking_linesearch(30)),
    ],
)
def test_minimize(f, optimizer):
    found = optim.minimize(f, np.array([-1.2 if f is rosenbrock else 1.0, 1.0]), optimizer=optimizer, tol=1e-8)
    assert found.converged
    np.testing.assert_allclose(found.params, [1, 1] if f is rosenbrock else [3, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found.grad, ft.grad(f)(found.params), atol=1e-12)
    assert found.num_steps < 80


def test_minimize_with_adam_on_trees_and_args():
    def f(params, target):
        return np.sum((params["a"] - target) ** 2) + params["b"] ** 2

    found = optim.minimize(
        f, {"a": np.zeros(2), "b": 3.0}, (np.array([1.0, 2.0]),), optimizer=optim.adam(0.3), tol=1e-3
    )
    assert found.converged
    np.testing.assert_allclose(found.params["a"], [1.0, 2.0], atol=1e-2)


def test_minimize_under_transformations():
    def solve(b):
        return optim.minimize(lambda x: rosenbrock(x) + b @ x, np.zeros(3), tol=1e-10, max_steps=60).params

    several = np.array([[0.0, 0.1, 0.2], [1.0, 0.0, -1.0]])
    alone = [solve(b) for b in several]
    np.testing.assert_allclose(ft.jit(solve)(several[0]), alone[0], rtol=1e-7)
    np.testing.assert_allclose(ft.vmap(solve)(several), alone, rtol=1e-6, atol=1e-8)
    a, b = quadratic(3)
    jacobian = ft.jacfwd(lambda b: optim.minimize(lambda x: x @ a @ x / 2 - b @ x, np.zeros(3), tol=1e-12).params)(b)
    np.testing.assert_allclose(jacobian, np.linalg.inv(a), rtol=1e-4, atol=1e-6)


def test_minimize_of_complex_and_float32():
    target = np.array([1 + 2j, -3j])
    found = optim.minimize(lambda z: np.sum(np.abs(z - target) ** 2 * np.array([1.0, 10.0])), np.zeros(2, complex))
    assert found.converged
    np.testing.assert_allclose(found.params, target, atol=1e-6)
    found = optim.minimize(rosenbrock, np.float32([-1.2, 1.0]), tol=1e-2)
    assert found.params.dtype == np.float32
    np.testing.assert_allclose(found.params, 1, atol=0.05)


def test_minimize_stops():
    with np.errstate(all="ignore"):
        assert not optim.minimize(lambda x: x * np.nan, 1.0).converged
    found = optim.minimize(lambda x: x, 1.0, max_steps=7)
    assert found.num_steps <= 7
    assert not found.converged
    at_minimum = optim.minimize(lambda x: x * x, 0.0)
    assert (at_minimum.num_steps, bool(at_minimum.converged)) == (0, True)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: optim.minimize(lambda x: x, np.ones(2)), Exception, "scalar"),
        (lambda: optim.minimize(lambda x: x, {"n": 3}), TypeError, r"minimize: params\['n'\] is int64\[\]"),
        (lambda: optim.scale_by_lbfgs(0), ValueError, "memory_size must be a positive int"),
        (lambda: optim.scale_by_zoom_linesearch(5, initial_guess_strategy="two"), ValueError, "'one' or 'keep'"),
        (
            lambda: optim.lbfgs().update(1.0, optim.lbfgs().init(1.0), 1.0),
            ValueError,
            r"needs to know the loss: call update\(updates, state, params, value=value, grad=grad, value_fn=loss\)",
        ),
        (lambda: optim.lbfgs().update(1.0, optim.lbfgs().init(1.0)), ValueError, "needs the parameters"),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
