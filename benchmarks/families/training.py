"""Training steps of perceptrons at the shapes of MNIST, in float32.

One is plain gradient descent on a squared error; the other has a loss with a gradient of its own, dropout, and Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

import functrans as ft

from ..contestants import tensors
from ..libraries import jax, jax_numpy, torch
from ..sampling import Steps
from ..workload import PER_SECOND, Target, Workload

Arrays = dict[str, np.ndarray]
Step = Callable[..., Any]

RATE = 1e-3
KEEP = 0.75
CLASSES = 10


def initial(*sizes: int) -> Arrays:
    """Weights and biases of a perceptron, `W1`, `b1`, `W2` and so on, to be updated in place."""
    return {name: value.copy() for name, value in _drawn(*sizes).items()}


@cache
def _drawn(*sizes: int) -> Arrays:
    rng = np.random.default_rng(0)
    params = {}
    for i, (m, n) in enumerate(pairwise(sizes), 1):
        params[f"W{i}"] = rng.normal(size=(m, n)).astype("float32") * np.float32((2 / m) ** 0.5)
        params[f"b{i}"] = np.zeros(n, "float32")
    return params


def digits(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and, as rows with a single 1, their classes: random ones."""
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(batch, 784)).astype("float32")
    return x, np.eye(CLASSES, dtype="float32")[rng.integers(CLASSES, size=batch)]


# --------------------------------------------------------------------------------------------------------------------
# 784-256-128-10, a squared error, gradient descent


def descent_start() -> Arrays:
    return initial(784, 256, 128, CLASSES)


def squared_error_in(np: Any, relu: Callable[[Any], Any]) -> Callable[..., Any]:
    def loss(params: Any, x: Any, y: Any) -> Any:
        h = relu(x @ params["W1"] + params["b1"])
        h = relu(h @ params["W2"] + params["b2"])
        return np.mean((y - (h @ params["W3"] + params["b3"])) ** 2)

    return loss


