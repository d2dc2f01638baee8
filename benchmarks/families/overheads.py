"""What a call costs when there is almost nothing to compute."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss, gradients, jax_call, without
from ..libraries import jax
from ..sampling import Call, FreshProcess
from ..workload import MILLISECONDS, Target, Workload
from . import perceptrons


def polynomial_in(np: Any) -> Loss:
    return lambda x: x**2 + x


def almost_nothing_in(np: Any) -> Loss:
    """Of six arrays it uses one; its gradient has four."""
    return lambda params, x, y: np.sum(params["b2"])


def vector() -> np.ndarray:
    return np.linspace(-1.0, 1.0, 10)


def tree() -> dict[str, Any]:
    """Twenty small arrays, as parameters of ten layers are kept."""
    return {f"layer{i}": {"W": vector(), "b": vector()} for i in range(10)}


def add_one(x: Any) -> Any:
    return x + 1


def add_one_to_each(tree: dict[str, Any]) -> dict[str, Any]:
    return {layer: {name: x + 1 for name, x in params.items()} for layer, params in tree.items()}


def identity(x: Any) -> Any:
    return x


def jitted_call(name: str, function: Any, arg: Any, bar: float) -> Workload:
    return Workload(
        f"call of a jitted {name}",
        {
            "functrans, jitted": lambda: Call(ft.jit(function), (arg,)),
            "JAX, jitted": lambda: jax_call(jax.jit(function), arg),
        },
        targets=(Target("functrans, jitted", bar, "JAX, jitted"),),
        in_table="x + 1" in name,
    )


def an_import(statement: str, after: str = "import numpy") -> Any:
    return lambda: FreshProcess(statement, after)


WORKLOADS = (
    Workload(
        "gradient of x**2 + x at a number",
        gradients(polynomial_in, lambda: (1.5,)),
        targets=(Target("functrans", 1 / 3, "autograd"),),
        in_chart=True,
    ),
    Workload(
        "fixed cost of a gradient, 6 arrays in, 4 out",
        without(gradients(almost_nothing_in, perceptrons.problem), "functrans, jitted", "JAX, jitted"),
        targets=(Target("functrans", 8e-6),),
    ),
    jitted_call("x + 1, 10 elements", add_one, vector(), 0.4),
    jitted_call("x + 1 of 20 arrays in a tree, 10 elements each", add_one_to_each, tree(), 0.6),
    jitted_call("identity, 10 elements", identity, vector(), 0.4),
    jitted_call("identity of 20 arrays in a tree, 10 elements each", identity, tree(), 0.6),
    Workload(
        "import, beyond NumPy's own",
        {
            "functrans": an_import("import functrans"),
            "autograd": an_import("import autograd.numpy"),
            "JAX": an_import("import jax"),
            "PyTorch": an_import("import torch"),
            "NumPy, itself": an_import("import numpy", after=""),
        },
        targets=(Target("functrans", 0.04),),
        unit=MILLISECONDS,
    ),
)
