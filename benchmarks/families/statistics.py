"""The gradients and Hessians of statistical models: classification and mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft

from ..contestants import Loss, gradients, jax_call, tensors, torch_gradient
from ..libraries import autograd, autograd_numpy, autograd_special, jax, jax_numpy, torch
from ..sampling import Call
from ..workload import Target, Workload

# --------------------------------------------------------------------------------------------------------------------
# Logistic regression


def points(rows: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, features, and classes that are 1 or -1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features))
    return rng.normal(size=features) / features, x, np.sign(x @ rng.normal(size=features))


def logistic_loss_in(np: Any) -> Loss:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return np.mean(np.logaddexp(0.0, -y * (x @ w)))

    return loss


def torch_logistic_loss(w: Any, x: Any, y: Any) -> Any:
    return -torch.mean(torch.nn.functional.logsigmoid(y * (x @ w)))


def logistic_gradient_by_hand(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    m = x @ w
    m *= y
    np.exp(m, out=m)
    m += 1.0
    np.divide(y, m, out=m)
    m *= -1 / len(y)
    return m @ x


def logistic_hessian_by_hand(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    m = x @ w
    m *= y
    np.exp(m, out=m)
    m += 1.0
    np.divide(1.0, m, out=m)
    m -= m * m
    m *= 1 / len(y)
    return (x.T * m) @ x


# --------------------------------------------------------------------------------------------------------------------
# Softmax cross entropy


def logits(rows: int = 512, classes: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, classes)).astype("float32"), rng.integers(classes, size=rows)


def entropy(logits: Any, labels: Any) -> Any:
    return np.mean(ft.nn.softmax_cross_entropy_with_integer_labels(logits, labels))


def jax_entropy(logits: Any, labels: Any) -> Any:
    picked = jax_numpy.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -jax_numpy.mean(picked)


def autograd_entropy(logits: Any, labels: Any) -> Any:
    picked = logits[np.arange(len(labels)), labels]
    return autograd_numpy.mean(autograd_special.logsumexp(logits, axis=1) - picked)


def torch_entropy(logits: Any, labels: Any) -> Any:
    return torch.nn.functional.cross_entropy(logits, labels)


def entropy_gradient_by_hand(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p = logits - np.max(logits, axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= np.sum(p, axis=1, keepdims=True) * np.float32(len(p))
    p[np.arange(len(labels)), labels] -= np.float32(1 / len(p))
    return p


# --------------------------------------------------------------------------------------------------------------------
# A mixture of Gaussians


def mixture(rows: int = 1000, components: int = 25, dimensions: int = 10) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights, means and Cholesky factors of precisions (logarithms on the diagonal), and points."""
    rng = np.random.default_rng(0)
    params = {
        "weights": rng.normal(size=components),
        "means": rng.normal(size=(components, dimensions)),
        "factors": rng.normal(size=(components, dimensions, dimensions)) / 5,
    }
    return params, rng.normal(size=(rows, dimensions))


def likelihood_in(np: Any, logsumexp: Any) -> Loss:
    """The logarithm of the likelihood of all points."""

    def log_likelihood(params: Any, x: Any) -> Any:
        diagonals = np.diagonal(params["factors"], axis1=-1, axis2=-2)
        d = x.shape[1]
        factors = np.tril(params["factors"], -1) + np.exp(diagonals)[:, :, None] * np.eye(d)
        z = np.einsum("kij,nkj->nki", factors, x[:, None, :] - params["means"])
        inner = params["weights"] + np.sum(diagonals, axis=1) - 0.5 * np.sum(z**2, axis=2)
        return np.sum(logsumexp(inner, axis=1)) - len(x) * logsumexp(params["weights"], axis=0)

    return log_likelihood


def torch_likelihood(params: Any, x: Any) -> Any:
    diagonals = torch.diagonal(params["factors"], dim1=1, dim2=2)
    factors = torch.tril(params["factors"], -1) + torch.diag_embed(torch.exp(diagonals))
    z = torch.einsum("kij,nkj->nki", factors, x[:, None, :] - params["means"])
    inner = params["weights"] + torch.sum(diagonals, dim=1) - 0.5 * torch.sum(z**2, dim=2)
    return torch.sum(torch.logsumexp(inner, dim=1)) - len(x) * torch.logsumexp(params["weights"], dim=0)


