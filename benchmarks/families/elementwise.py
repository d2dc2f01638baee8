"""The gradient of a chain of elementwise operations, on arrays that fit a cache and on arrays that don't."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contestants import Loss, gradients, torch_gradient, without
from ..libraries import torch
from ..sampling import Arguments, Call
from ..workload import MICROSECONDS, MILLISECONDS, Target, Unit, Workload

BLOCK = 16_384
"""Elements that are worked on at a time: with their buffers they stay in the cache."""
SMALL = 1_000_000
"""Elements for which the memory that the process has will do."""


def chain_in(np: Any) -> Loss:
    def chain(x: Any) -> Any:
        y = x / np.sqrt(1.0 + x * x)
        z = y * (1.0 - y) + 0.5 * x
        return np.sum(z * z)

    return chain


def gradient_of_a_tape(x: np.ndarray) -> np.ndarray:
    """What a tape does: each operation, forwards and backwards, gives a new array, and those of the tape are kept."""
    square = x * x
    added = 1.0 + square
    root = np.sqrt(added)
    y = x / root
    rest = 1.0 - y
    product = y * rest
    half = 0.5 * x
    z = product + half
    np.sum(z * z)
    dz = np.broadcast_to(1.0, z.shape)
    dz = dz * z + dz * z
    dx = dz * 0.5
    drest = dz * y
    dy = dz * rest
    dy = dy + -drest
    dx = dx + dy / root
    droot = -dy * x / root**2
    dsquare = droot * 0.5 * added**-0.5
    return dx + (dsquare * x + dsquare * x)


def gradient_by_hand(x: np.ndarray) -> np.ndarray:
    """Block by block, in few buffers.

    With s = sqrt(1 + x^2) and y = x / s, dy/dx is 1 / s^3, so that the gradient is 2 z ((1 - 2 y) / s^3 + 1/2).
    """
    result = np.empty_like(x)
    buffers = np.empty((3, min(BLOCK, x.size)))
    for start in range(0, x.size, BLOCK):
        block, out = x[start : start + BLOCK], result[start : start + BLOCK]
        inverse, y, z = buffers[:, : block.size]
        np.multiply(block, block, out=inverse)
        np.add(inverse, 1.0, out=inverse)
        np.sqrt(inverse, out=y)
        np.divide(block, y, out=out)  # y
        np.multiply(inverse, y, out=inverse)  # s^3
        np.subtract(1.0, out, out=y)
        np.multiply(out, y, out=z)
        np.subtract(y, out, out=y)
        np.divide(y, inverse, out=y)
        np.add(y, 0.5, out=y)
        np.multiply(block, 0.5, out=out)
        np.add(z, out, out=z)
        np.add(z, z, out=z)
        np.multiply(z, y, out=out)
    return result


def chain_gradient(size: int, unit: Unit, targets: tuple[Target, ...] = ()) -> Workload:
    def problem() -> Arguments:
        return (np.random.default_rng(0).normal(size=size),)

    peers = without(gradients(chain_in, problem), "JAX")
    if size <= SMALL:
        # It takes memory in small pages. Of arrays that the system gives memory for, the next contestant's would then
        # take ten times as long, until the pages are put together again.
        peers["PyTorch"] = lambda: torch_gradient(chain_in(torch), *problem())
    return Workload(
        f"gradient of a chain of elementwise operations, {size:,} elements",
        {
            "NumPy, as a tape": lambda: Call(gradient_of_a_tape, problem()),
            "NumPy, by hand": lambda: Call(gradient_by_hand, problem()),
            **peers,
        },
        targets=targets,
        unit=unit,
        in_chart=bool(targets),
        patience=2 if size > SMALL else 1,
    )


WORKLOADS = (
    chain_gradient(10_000, MICROSECONDS),
    chain_gradient(10_000_000, MILLISECONDS, (Target("functrans, jitted", 0.45, "NumPy, as a tape"),)),
)
