"""The gradient of a convolutional network: NHWC, images 32 x 32 x 3."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss, jax_call, torch_gradient
from ..libraries import jax, jax_numpy, torch
from ..sampling import Call
from ..workload import Target, Workload

Arrays = dict[str, np.ndarray]


def problem(dtype: str, batch: int = 64) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Weights (Glorot's), images and targets."""
    rng = np.random.default_rng(0)
    shapes = {"W1": (5, 5, 3, 6), "W2": (3, 3, 6, 9), "W3": (32 * 32 * 9, 10)}
    weights = {}
    for name, shape in shapes.items():
        limit = (6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1]))) ** 0.5
        weights[name] = rng.uniform(-limit, limit, size=shape).astype(dtype)
    x, y = rng.normal(size=(batch, 32, 32, 3)), rng.normal(size=(batch, 10))
    return weights, x.astype(dtype), y.astype(dtype)


def loss_in(np: Any, library: Any) -> Loss:
    conv, relu, layout = library.lax.conv_general_dilated, library.nn.relu, ("NHWC", "HWIO", "NHWC")

    def loss(weights: Any, x: Any, y: Any) -> Any:
        h = relu(conv(x, weights["W1"], (1, 1), [(2, 2)] * 2, dimension_numbers=layout))
        h = relu(conv(h, weights["W2"], (1, 1), [(1, 1)] * 2, dimension_numbers=layout))
        return np.mean((h.reshape(len(x), -1) @ weights["W3"] - y) ** 2)

    return loss


def torch_loss(weights: Any, x: Any, y: Any) -> Any:
    """The same images and weights, of which PyTorch takes views that are laid out as it says that they are fastest."""
    conv = torch.nn.functional.conv2d
    h = torch.relu(conv(x.permute(0, 3, 1, 2), weights["W1"].permute(3, 2, 0, 1), padding=2))
    h = torch.relu(conv(h, weights["W2"].permute(3, 2, 0, 1), padding=1))
    return torch.mean((h.permute(0, 2, 3, 1).reshape(len(x), -1) @ weights["W3"] - y) ** 2)


def _patches(x: np.ndarray, size: int) -> np.ndarray:
    """The windows around all pixels, a row each, with zeros around the image."""
    n, height, width, channels = x.shape
    pad = size // 2
    padded = np.zeros((n, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    padded[:, pad:-pad, pad:-pad] = x
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * height * width, size * size * channels)


BLOCK = 4
"""Images that are worked on at a time: with their patches they stay in the cache."""


def gradient_by_hand(weights: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    """The sum over blocks of images."""
    grads = {name: np.zeros_like(w) for name, w in weights.items()}
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        _add_gradient(grads, weights, x[block], y[block], 2 / y.size)
    return grads


def _add_gradient(grads: Arrays, weights: Arrays, x: np.ndarray, y: np.ndarray, scale: float) -> None:
    """Each convolution, and each of its derivatives, is one matrix product over the patches of its operand."""
    w1, w2, w3 = weights.values()
    n = len(x)
    p1 = _patches(x, 5)
    h1 = p1 @ w1.reshape(75, 6)
    np.maximum(h1, 0, out=h1)
    p2 = _patches(h1.reshape(n, 32, 32, 6), 3)
    h2 = p2 @ w2.reshape(54, 9)
    np.maximum(h2, 0, out=h2)
    flat = h2.reshape(n, -1)
    r = flat @ w3
    r -= y
    r *= scale
    grads["W3"] += flat.T @ r
    d2 = (r @ w3.T).reshape(h2.shape)
    d2 *= h2 > 0
    grads["W2"] += (p2.T @ d2).reshape(w2.shape)
    turned = w2[::-1, ::-1].transpose(0, 1, 3, 2).reshape(81, 6)
    d1 = _patches(d2.reshape(n, 32, 32, 9), 3) @ turned
    d1 *= h1 > 0
    grads["W1"] += (p1.T @ d1).reshape(w1.shape)


def gradient(dtype: str, batch: int = 64) -> Workload:
    def args() -> Any:
        return problem(dtype, batch)

    return Workload(
        f"gradient of a convnet, 32x32x3, batch {batch}, {dtype}",
        {
            "NumPy, by hand": lambda: Call(gradient_by_hand, args()),
            "functrans": lambda: Call(ft.grad(loss_in(np, ft)), args()),
            "functrans, jitted": lambda: Call(ft.jit(ft.grad(loss_in(np, ft))), args()),
            "JAX, jitted": lambda: jax_call(jax.jit(jax.grad(loss_in(jax_numpy, jax))), *args()),
            "PyTorch": lambda: torch_gradient(torch_loss, *args()),
        },
        targets=(Target("functrans, jitted", 0.7, "JAX, jitted"),),
        tolerance=10,
        in_table=dtype == "float32",
        in_chart=dtype == "float32",
    )


WORKLOADS = (gradient("float32"), gradient("float64"))