def likelihood_gradient_by_hand(params: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """By component, then point, so that all products are batches of matrix products."""
    d, diagonal = x.shape[1], np.arange(x.shape[1])
    factors = np.tril(params["factors"], -1)
    logs = params["factors"][:, diagonal, diagonal]
    factors[:, diagonal, diagonal] = scales = np.exp(logs)
    centred = x - params["means"][:, None, :]
    z = centred @ factors.transpose(0, 2, 1)
    inner = np.einsum("kni,kni->kn", z, z)
    inner *= -0.5
    inner += (params["weights"] + logs.sum(axis=1))[:, None]
    inner -= inner.max(axis=0)
    np.exp(inner, out=inner)
    inner /= inner.sum(axis=0)  # now the share of each component in each point
    shares = inner.sum(axis=1)
    z *= inner[:, :, None]
    d_factors = z.transpose(0, 2, 1) @ centred
    d_means = (z.sum(axis=1)[:, None, :] @ factors)[:, 0, :]
    d_diagonal = shares[:, None] - d_factors[:, diagonal, diagonal] * scales
    d_factors *= -np.tri(d, k=-1)
    d_factors[:, diagonal, diagonal] = d_diagonal
    weights = np.exp(params["weights"] - params["weights"].max())
    return {
        "weights": shares - len(x) * weights / weights.sum(),
        "means": d_means,
        "factors": d_factors,
    }


def _mixture_in_functrans() -> Loss:
    return likelihood_in(np, ft.nn.logsumexp)


# --------------------------------------------------------------------------------------------------------------------


def _large() -> Any:
    return points(10_000, 100)


def _small() -> Any:
    return points(500, 30)


WORKLOADS = (
    Workload(
        "gradient of a logistic regression, 10,000 x 100",
        {
            "NumPy, by hand": lambda: Call(logistic_gradient_by_hand, _large()),
            **gradients(logistic_loss_in, _large),
            "PyTorch": lambda: torch_gradient(torch_logistic_loss, *_large()),
        },
        targets=(Target("functrans, jitted", 1.0, "JAX, jitted"),),
        in_chart=True,
    ),
    Workload(
        "Hessian of a logistic regression, 500 x 30",
        {
            "NumPy, by hand": lambda: Call(logistic_hessian_by_hand, _small()),
            "functrans": lambda: Call(ft.hessian(logistic_loss_in(np)), _small()),
            "functrans, jitted": lambda: Call(ft.jit(ft.hessian(logistic_loss_in(np))), _small()),
            "autograd": lambda: Call(autograd.hessian(logistic_loss_in(autograd_numpy)), _small()),
            "JAX, jitted": lambda: jax_call(jax.jit(jax.hessian(logistic_loss_in(jax_numpy))), *_small()),
            "PyTorch": lambda: Call(torch.func.hessian(torch_logistic_loss), tensors(_small())),
        },
    ),
    Workload(
        "gradient of a softmax cross entropy, 512 x 1,000, float32",
        {
            "NumPy, by hand": lambda: Call(entropy_gradient_by_hand, logits()),
            "functrans": lambda: Call(ft.grad(entropy), logits()),
            "functrans, jitted": lambda: Call(ft.jit(ft.grad(entropy)), logits()),
            "autograd": lambda: Call(autograd.grad(autograd_entropy), logits()),
            "JAX, jitted": lambda: jax_call(jax.jit(jax.grad(jax_entropy)), *logits()),
            "PyTorch": lambda: torch_gradient(torch_entropy, *logits()),
        },
    ),
    Workload(
        "gradient of the log-likelihood of a Gaussian mixture, 1,000 points, 25 components, 10 dimensions",
        {
            "NumPy, by hand": lambda: Call(likelihood_gradient_by_hand, mixture()),
            "functrans": lambda: Call(ft.grad(_mixture_in_functrans()), mixture()),
            "functrans, jitted": lambda: Call(ft.jit(ft.grad(_mixture_in_functrans())), mixture()),
            "autograd": lambda: Call(
                autograd.grad(likelihood_in(autograd_numpy, autograd_special.logsumexp)), mixture()
            ),
            "JAX, jitted": lambda: jax_call(
                jax.jit(jax.grad(likelihood_in(jax_numpy, jax.scipy.special.logsumexp))), *mixture()
            ),
            "PyTorch": lambda: torch_gradient(torch_likelihood, *mixture()),
        },
        tolerance=10,
        in_chart=True,
    ),
)
