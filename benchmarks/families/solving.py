"""SciPy's L-BFGS-B with gradients from several sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss
from ..libraries import autograd, autograd_numpy, jax, jax_numpy, scipy_optimize, torch
from ..sampling import Call
from ..workload import Target, Workload

ValueAndGradient = Callable[[np.ndarray], tuple[Any, Any]]


def rosenbrock_in(np: Any) -> Loss:
    def rosenbrock(x: Any) -> Any:
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return rosenbrock


def by_hand(x: np.ndarray) -> tuple[Any, np.ndarray]:
    head, tail = x[:-1], x[1:]
    far = tail - head * head
    near = 1 - head
    value = 100.0 * (far @ far) + near @ near
    gradient = np.zeros_like(x)
    far *= 200.0
    gradient[1:] = far
    far *= head
    far += near
    far *= 2.0
    gradient[:-1] -= far
    return value, gradient


def in_torch(x: np.ndarray) -> tuple[float, np.ndarray]:
    leaf = torch.tensor(x, requires_grad=True)
    value = rosenbrock_in(torch)(leaf)
    return value.item(), torch.autograd.grad(value, (leaf,))[0].numpy()


def in_jax() -> ValueAndGradient:
    both = jax.jit(jax.value_and_grad(rosenbrock_in(jax_numpy)))

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = both(x)
        return float(value), np.asarray(gradient)

    return value_and_gradient


def solve(value_and_gradient: ValueAndGradient) -> Call:
    start = np.linspace(-1.0, 1.5, 10)

    def minimize() -> Any:
        return scipy_optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B").x

    return Call(minimize)


WORKLOADS = (
    Workload(
        "L-BFGS-B (SciPy) on Rosenbrock's function of 10 numbers, a solve",
        {
            "NumPy, by hand": lambda: solve(by_hand),
            "functrans": lambda: solve(ft.value_and_grad(rosenbrock_in(np))),
            "functrans, jitted": lambda: solve(ft.jit(ft.value_and_grad(rosenbrock_in(np)))),
            "autograd": lambda: solve(autograd.value_and_grad(rosenbrock_in(autograd_numpy))),
            "JAX, jitted": lambda: solve(in_jax()),
            "PyTorch": lambda: solve(in_torch),
        },
        targets=(Target("functrans", 1.5, "NumPy, by hand"), Target("functrans, jitted", 1.5, "NumPy, by hand")),
        in_chart=True,
        tolerance=1e6,  # the last steps differ by rounding, and end at other points near the minimum
    ),
)
