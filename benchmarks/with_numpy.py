"""What a careful person writes by hand."""

import numpy as np

from . import problems
from .operations import REPEATS, repeat
from .timing import Call, Import, PerOperation


def _mlp_gradient(params: problems.Arrays, x: np.ndarray, y: np.ndarray) -> problems.Arrays:
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


def mlp_gradient() -> Call:
    return Call(_mlp_gradient, problems.mlp())


def operation(name: str) -> PerOperation:
    """Not recorded, but run."""
    operands = problems.recording_operands()
    return PerOperation(Call(repeat(np, name), operands), Call(repeat(np, "nothing"), operands), REPEATS)


def import_time() -> Import:
    return Import("numpy")
