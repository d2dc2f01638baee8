"""How the libraries are called: what most workloads need of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft

from .libraries import autograd, autograd_numpy, jax, jax_numpy, torch
from .sampling import Arguments, Call, Sampler

Loss = Callable[..., Any]
Contestants = dict[str, Callable[[], Sampler]]


def jax_call(function: Callable[..., Any], *args: Any) -> Call:
    """A call in JAX at its best: its arguments are on the device."""
    return Call(lambda *args: jax.block_until_ready(function(*args)), tuple(map(jax.device_put, args)))


def tensors(tree: Any) -> Any:
    """The arrays of a tree as tensors, which share their memory."""
    if isinstance(tree, dict):
        return {name: tensors(value) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(map(tensors, tree))
    return torch.from_numpy(tree) if isinstance(tree, np.ndarray) else tree


def torch_gradient(loss: Loss, params: Any, *args: Any) -> Call:
    """The gradient of a loss with respect to its first argument: one array, or a dict of arrays."""

    def gradient(params: Any, *args: Any) -> Any:
        wanted = tuple(params.values()) if isinstance(params, dict) else (params,)
        found = torch.autograd.grad(loss(params, *args), wanted)
        return dict(zip(params, found, strict=True)) if isinstance(params, dict) else found[0]

    params = tensors(params)
    for leaf in params.values() if isinstance(params, dict) else (params,):
        leaf.requires_grad_()
    return Call(gradient, (params, *map(tensors, args)))


def gradients(loss: Callable[[Any], Loss], problem: Callable[[], Arguments]) -> Contestants:
    """The gradient of a loss, written once for any NumPy, in each library that has one.

    `loss` makes the loss from a module with NumPy's names: functrans takes NumPy itself.
    """
    return {
        "functrans": lambda: Call(ft.grad(loss(np)), problem()),
        "functrans, jitted": lambda: Call(ft.jit(ft.grad(loss(np))), problem()),
        "autograd": lambda: Call(autograd.grad(loss(autograd_numpy)), problem()),
        "JAX": lambda: jax_call(jax.grad(loss(jax_numpy)), *problem()),
        "JAX, jitted": lambda: jax_call(jax.jit(jax.grad(loss(jax_numpy))), *problem()),
    }


def without(contestants: Contestants, *labels: str) -> Contestants:
    """The contestants that are not so labelled."""
    return {label: make for label, make in contestants.items() if label not in labels}
