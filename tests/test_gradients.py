"""Gradients of whole models in plain NumPy: against finite differences, closed forms, and by every transformation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.test_util import check_grads

RNG = np.random.default_rng(7)


def array(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape)


def mlp(params: Any, x: Any, y: Any) -> Any:
    for layer in params[:-1]:
        x = np.tanh(x @ layer["W"] + layer["b"])
    logits = x @ params[-1]["W"] + params[-1]["b"]
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(np.sum(log_probabilities * y, axis=1))


def recurrent(params: Any, xs: Any) -> Any:
    state = np.zeros(3)
    for x in xs:
        gate = 1 / (1 + np.exp(-(params["U"] @ x)))
        state = gate * state + (1 - gate) * np.tanh(params["V"] @ state + x)
    return np.sum(state**2)


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.T / np.sqrt(k.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.sum(np.sin((weights / weights.sum(axis=-1, keepdims=True)) @ v))


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def distances(x: Any) -> Any:
    difference = x[:, None, :] - x[None, :, :]
    squared = np.sum(difference**2, axis=-1)
    return np.sum(np.exp(-squared)) + np.sum(np.sqrt(squared + 1.0))


def pendulum(start: Any, length: Any) -> Any:
    angle, speed = start[0], start[1]
    for _ in range(10):
        speed = speed - 0.1 * 9.81 / length * np.sin(angle)
        angle = angle + 0.1 * speed
    return np.stack([angle, speed])


def convolution(kernel: Any, signal: Any) -> Any:
    n = len(signal) - len(kernel) + 1
    return np.sum(np.tanh(sum([kernel[i] * signal[i : i + n] for i in range(len(kernel))])))


def layer_norm(x: Any, scale: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return np.sum(scale * centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5))


def until_small(x: Any) -> Any:
    """A loop whose length depends on the value."""
    while np.sum(x * x) > 0.5:
        x = np.sin(x) * 0.9
    return np.sum(np.where(x > 0, x * x, -x))


LAYERS = [{"W": array(4, 5), "b": array(5)}, {"W": array(5, 3), "b": array(3)}]
ONE_HOT = np.eye(3)[[0, 2, 1, 1, 0, 2]]

MODELS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mlp": (mlp, (LAYERS, array(6, 4), ONE_HOT)),
    "recurrent": (recurrent, ({"U": array(3, 3), "V": array(3, 3)}, array(4, 3))),
    "attention": (attention, (array(4, 3), array(5, 3), array(5, 2))),
    "rosenbrock": (rosenbrock, (array(6),)),
    "distances": (distances, (array(4, 3),)),
    "pendulum": (pendulum, (np.array([0.5, -0.1]), 1.3)),
    "convolution": (convolution, (array(3), array(9))),
    "layer_norm": (layer_norm, (array(2, 5), array(5))),
    "until_small": (until_small, (array(4),)),
}

every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_derivatives_up_to_order_two(name: str) -> None:
    f, args = MODELS[name]
    check_grads(f, args, order=2)


@every_model
def test_in_single_precision(name: str) -> None:
    f, args = MODELS[name]
    narrow = ft.tree.map(lambda x: np.asarray(x, np.float32), args)
    check_grads(f, narrow, order=1)
    pulled = ft.vjp(f, *narrow)[1](f(*narrow))
    for ct, x in zip(ft.tree.leaves(pulled), ft.tree.leaves(narrow), strict=True):
        assert (np.shape(ct), ct.dtype) == (x.shape, np.float32)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("pendulum", "until_small")])
def test_jitted_and_not(name: str) -> None:
    f, args = MODELS[name]
    argnums = tuple(range(len(args)))
    value, grads = ft.value_and_grad(f, argnums)(*args)
    np.testing.assert_allclose(value, f(*args), rtol=1e-14)
    for other in (ft.jit(ft.value_and_grad(f, argnums)), ft.value_and_grad(ft.jit(f), argnums)):
        again, jitted = other(*args)
        np.testing.assert_allclose(again, value, rtol=1e-14)
        for a, b in zip(ft.tree.leaves(jitted), ft.tree.leaves(grads), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_gradients_of_the_members_of_a_batch() -> None:
    _, (params, x, y) = MODELS["mlp"]
    single = ft.grad(lambda params, x, y: mlp(params, x[None], y[None]))
    stacked = ft.vmap(single, in_axes=(None, 0, 0))(params, x, y)
    for i in range(len(x)):
        member = single(params, x[i], y[i])
        for a, b in zip(ft.tree.leaves(stacked), ft.tree.leaves(member), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-12, atol=1e-14)
    whole = ft.grad(mlp)(params, x, y)
    for a, b in zip(ft.tree.leaves(stacked), ft.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(np.mean(a, axis=0), b, rtol=1e-12, atol=1e-14)


# --------------------------------------------------------------------------------------------------------------------
# Closed forms


def test_least_squares() -> None:
    a, b, x = array(6, 3), array(6), array(3)
    f = lambda x: 0.5 * np.sum((a @ x - b) ** 2)
    np.testing.assert_allclose(ft.grad(f)(x), a.T @ (a @ x - b), rtol=1e-13)
    np.testing.assert_allclose(ft.hessian(f)(x), a.T @ a, rtol=1e-13, atol=1e-13)


def test_logistic_regression() -> None:
    x, y, w = array(8, 3), np.sign(array(8)), array(3)
    f = lambda w: np.sum(np.log1p(np.exp(-y * (x @ w))))
    p = 1 / (1 + np.exp(y * (x @ w)))
    np.testing.assert_allclose(ft.grad(f)(w), -x.T @ (y * p), rtol=1e-12)
    np.testing.assert_allclose(ft.hessian(f)(w), x.T @ (x * (p * (1 - p))[:, None]), rtol=1e-11)


def test_the_jacobian_of_softmax() -> None:
    x = array(5)

    def softmax(x: Any) -> Any:
        e = np.exp(x - np.max(x))
        return e / np.sum(e)

    s = softmax(x)
    for jacobian in (ft.jacfwd(softmax)(x), ft.jacrev(softmax)(x)):
        np.testing.assert_allclose(jacobian, np.diag(s) - np.outer(s, s), rtol=1e-12, atol=1e-15)


def test_derivatives_of_every_order() -> None:
    """Of exp(2 x) at 0: the powers of two."""
    f: Any = lambda x: np.exp(2.0 * x)
    for order in range(7):
        np.testing.assert_allclose(f(0.0), 2.0**order, rtol=1e-14)
        f = ft.grad(f)


def test_euler_on_homogeneous_functions() -> None:
    """x . grad f = 3 f for a form of degree three."""
    t, x = array(4, 4, 4), array(4)
    f = lambda x: np.sum(((t @ x) @ x) * x)
    np.testing.assert_allclose(x @ ft.grad(f)(x), 3 * f(x), rtol=1e-12)


def test_gradient_descent_reaches_the_minimum() -> None:
    x = np.array([-1.0, 1.5])
    newton = ft.jit(lambda x: (ft.grad(rosenbrock)(x), ft.hessian(rosenbrock)(x)))
    for _ in range(20):
        gradient, hessian = newton(x)
        x = x - np.linalg.solve(hessian, gradient)
    np.testing.assert_allclose(x, [1.0, 1.0], rtol=1e-12)
