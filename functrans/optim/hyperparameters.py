"""Hyperparameters as part of the state: they can be read, changed and differentiated by, and scheduled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from functrans.core.tracer import Tracer
from functrans.lax import convert_element_type
from functrans.optim.base import (
    GradientTransformationExtraArgs,
    first_count,
    hidden,
    hidden_update,
    with_extra_args_support,
)
from functrans.optim.leaves import increment

__all__ = ["InjectHyperparamsState", "inject_hyperparams"]


class InjectHyperparamsState(NamedTuple):
    """The number of steps, the hyperparameters by name, and the state of the optimiser."""

    count: Any
    hyperparams: dict[str, Any]
    inner_state: Any


def inject_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., GradientTransformationExtraArgs]:
    """A function that makes an optimiser, from one that does, with the hyperparameters in its state.

    Floats and arrays become scalar arrays in `state.hyperparams`: they may be changed between steps without a new
    program under `jit`, differ between members under `vmap`, and have gradients. So do ints, where the default is not
    an int. Functions become schedules, whose value for the step is found there. Everything else, bools and functions
    for parameters whose name has "mask" in it among them, stays as it is.

    Args:
        inner_factory: such as `adam`.
        static_args: names of further parameters that stay as they are.
        hyperparam_dtype: the dtype in the state; that of the given values if None.

    Raises:
        ValueError: if a name in `static_args` is no parameter.

    >>> from functrans import optim
    >>> optimizer = optim.inject_hyperparams(optim.sgd)(learning_rate=0.1)
    >>> state = optimizer.init([0.0])
    >>> state.hyperparams['learning_rate'] = 0.5
    >>> optimizer.update([1.0], state)[0]
    [np.float64(-0.5)]
    """
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    if unknown := static - set(signature.parameters):
        raise ValueError(f"inject_hyperparams: {sorted(unknown)} are no parameters of {signature}")

    def factory(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        found: dict[str, dict[str, Any]] = {"static": {}, "number": {}, "schedule": {}}
        for name, value in bound.arguments.items():
            kind = _kind(name, value, signature.parameters[name].default, static)
            found[kind][name] = value

        def make(hyperparams: dict[str, Any]) -> Any:
            return _call(inner_factory, signature, {**found["static"], **hyperparams})

        return _injected(make, found["number"], found["schedule"], hyperparam_dtype)

    return factory


def _kind(name: str, value: Any, default: Any, static: set[str]) -> str:
    """Whether a parameter is "static", a "number" or a "schedule"."""
    if name in static or isinstance(value, (bool, np.bool_)) or "mask" in name:
        return "static"
    if callable(value) and not isinstance(value, tuple):
        return "schedule"
    if isinstance(value, (int, np.integer)):
        is_int = isinstance(default, int) and not isinstance(default, bool)
        return "static" if is_int else "number"
    is_number = isinstance(value, (float, np.floating, np.ndarray, Tracer))
    return "number" if is_number and getattr(value, "ndim", 0) == 0 else "static"


def _call(factory: Callable[..., Any], signature: inspect.Signature, values: dict[str, Any]) -> Any:
    bound = signature.bind_partial()
    bound.arguments.update({name: values[name] for name in signature.parameters if name in values})
    return factory(*bound.args, **bound.kwargs)


def _injected(
    make: Callable[[dict[str, Any]], Any], numbers: dict[str, Any], schedules: dict[str, Any], dtype: Any
) -> GradientTransformationExtraArgs:
    def as_array(x: Any) -> Any:
        if isinstance(x, Tracer):
            return x if dtype is None else convert_element_type(x, dtype)
        found = np.asarray(x) if dtype is None else np.asarray(x, dtype)
        return found.astype(float) if found.dtype.kind in "iu" else found

    def scheduled(count: Any) -> dict[str, Any]:
        return {name: as_array(schedule(count)) for name, schedule in schedules.items()}

    def init(params: Any) -> InjectHyperparamsState:
        count = first_count()
        found = {**{name: as_array(x) for name, x in numbers.items()}, **scheduled(count)}
        return InjectHyperparamsState(count, found, make(found).init(params))

    def update(
        updates: Any, state: InjectHyperparamsState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, InjectHyperparamsState]:
        found = {**{name: as_array(x) for name, x in state.hyperparams.items()}, **scheduled(state.count)}
        inner = with_extra_args_support(make(found))
        out, inner_state = inner.update(updates, state.inner_state, params, **extra_args)
        return out, InjectHyperparamsState(increment(state.count), found, inner_state)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, InjectHyperparamsState))
