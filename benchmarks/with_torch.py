"""The workloads in PyTorch, eager."""

from typing import Any

import torch

from . import problems
from .timing import Call, Import

torch.set_num_threads(1)


def _mlp_gradient(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    h = torch.tanh(x @ params["W1"] + params["b1"])
    loss = torch.mean((h @ params["W2"] + params["b2"] - y) ** 2)
    return dict(zip(params, torch.autograd.grad(loss, tuple(params.values())), strict=True))


def mlp_gradient() -> Call:
    params, x, y = problems.mlp()
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    return Call(_mlp_gradient, (leaves, torch.tensor(x), torch.tensor(y)))


def import_time() -> Import:
    return Import("torch", after=("numpy",))
