"""The gradient of the loss of a recurrent network, a loop of 100 steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss, jax_call, torch_gradient
from ..libraries import autograd, autograd_numpy, jax, jax_numpy, torch
from ..sampling import Call
from ..workload import Target, Workload

Scan = Callable[..., Any]


def problem(inputs: int = 32, hidden: int = 64, batch: int = 16, steps: int = 100) -> tuple[Any, Any, Any]:
    """Parameters, first state and inputs of an LSTM."""
    rng = np.random.default_rng(0)
    params = {
        "W": rng.normal(size=(hidden, 4 * hidden)) / 8,
        "U": rng.normal(size=(inputs, 4 * hidden)) / 6,
        "b": np.zeros(4 * hidden),
    }
    return params, np.zeros((batch, hidden)), rng.normal(size=(steps, batch, inputs))


def loss_in(np: Any, scan: Scan) -> Loss:
    """The sum of squares of all states, over any library's NumPy and any loop like `scan`."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def loss(params: dict[str, Any], start: Any, xs: Any) -> Any:
        n = start.shape[1]

        def step(state: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], Any]:
            h, c = state
            z = h @ params["W"] + x @ params["U"] + params["b"]
            c = sigmoid(z[:, n : 2 * n]) * c + sigmoid(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
            h = sigmoid(z[:, 3 * n :]) * np.tanh(c)
            return (h, c), h

        return np.sum(scan(step, (start, start), xs)[1] ** 2)

    return loss


def python_scan(np: Any) -> Scan:
    """`scan` as a Python loop."""

    def scan(step: Callable[..., Any], state: Any, xs: Any) -> tuple[Any, Any]:
        rows = []
        for x in xs:
            state, row = step(state, x)
            rows.append(row)
        return state, np.stack(rows)

    return scan


WORKLOADS = (
    Workload(
        "gradient of an LSTM, 100 steps of scan, hidden 64, batch 16",
        {
            "functrans, jitted": lambda: Call(ft.jit(ft.grad(loss_in(np, ft.lax.scan))), problem()),
            "functrans": lambda: Call(ft.grad(loss_in(np, ft.lax.scan)), problem()),
            "autograd": lambda: Call(autograd.grad(loss_in(autograd_numpy, python_scan(autograd_numpy))), problem()),
            "JAX, jitted": lambda: jax_call(jax.jit(jax.grad(loss_in(jax_numpy, jax.lax.scan))), *problem()),
            "PyTorch": lambda: torch_gradient(loss_in(torch, python_scan(torch)), *problem()),
        },
        targets=(
            Target("functrans, jitted", 1.3, "JAX, jitted"),
            Target("functrans, jitted", 0.25, "autograd"),
        ),
        in_chart=True,
    ),
)
