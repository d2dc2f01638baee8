"""The peak memory of the gradient of a deep network."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss
from ..libraries import autograd, autograd_numpy
from ..sampling import PeakBytes
from ..workload import MEGABYTES, Target, Workload

Layers = list[tuple[np.ndarray, np.ndarray]]


def problem(depth: int, width: int) -> tuple[Layers, np.ndarray, np.ndarray]:
    """Layers, inputs and targets; as many examples as units."""
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(width, width)) / np.sqrt(width), np.zeros(width)) for _ in range(depth)]
    return layers, rng.normal(size=(width, width)), rng.normal(size=(width, width))


def loss_in(np: Any) -> Loss:
    def loss(layers: Any, x: Any, y: Any) -> Any:
        for w, b in layers:
            x = np.tanh(x @ w + b)
        return np.mean((x - y) ** 2)

    return loss


def gradient_by_hand(layers: Layers, x: np.ndarray, y: np.ndarray) -> Layers:
    """Each output of a layer is given up once its gradient is there."""
    outputs = [x]
    for w, b in layers:
        h = outputs[-1] @ w
        h += b
        outputs.append(np.tanh(h, out=h))
    d = outputs[-1] - y
    d *= 2 / d.size
    grads = []
    for w, _ in reversed(layers):
        h = outputs.pop()
        h *= h
        np.subtract(1.0, h, out=h)
        d *= h
        grads.append((outputs[-1].T @ d, d.sum(axis=0)))
        if len(outputs) > 1:
            d = np.matmul(d, w.T, out=h)
    return grads[::-1]


def peak(depth: int, width: int) -> Workload:
    def args() -> Any:
        return problem(depth, width)

    return Workload(
        f"peak memory of the gradient of an MLP of {depth} layers of {width}",
        {
            "NumPy, by hand": lambda: PeakBytes(gradient_by_hand, args()),
            "functrans": lambda: PeakBytes(ft.grad(loss_in(np)), args()),
            "functrans, jitted": lambda: PeakBytes(ft.jit(ft.grad(loss_in(np))), args()),
            "autograd": lambda: PeakBytes(autograd.grad(loss_in(autograd_numpy)), args()),
        },
        targets=(Target("functrans", 1.1, "NumPy, by hand"), Target("functrans, jitted", 1.1, "NumPy, by hand")),
        unit=MEGABYTES,
    )


WORKLOADS = (peak(50, 256),)
