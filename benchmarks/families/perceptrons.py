"""The gradient of a small perceptron: warm, at the first call, and of each example."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss, gradients, jax_call, tensors, torch_gradient
from ..libraries import autograd, autograd_numpy, jax, jax_numpy, torch
from ..sampling import Call, FirstCalls, FreshProcess
from ..workload import MILLISECONDS, Target, Workload

Arrays = dict[str, np.ndarray]


def problem(inputs: int = 64, hidden: int = 64, outputs: int = 10, batch: int = 32) -> tuple[Arrays, Any, Any]:
    """Parameters, inputs and targets."""
    rng = np.random.default_rng(0)
    params = {
        "W1": rng.normal(size=(inputs, hidden)) / np.sqrt(inputs),
        "b1": rng.normal(size=hidden),
        "W2": rng.normal(size=(hidden, outputs)) / np.sqrt(hidden),
        "b2": rng.normal(size=outputs),
    }
    return params, rng.normal(size=(batch, inputs)), rng.normal(size=(batch, outputs))


def loss_in(np: Any) -> Loss:
    def loss(params: Any, x: Any, y: Any) -> Any:
        h = np.tanh(x @ params["W1"] + params["b1"])
        return np.mean((h @ params["W2"] + params["b2"] - y) ** 2)

    return loss


def gradient_by_hand(params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    h = x @ params["W1"]
    h += params["b1"]
    np.tanh(h, out=h)
    r = h @ params["W2"]
    r += params["b2"]
    r -= y
    r *= 2.0 / r.size
    dW2 = h.T @ r
    db2 = r.sum(axis=0)
    dh = r @ params["W2"].T
    h *= h
    np.subtract(1.0, h, out=h)
    dh *= h
    return {"W1": x.T @ dh, "b1": dh.sum(axis=0), "W2": dW2, "b2": db2}


def of_each_example_by_hand(params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    h = x @ params["W1"]
    h += params["b1"]
    np.tanh(h, out=h)
    r = h @ params["W2"]
    r += params["b2"]
    r -= y
    r *= 2.0 / r.shape[1]
    dW2 = h[:, :, None] * r[:, None, :]
    dh = r @ params["W2"].T
    h *= h
    np.subtract(1.0, h, out=h)
    dh *= h
    return {"W1": x[:, :, None] * dh[:, None, :], "b1": dh, "W2": dW2, "b2": r}


def of_each_example_in_autograd() -> Call:
    gradient = autograd.grad(loss_in(autograd_numpy))

    def gradients(params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
        found = [gradient(params, *example) for example in zip(x, y, strict=True)]
        return {name: np.stack([g[name] for g in found]) for name in params}

    return Call(gradients, problem())


def of_each_example_in_torch() -> Call:
    gradients = torch.func.vmap(torch.func.grad(loss_in(torch)), in_dims=(None, 0, 0))
    return Call(gradients, tensors(problem()))


def first_call(library: str) -> FirstCalls:
    """All of what a first call does, with nothing kept of any call before it."""
    args = problem()

    def make(n: int) -> Any:
        if library == "JAX":
            jax.clear_caches()
            return jax_call(jax.jit(jax.value_and_grad(loss_in(jax_numpy))), *args).result
        ft.clear_caches()
        return Call(ft.jit(ft.value_and_grad(loss_in(np))), args).result

    return FirstCalls(make)


def first_call_of_process(library: str) -> FreshProcess:
    """The first call that a process makes, once everything is imported."""
    return FreshProcess(
        "call()",
        after=f"from benchmarks.families.perceptrons import first_call\ncall = first_call({library!r}).make(0)",
    )


_EXAMPLES = (None, 0, 0)

WORKLOADS = (
    Workload(
        "gradient of a tanh MLP 64-64-10, batch 32",
        {
            "NumPy, by hand": lambda: Call(gradient_by_hand, problem()),
            **gradients(loss_in, problem),
            "PyTorch": lambda: torch_gradient(loss_in(torch), *problem()),
        },
        targets=(Target("functrans", 1.6, "NumPy, by hand"), Target("functrans, jitted", 1.15, "NumPy, by hand")),
        in_chart=True,
    ),
    Workload(
        "gradient of each example, the same MLP",
        {
            "NumPy, by hand": lambda: Call(of_each_example_by_hand, problem()),
            "functrans": lambda: Call(ft.vmap(ft.grad(loss_in(np)), in_axes=_EXAMPLES), problem()),
            "functrans, jitted": lambda: Call(ft.jit(ft.vmap(ft.grad(loss_in(np)), in_axes=_EXAMPLES)), problem()),
            "autograd": of_each_example_in_autograd,
            "JAX, jitted": lambda: jax_call(
                jax.jit(jax.vmap(jax.grad(loss_in(jax_numpy)), in_axes=_EXAMPLES)), *problem()
            ),
            "PyTorch": of_each_example_in_torch,
        },
        in_chart=True,
    ),
    Workload(
        "first call of jit(value_and_grad) of the same MLP, caches cleared",
        {"functrans, jitted": lambda: first_call("functrans"), "JAX, jitted": lambda: first_call("JAX")},
        targets=(Target("functrans, jitted", 5e-3),),
        unit=MILLISECONDS,
    ),
    Workload(
        "first call of jit(value_and_grad) of the same MLP, in a new process",
        {
            "functrans, jitted": lambda: first_call_of_process("functrans"),
            "JAX, jitted": lambda: first_call_of_process("JAX"),
        },
        targets=(Target("functrans, jitted", 5e-3),),
        in_chart=True,
        unit=MILLISECONDS,
    ),
)
