"""The cost of programs: to record an operation, to meet a new program at each call, and how it grows with length."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import functrans as ft

from ..contestants import tensors
from ..libraries import autograd, autograd_numpy, jax, jax_numpy, torch
from ..sampling import Call, FirstCalls, PerOperation
from ..workload import MICROSECONDS, MILLISECONDS, Target, Workload

Function = Callable[..., Any]


_copies: list[Function] = []
"""They are kept, so that none has the address of another."""


def anew(function: Any) -> Function:
    """A copy with a code of its own, for which nothing can be known that was found out about another."""
    code, names = function.__code__.replace(), function.__globals__
    _copies.append(FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__))
    return _copies[-1]


# --------------------------------------------------------------------------------------------------------------------
# Recording

REPEATS = 300

OPERATIONS: dict[str, Callable[[ModuleType, Any, Any, Any], Any]] = {
    "x + y": lambda np, x, y, w: x + y,
    "x * 2.0": lambda np, x, y, w: x * 2.0,
    "np.tanh(x)": lambda np, x, y, w: np.tanh(x),
    "x[0]": lambda np, x, y, w: x[0],
    "x.reshape(5, 2)": lambda np, x, y, w: x.reshape(5, 2),
    "x.sum()": lambda np, x, y, w: x.sum(),
    "x @ w": lambda np, x, y, w: x @ w,
    "np.where(x > y, x, y)": lambda np, x, y, w: np.where(x > y, x, y),
}


def operands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and w of the operations."""
    rng = np.random.default_rng(0)
    return rng.normal(size=10), rng.normal(size=10), rng.normal(size=(10, 10))


def repeated(np: ModuleType, name: str) -> Function:
    """A function that does one operation many times; `nothing` is the loop alone."""
    operation = OPERATIONS.get(name, lambda np, x, y, w: x)

    def repeat(x: Any, y: Any, w: Any) -> Any:
        for _ in range(REPEATS):
            result = operation(np, x, y, w)
        return result

    return repeat


def per_operation(name: str, np: Any, args: tuple[Any, ...], record: Callable[[Function], Function]) -> PerOperation:
    """What each of the operations adds to the time of a call of `record(function)`."""

    def call(name: str) -> Call:
        function = repeated(np, name)
        return Call(lambda *args: record(function)(*args), args)

    return PerOperation(call(name), call("nothing"), REPEATS)


def in_functrans(function: Function) -> Function:
    return lambda *args: ft.eval_shape(function, *args)


def in_jax(function: Function) -> Function:
    return jax.make_jaxpr(lambda *args: function(*args))  # JAX keeps what it has traced of a function


def recording(name: str) -> Workload:
    return Workload(
        f"recording {name}, per operation",
        {
            "functrans": lambda: per_operation(name, np, operands(), in_functrans),
            "functrans, a new function": lambda: per_operation(
                name, np, operands(), lambda function: in_functrans(anew(function))
            ),
            "JAX": lambda: per_operation(name, jax_numpy, jax.device_put(operands()), in_jax),
            "NumPy, running it": lambda: per_operation(name, np, operands(), lambda function: function),
        },
        targets=(Target("functrans", 1e-6), Target("functrans, a new function", 1e-6)),
        in_table=name == "x + y",
    )


# --------------------------------------------------------------------------------------------------------------------
# A program that is new at each call


def loop_in(np: Any) -> Function:
    """A Python loop of three operations."""

    def loop(x: Any, n: int) -> Any:
        for _ in range(n):
            x = np.tanh(x) * 0.5 + x
        return np.sum(x)

    return loop


def first_loop(n: int) -> int:
    """The trip count of the nth call."""
    return 100 + n


def new_loops(gradient: Callable[[int], Callable[[], Any]]) -> FirstCalls:
    return FirstCalls(lambda n: gradient(first_loop(n)), operations=lambda n: 3 * first_loop(n), calls=3)


def new_loops_in_autograd() -> FirstCalls:
    gradient = autograd.grad(loop_in(autograd_numpy))
    return new_loops(lambda n: lambda: gradient(operands()[0], n))


def new_loops_in_functrans() -> FirstCalls:
    gradient = ft.grad(loop_in(np))
    return new_loops(lambda n: lambda: gradient(operands()[0], n))


def new_loops_in_torch() -> FirstCalls:
    loop = loop_in(torch)

    def gradient(n: int) -> Any:
        x = tensors(operands()[0]).requires_grad_()
        return torch.autograd.grad(loop(x, n), (x,))[0]

    return new_loops(lambda n: lambda: gradient(n))


# --------------------------------------------------------------------------------------------------------------------
# Growth

LENGTHS = (100, 1_000, 10_000)

LINKS: tuple[Function, ...] = (
    lambda x: np.sin(x),
    lambda x: np.tanh(x),
    lambda x: x * 0.9,
    lambda x: x + 0.1,
    lambda x: x * x,
)


def chain(length: int, seed: int) -> Function:
    """The sum of a chain of operations, another one for each seed."""
    links = random.Random(seed).choices(LINKS, k=length)

    def function(x: Any) -> Any:
        for link in links:
            x = link(x)
        return np.sum(x)

    return anew(function)


def growth(name: str, act: Callable[[Function, np.ndarray], Any], longest: float | None = None) -> Workload:
    """What an action on a function costs, for functions of growing lengths."""
    labels = [f"functrans, {length:,} operations" for length in LENGTHS]

    def contestant(length: int) -> FirstCalls:
        return FirstCalls(lambda n: lambda: act(chain(length, n), operands()[0]))

    return Workload(
        f"growth: {name}",
        {label: lambda n=length: contestant(n) for label, length in zip(labels, LENGTHS, strict=True)},
        targets=(
            Target(labels[1], 12.0, labels[0]),
            Target(labels[2], 12.0, labels[1]),
            *([Target(labels[2], longest)] if longest else []),
        ),
        unit=MILLISECONDS,
        compared=False,
        in_table=False,
    )


WORKLOADS = (
    *map(recording, OPERATIONS),
    Workload(
        "gradient of a Python loop of another length at each call, per operation",
        {
            "autograd": new_loops_in_autograd,
            "functrans": new_loops_in_functrans,
            "PyTorch": new_loops_in_torch,
        },
        targets=(Target("functrans", 1.0, "autograd"),),
        unit=MICROSECONDS,
    ),
    growth("recording a chain", ft.eval_shape),
    growth("the program of the gradient of a chain", lambda f, x: ft.make_jaxpr(ft.grad(f))(x), longest=3.0),
    growth("the first call of the jitted gradient of a chain", lambda f, x: ft.jit(ft.grad(f))(x)),
)