def descent_by_hand(batch: int) -> Step:
    """Every array that a step fills is there before the first."""
    h1, h2, r, d2, d1, on2, on1 = (
        np.empty((batch, n), dtype)
        for n, dtype in ((256, "f"), (128, "f"), (CLASSES, "f"), (128, "f"), (256, "f"), (128, "?"), (256, "?"))
    )
    grads = {name: np.empty_like(value) for name, value in descent_start().items()}
    scale, rate = np.float32(2 / r.size), np.float32(RATE)

    def step(params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
        np.matmul(x, params["W1"], out=h1)
        np.add(h1, params["b1"], out=h1)
        np.maximum(h1, 0, out=h1)
        np.matmul(h1, params["W2"], out=h2)
        np.add(h2, params["b2"], out=h2)
        np.maximum(h2, 0, out=h2)
        np.matmul(h2, params["W3"], out=r)
        np.add(r, params["b3"], out=r)
        np.subtract(r, y, out=r)
        np.multiply(r, scale, out=r)
        np.matmul(h2.T, r, out=grads["W3"])
        np.add.reduce(r, axis=0, out=grads["b3"])
        np.matmul(r, params["W3"].T, out=d2)
        np.multiply(d2, np.greater(h2, 0, out=on2), out=d2)
        np.matmul(h1.T, d2, out=grads["W2"])
        np.add.reduce(d2, axis=0, out=grads["b2"])
        np.matmul(d2, params["W2"].T, out=d1)
        np.multiply(d1, np.greater(h1, 0, out=on1), out=d1)
        np.matmul(x.T, d1, out=grads["W1"])
        np.add.reduce(d1, axis=0, out=grads["b1"])
        for name, grad in grads.items():
            grad *= rate
            params[name] -= grad
        return params

    return step


def descent_in_functrans() -> Step:
    gradient = ft.grad(squared_error_in(np, ft.nn.relu))

    def step(params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
        return ft.tree.map(lambda p, g: p - RATE * g, params, gradient(params, x, y))

    return step


def descent_in_jax() -> Step:
    gradient = jax.grad(squared_error_in(jax_numpy, jax.nn.relu))

    def step(params: Any, x: Any, y: Any) -> Any:
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradient(params, x, y))

    return jax.jit(step, donate_argnums=0)


def descent_start_in_torch() -> Any:
    return {name: tensor.requires_grad_() for name, tensor in tensors(descent_start()).items()}


def descent_in_torch() -> Step:
    loss = squared_error_in(torch, torch.relu)

    def step(params: Any, x: Any, y: Any) -> Any:
        grads = torch.autograd.grad(loss(params, x, y), tuple(params.values()))
        with torch.no_grad():
            for p, g in zip(params.values(), grads, strict=True):
                p.sub_(g, alpha=RATE)
        return params

    return step


# --------------------------------------------------------------------------------------------------------------------
# 784-150-10, a loss with a gradient of its own, dropout, Adam


def adam_start() -> Arrays:
    return initial(784, 150, CLASSES)


def adam_by_hand(batch: int, keep: float) -> Step:
    """The state is parameters, both moments and the number of steps made; all arrays are updated in place."""
    h, d = np.empty((batch, 150), "f"), np.empty((batch, 150), "f")
    kept, uniform = np.empty((batch, 150), "?"), np.empty((batch, 150), "f")
    z, total = np.empty((batch, CLASSES), "f"), np.empty((batch, 1), "f")
    grads = {name: np.empty_like(value) for name, value in adam_start().items()}
    room = {name: np.empty_like(value) for name, value in adam_start().items()}
    rng = np.random.default_rng(0)
    one_over_keep = np.float32(1 / keep)

    def gradient(params: Arrays, x: np.ndarray, y: np.ndarray) -> None:
        np.matmul(x, params["W1"], out=h)
        np.add(h, params["b1"], out=h)
        np.maximum(h, 0, out=h)
        rng.random(dtype="f", out=uniform)
        np.less(uniform, keep, out=kept)
        np.multiply(h, one_over_keep, out=h)
        np.multiply(h, kept, out=h)
        np.matmul(h, params["W2"], out=z)
        np.add(z, params["b2"], out=z)
        np.subtract(z, np.max(z, axis=1, keepdims=True, out=total), out=z)
        np.exp(z, out=z)
        np.divide(z, np.add.reduce(z, axis=1, keepdims=True, out=total), out=z)
        np.subtract(z, y, out=z)
        np.matmul(h.T, z, out=grads["W2"])
        np.add.reduce(z, axis=0, out=grads["b2"])
        np.matmul(z, params["W2"].T, out=d)
        np.multiply(d, one_over_keep, out=d)
        np.multiply(d, np.greater(h, 0, out=kept), out=d)  # what was dropped is 0 too
        np.matmul(x.T, d, out=grads["W1"])
        np.add.reduce(d, axis=0, out=grads["b1"])

    def step(state: Any, x: np.ndarray, y: np.ndarray) -> Any:
        params, first, second, count = state
        gradient(params, x, y)
        count += 1
        rate, correction = np.float32(RATE / (1 - 0.9**count)), np.float32(1 / (1 - 0.999**count))
        for name, g in grads.items():
            p, m, v, a = params[name], first[name], second[name], room[name]
            m *= np.float32(0.9)
            m += np.multiply(g, np.float32(0.1), out=a)
            np.multiply(g, g, out=a)
            a *= np.float32(0.001)
            v *= np.float32(0.999)
            v += a
            np.multiply(v, correction, out=a)
            np.sqrt(a, out=a)
            a += np.float32(1e-8)
            np.divide(m, a, out=a)
            a *= rate
            p -= a
        return params, first, second, count

    return step


def adam_start_by_hand() -> Any:
    params = adam_start()
    first, second = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    return params, first, second, 0


def _functrans_loss(keep: float) -> Callable[..., Any]:
    @ft.custom_vjp
    def softmax_loss(step: Any, x: Any, y: Any) -> Any:
        return np.sum(ft.nn.softmax_cross_entropy(np.clip(x, -20, 20), y))

    softmax_loss.defvjp(
        lambda step, x, y: (softmax_loss(step, x, y), (x, y)),
        lambda kept, ct: (None, ct * (ft.nn.softmax(kept[0]) - kept[1]), None),
    )

    def loss(params: Any, step: Any, x: Any, y: Any, key: Any) -> Any:
        h = ft.nn.relu(x @ params["W1"] + params["b1"])
        h = ft.nn.dropout(key, h, 1 - keep)
        return softmax_loss(step, h @ params["W2"] + params["b2"], y)

    return loss


def adam_in_functrans(keep: float) -> Step:
    gradient, optimizer, key = ft.grad(_functrans_loss(keep)), ft.optim.adam(RATE), ft.random.key(0)

    def step(state: Any, x: np.ndarray, y: np.ndarray) -> Any:
        params, moments, count = state
        grads = gradient(params, count, x, y, ft.random.fold_in(key, count))
        updates, moments = optimizer.update(grads, moments, params)
        return ft.optim.apply_updates(params, updates), moments, count + 1

    return step


def adam_start_in_functrans() -> Any:
    return adam_start(), ft.optim.adam(RATE).init(adam_start()), 0


def _jax_loss(keep: float) -> Callable[..., Any]:
    jnp = jax_numpy

    @jax.custom_vjp
    def softmax_loss(step: Any, x: Any, y: Any) -> Any:
        return -jnp.sum(y * jax.nn.log_softmax(jnp.clip(x, -20, 20)))

    softmax_loss.defvjp(
        lambda step, x, y: (softmax_loss(step, x, y), (x, y)),
        lambda kept, ct: (None, ct * (jax.nn.softmax(kept[0]) - kept[1]), None),
    )

    def loss(params: Any, step: Any, x: Any, y: Any, key: Any) -> Any:
        h = jax.nn.relu(x @ params["W1"] + params["b1"])
        h = jnp.where(jax.random.bernoulli(key, keep, h.shape), h / keep, 0)
        return softmax_loss(step, h @ params["W2"] + params["b2"], y)

    return loss


def adam_in_jax(keep: float) -> Step:
    gradient, key, jnp = jax.grad(_jax_loss(keep)), jax.random.key(0), jax_numpy

    def step(state: Any, x: Any, y: Any) -> Any:
        params, first, second, count = state
        grads = gradient(params, count, x, y, jax.random.fold_in(key, count))
        count = count + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
        n = count.astype("float32")
        a, b = 1 / (1 - jnp.float32(0.9) ** n), 1 / (1 - jnp.float32(0.999) ** n)
        change = lambda p, m, v: p - RATE * (m * a) / (jnp.sqrt(v * b) + 1e-8)  # noqa: E731
        return jax.tree.map(change, params, first, second), first, second, count

    return jax.jit(step, donate_argnums=0)


def adam_start_in_jax() -> Any:
    params = jax.device_put(adam_start())
    first, second = (jax.tree.map(jax_numpy.zeros_like, params) for _ in range(2))
    return params, first, second, jax_numpy.int32(0)


def adam_in_torch(keep: float) -> Step:
    functional = torch.nn.functional

    def step(state: Any, x: Any, y: Any) -> Any:
        params, optimizer = state
        optimizer.zero_grad()
        h = functional.dropout(torch.relu(x @ params["W1"] + params["b1"]), 1 - keep)
        functional.cross_entropy(h @ params["W2"] + params["b2"], y, reduction="sum").backward()
        optimizer.step()
        return state

    return step


def adam_start_in_torch() -> Any:
    params = {name: tensor.requires_grad_() for name, tensor in tensors(adam_start()).items()}
    return params, torch.optim.Adam(params.values(), lr=RATE)


# --------------------------------------------------------------------------------------------------------------------


def _detached(params: Any) -> Any:
    return {name: p.detach() for name, p in params.items()}


def _in_jax(step: Step, start: Callable[[], Any], batch: int, **kwargs: Any) -> Steps:
    return Steps(step, start, jax.device_put(digits(batch)), wait=jax.block_until_ready, **kwargs)


def _in_torch(step: Step, start: Callable[[], Any], batch: int, **kwargs: Any) -> Steps:
    return Steps(step, start, tensors(digits(batch)), **kwargs)


def donating(step: Step) -> Step:
    """The step, jitted: it may use the memory of the state that it is given."""
    return ft.jit(step, donate_argnums=0)


def _parameters(state: Any) -> Any:
    return state[0]


def _adam(make: Callable[[float], Step], start: Callable[[], Any], jit: Callable[[Step], Step] = lambda f: f) -> Steps:
    """Checked without dropout, for which every library draws numbers of its own."""
    return Steps(jit(make(KEEP)), start, digits(128), checked=jit(make(1.0)), read=_parameters)


WORKLOADS = (
    Workload(
        "training step, MLP 784-256-128-10, squared error, SGD, batch 200, float32",
        {
            "NumPy, by hand": lambda: Steps(descent_by_hand(200), descent_start, digits(200)),
            "functrans": lambda: Steps(descent_in_functrans(), descent_start, digits(200)),
            "functrans, jitted": lambda: Steps(donating(descent_in_functrans()), descent_start, digits(200)),
            "JAX, jitted": lambda: _in_jax(descent_in_jax(), lambda: jax.device_put(descent_start()), 200),
            "PyTorch": lambda: _in_torch(descent_in_torch(), descent_start_in_torch, 200, read=_detached),
        },
        targets=(Target("functrans, jitted", 1.03, "NumPy, by hand"), Target("functrans, jitted", 1.05, "JAX, jitted")),
        unit=PER_SECOND,
        in_chart=True,
    ),
    Workload(
        "training step, MLP 784-150-10, custom gradient, dropout, Adam, batch 128, float32",
        {
            "NumPy, by hand": lambda: _adam(lambda keep: adam_by_hand(128, keep), adam_start_by_hand),
            "functrans": lambda: _adam(adam_in_functrans, adam_start_in_functrans),
            "functrans, jitted": lambda: _adam(adam_in_functrans, adam_start_in_functrans, donating),
            "JAX, jitted": lambda: _in_jax(
                adam_in_jax(KEEP), adam_start_in_jax, 128, checked=adam_in_jax(1.0), read=_parameters
            ),
            "PyTorch": lambda: _in_torch(
                adam_in_torch(KEEP),
                adam_start_in_torch,
                128,
                checked=adam_in_torch(1.0),
                read=lambda state: _detached(state[0]),
            ),
        },
        unit=PER_SECOND,
        in_chart=True,
        tolerance=10,
    ),
)
