"""Backtracking: how long a step is, by trying shorter and shorter ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.api import value_and_grad
from functrans.core.tracer import Tracer
from functrans.optim.base import GradientTransformationExtraArgs, apply_updates, hidden, hidden_update, needed
from functrans.optim.lbfgs import inner_product
from functrans.optim.leaves import branch, each_leaf, float_leaves, in_dtype_of, loop, real_dtype, scalar, zeros_of
from functrans.optim.lookup import tree_get

__all__ = [
    "BacktrackingLinesearchInfo",
    "ScaleByBacktrackingLinesearchState",
    "keywords_of",
    "scale_by_backtracking_linesearch",
    "scalar_value",
    "slope_along",
    "value_and_grad_from_state",
]


class BacktrackingLinesearchInfo(NamedTuple):
    """How the last search went: the evaluations, and by how much the value missed the sufficient decrease."""

    num_linesearch_steps: Any
    decrease_error: Any


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The last step size, the value there and, with `store_grad`, the gradient."""

    learning_rate: Any
    value: Any
    grad: Any
    info: BacktrackingLinesearchInfo


def keywords_of(value_fn: Callable[..., Any], extra_args: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra arguments of an update that the function takes by name."""
    try:
        parameters = inspect.signature(value_fn).parameters
    except (TypeError, ValueError):
        return {}
    return {name: x for name, x in extra_args.items() if name in parameters}


def slope_along(updates: Any, grad: Any) -> Any:
    """The derivative of the value along the updates, where the gradient is as `grad` gives it."""
    xs, ys = float_leaves("linesearch", updates)[0], float_leaves("linesearch", grad, "grad")[0]
    return inner_product(xs, [np.conj(y) if y.dtype.kind == "c" else y for y in ys])


def scalar_value(name: str, value: Any, what: str = "value") -> Any:
    """The value of a loss as a real scalar array.

    Raises:
        TypeError: if it is none.
    """
    found: Any = value if isinstance(value, Tracer) else np.asarray(value)
    if found.dtype.kind not in "biuf" or found.ndim:
        shown = "None" if value is None else f"{found.dtype.name}{list(found.shape)}"
        raise TypeError(f"{name}: {what} must be a real scalar, got {shown}")
    return found if found.dtype.kind == "f" else found.astype(np.float64)


def check_search(name: str, params: Any, value: Any, grad: Any, value_fn: Any) -> None:
    """Check that the update got what a line search needs."""
    needed(name, params)
    if value is None or grad is None or not callable(value_fn):
        raise ValueError(
            f"{name} needs to know the loss: call update(updates, state, params, value=value, grad=grad, value_fn=loss)"
        )


def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: Any = 1e-4,
    decrease_factor: Any = 0.8,
    increase_factor: Any = 1.5,
    max_learning_rate: Any = 1.0,
    atol: Any = 0.0,
    rtol: Any = 0.0,
    store_grad: bool = False,
) -> GradientTransformationExtraArgs:
    """Updates times a step size that lowers the value enough (Armijo, Pacific J. Math. 16, 1966; Nocedal and Wright,
    Numerical Optimization, 2006, algorithm 3.1): `f(x + s u) <= (1 + rtol) f(x) + slope_rtol s <u, grad f(x)> + atol`.

    Its `update` takes `value=`, `grad=` and `value_fn=`, and what else `value_fn` takes by name. The updates must
    descend, so that it comes after a scale by a negative number.

    Args:
        max_backtracking_steps: how often a step is made shorter, at most.
        slope_rtol, atol, rtol: see the formula.
        decrease_factor: by which.
        increase_factor: times the last step size is the first one to try.
        max_learning_rate: the longest; None for no bound.
        store_grad: whether to compute the gradient at the new point, for `value_and_grad_from_state`.

    >>> import numpy as np
    >>> from functrans import optim
    >>> loss = lambda x: np.sum(x ** 2)
    >>> optimizer = optim.chain(optim.sgd(1.0), optim.scale_by_backtracking_linesearch(20))
    >>> x = np.array([2.0])
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x, value=loss(x), grad=2 * x, value_fn=loss)
    >>> bool(loss(x + updates) < loss(x))
    True
    """
    name = "scale_by_backtracking_linesearch"
    longest = np.inf if max_learning_rate is None else max_learning_rate

    def init(params: Any) -> ScaleByBacktrackingLinesearchState:
        dtype = value_dtype(name, params)
        info = BacktrackingLinesearchInfo(np.zeros((), np.int32), np.array(np.inf, dtype))
        grad = zeros_of(name, params) if store_grad else None
        return ScaleByBacktrackingLinesearchState(np.array(1.0, dtype), np.array(np.inf, dtype), grad, info)

    def update(
        updates: Any,
        state: ScaleByBacktrackingLinesearchState,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, ScaleByBacktrackingLinesearchState]:
        check_search(name, params, value, grad, value_fn)
        keywords = keywords_of(value_fn, extra_args)
        start = scalar_value(name, value)
        slope = slope_along(updates, grad)

        def tried(size: Any) -> tuple[Any, Any, Any]:
            found = scalar_value(name, value_fn(moved(params, size, updates), **keywords), "what value_fn returns")
            found = in_dtype_of(found, start)
            error = (
                found - scalar(1 + rtol, start) * start - scalar(slope_rtol, start) * in_dtype_of(size * slope, start)
            )
            error = np.where(np.isnan(error), np.inf, np.maximum(error, 0))
            return size, found, in_dtype_of(error, start)

        def goes_on(carry: Any) -> Any:
            count, (_, _, error) = carry
            return (count < max_backtracking_steps) & (error > atol)

        def shorter(carry: Any) -> Any:
            count, (size, _, _) = carry
            return count + np.int32(1), tried(in_dtype_of(size * scalar(decrease_factor, size), size))

        last = in_dtype_of(state.learning_rate, start)
        first = in_dtype_of(np.minimum(scalar(increase_factor, last) * last, scalar(longest, last)), last)
        count, (size, found, error) = loop(goes_on, shorter, (np.zeros((), np.int32), tried(first)))
        new_grad = None
        if store_grad:
            new_grad = value_and_grad(lambda p: value_fn(p, **keywords))(moved(params, size, updates))[1]
        info = BacktrackingLinesearchInfo(count + np.int32(1), error)
        return scaled(size, updates), ScaleByBacktrackingLinesearchState(size, found, new_grad, info)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, ScaleByBacktrackingLinesearchState))


def value_dtype(name: str, params: Any) -> Any:
    """The dtype of losses of such parameters."""
    leaves, _ = float_leaves(name, params, "params")
    return np.result_type(*[real_dtype(x.dtype) for x in leaves]) if leaves else np.dtype(float)


def scaled(size: Any, updates: Any) -> Any:
    """Updates times a step size."""
    return each_leaf("linesearch", lambda u: scalar(size, u) * u, updates)


def moved(params: Any, size: Any, updates: Any) -> Any:
    """Parameters, moved along the updates."""
    return apply_updates(params, scaled(size, updates))


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """The value and gradient of a function, taken from the state of a line search that has computed them already.

    Args:
        value_fn: from parameters, and other arguments, to a real scalar.

    Returns:
        A function of the same arguments and `state=`, that of an optimiser, which gives the value and the gradient. It
        computes them if the state has none yet (its value is not finite).

    Raises:
        ValueError: on call, if the state is not that of one line search that stores value and gradient.

    >>> from functrans import optim
    >>> value_and_grad = optim.value_and_grad_from_state(lambda x: x * x)
    >>> value_and_grad(3.0, state=optim.lbfgs().init(3.0))
    (np.float64(9.0), np.float64(6.0))
    """

    def call(params: Any, *args: Any, state: Any, **kwargs: Any) -> tuple[Any, Any]:
        value, grad = tree_get(state, "value"), tree_get(state, "grad")
        if value is None or grad is None:
            raise ValueError(
                "value_and_grad_from_state: the state has no value and gradient. It must be that of an optimiser with "
                "scale_by_zoom_linesearch, or scale_by_backtracking_linesearch(..., store_grad=True)."
            )

        def compute() -> tuple[Any, Any]:
            found, new = value_and_grad(value_fn)(params, *args, **kwargs)
            return in_dtype_of(found, value), each_leaf("value_and_grad_from_state", in_dtype_of, new, grad)

        return branch(np.isfinite(value), lambda: (value, grad), compute)

    return hidden(call)
