"""The workloads in functrans, over plain NumPy."""

from typing import Any

import numpy as np

import functrans

from . import problems
from .operations import REPEATS, repeat
from .recurrent import lstm_loss
from .timing import Call, Import, PerOperation


def _loss(params: dict[str, Any], x: Any, y: Any) -> Any:
    h = np.tanh(x @ params["W1"] + params["b1"])
    return np.mean((h @ params["W2"] + params["b2"] - y) ** 2)


def _almost_nothing(params: dict[str, Any], x: Any, y: Any) -> Any:
    return np.sum(params["b2"])


def _square(x: Any) -> Any:
    return x**2 + x


def mlp_gradient() -> Call:
    return Call(functrans.grad(_loss), problems.mlp())


def mlp_gradient_jitted() -> Call:
    return Call(functrans.jit(functrans.grad(_loss)), problems.mlp())


def lstm_gradient() -> Call:
    return Call(functrans.grad(lstm_loss(np, functrans.lax.scan)), problems.lstm())


def lstm_gradient_jitted() -> Call:
    return Call(functrans.jit(functrans.grad(lstm_loss(np, functrans.lax.scan))), problems.lstm())


def normals() -> Call:
    key = functrans.random.key(0)
    return Call(lambda: functrans.random.normal(key, (1_000_000,), "float32"), ())


def scalar_gradient() -> Call:
    return Call(functrans.grad(_square), (1.5,))


def scalar_gradient_jitted() -> Call:
    return Call(functrans.jit(functrans.grad(_square)), (1.5,))


def fixed_cost() -> Call:
    return Call(functrans.grad(_almost_nothing), problems.mlp())


def jitted_call() -> Call:
    return Call(functrans.jit(lambda x: x + 1), (problems.vector(),))


def operation(name: str) -> PerOperation:
    """A new function at each call, so that nothing recorded before can be taken."""

    def record(name: str) -> Call:
        repeated = repeat(np, name)
        return Call(
            lambda *args: functrans.eval_shape(lambda *args: repeated(*args), *args),
            problems.recording_operands(),
        )

    return PerOperation(record(name), record("nothing"), REPEATS)


def import_time() -> Import:
    return Import("functrans", after=("numpy",))
