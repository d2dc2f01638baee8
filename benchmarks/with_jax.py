"""The workloads in JAX, at its best: arguments are on the device, and programs run in the calling thread.

Asynchronous dispatch, the default, makes a small program twice as slow: it wakes another thread for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import problems
from .operations import REPEATS, repeat
from .recurrent import lstm_loss
from .timing import Call, Import, PerOperation

jax.config.update("jax_cpu_enable_async_dispatch", False)


def _loss(params: dict[str, Any], x: Any, y: Any) -> Any:
    h = jnp.tanh(x @ params["W1"] + params["b1"])
    return jnp.mean((h @ params["W2"] + params["b2"] - y) ** 2)


def _almost_nothing(params: dict[str, Any], x: Any, y: Any) -> Any:
    return jnp.sum(params["b2"])


def _square(x: Any) -> Any:
    return x**2 + x


def _call(function: Callable[..., Any], *args: Any) -> Call:
    return Call(lambda *args: jax.block_until_ready(function(*args)), tuple(map(jax.device_put, args)))


def mlp_gradient() -> Call:
    return _call(jax.grad(_loss), *problems.mlp())


def mlp_gradient_jitted() -> Call:
    return _call(jax.jit(jax.grad(_loss)), *problems.mlp())


def lstm_gradient_jitted() -> Call:
    return _call(jax.jit(jax.grad(lstm_loss(jnp, jax.lax.scan))), *problems.lstm())


def normals() -> Call:
    draw = jax.jit(lambda key: jax.random.normal(key, (1_000_000,), "float32"))
    return Call(lambda: jax.block_until_ready(draw(jax.random.key(0))), ())


def scalar_gradient() -> Call:
    return _call(jax.grad(_square), 1.5)


def scalar_gradient_jitted() -> Call:
    return _call(jax.jit(jax.grad(_square)), 1.5)


def fixed_cost() -> Call:
    return _call(jax.grad(_almost_nothing), *problems.mlp())


def jitted_call() -> Call:
    return _call(jax.jit(lambda x: x + 1), problems.vector())


def operation(name: str) -> PerOperation:
    """A function that JAX has not seen before at each call: it keeps what it recorded."""

    def record(name: str) -> Call:
        repeated = repeat(jnp, name)
        return Call(
            lambda *args: jax.make_jaxpr(lambda *args: repeated(*args))(*args),
            tuple(map(jax.device_put, problems.recording_operands())),
        )

    return PerOperation(record(name), record("nothing"), REPEATS)


def import_time() -> Import:
    return Import("jax", after=("numpy",))
