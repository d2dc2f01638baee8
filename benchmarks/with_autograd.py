"""The workloads in HIPS autograd."""

from typing import Any

import autograd.numpy as np
from autograd import grad

from . import problems
from .recurrent import lstm_loss, python_scan
from .timing import Call, Import


def _loss(params: dict[str, Any], x: Any, y: Any) -> Any:
    h = np.tanh(x @ params["W1"] + params["b1"])
    return np.mean((h @ params["W2"] + params["b2"] - y) ** 2)


def _almost_nothing(params: dict[str, Any], x: Any, y: Any) -> Any:
    return np.sum(params["b2"])


def mlp_gradient() -> Call:
    return Call(grad(_loss), problems.mlp())


def lstm_gradient() -> Call:
    return Call(grad(lstm_loss(np, python_scan(np))), problems.lstm())


def scalar_gradient() -> Call:
    return Call(grad(lambda x: x**2 + x), (1.5,))


def fixed_cost() -> Call:
    return Call(grad(_almost_nothing), problems.mlp())


def import_time() -> Import:
    return Import("autograd.numpy", after=("numpy",))
