"""A loop that minimises: an optimiser, run until the gradient is small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api import value_and_grad
from functrans.optim.base import GradientTransformation, apply_updates, hidden, with_extra_args_support
from functrans.optim.leaves import each_leaf, float_leaves, in_dtype_of, loop
from functrans.optim.linesearch import scalar_value
from functrans.optim.lookup import tree_get, tree_get_all_with_path
from functrans.optim.optimizers import lbfgs

__all__ = ["MinimizeResult", "minimize"]


class MinimizeResult(NamedTuple):
    """What `minimize` found.

    `params` is the point, `value` and `grad` are the function and its gradient there, `num_steps` counts the steps
    (int32), `converged` says whether the largest element of the gradient is at most `tol`, `state` is that of the
    optimiser.
    """

    params: Any
    value: Any
    grad: Any
    num_steps: Any
    converged: Any
    state: Any


@hidden
def minimize(
    fun: Callable[..., Any],
    params: Any,
    args: Sequence[Any] = (),
    *,
    optimizer: GradientTransformation | None = None,
    tol: Any = 1e-6,
    max_steps: int = 500,
) -> MinimizeResult:
    """Minimise a function by an optimiser, L-BFGS if none is given.

    It goes through `jit` and `vmap`, where it is one loop of a program. It ends when the largest element of the
    gradient is at most `tol`, the value is no longer finite, a line search finds no step, or after `max_steps`.

    Args:
        fun: from parameters, and `args`, to a real scalar. For complex parameters the steps follow the conjugate of
            what `grad` gives, which is the direction of steepest ascent.
        params: the first point, a pytree of floating-point arrays and numbers.
        args: further arguments of the function.
        optimizer: any transformation; line searches are told the value, the gradient and the function.
        tol: see above.
        max_steps: see above.

    Raises:
        TypeError: if the parameters are not floating-point arrays, or the value is no real scalar.

    >>> import numpy as np
    >>> from functrans import optim
    >>> rosenbrock = lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    >>> found = optim.minimize(rosenbrock, np.array([-1.2, 1.0]))
    >>> np.round(found.params, 4), found.converged
    (array([1., 1.]), np.True_)
    """
    transformation = with_extra_args_support(lbfgs() if optimizer is None else optimizer)
    evaluate = value_and_grad(lambda p: fun(p, *args))
    first, treedef = float_leaves("minimize", params, "params")
    point = treedef.unflatten([np.array(x) if isinstance(x, (np.ndarray, np.generic)) else x for x in first])
    value, grad = evaluate(point)
    value = scalar_value("minimize", value, "the value of the function")
    state = transformation.init(point)
    searches = _has_line_search(state)

    def goes_on(carry: tuple[MinimizeResult, Any]) -> Any:
        found, is_stuck = carry
        return (found.num_steps < max_steps) & np.isfinite(found.value) & np.logical_not(found.converged | is_stuck)

    def step(carry: tuple[MinimizeResult, Any]) -> tuple[MinimizeResult, Any]:
        found = carry[0]
        ascent = each_leaf("minimize", lambda g: np.conj(g) if g.dtype.kind == "c" else g, found.grad)
        updates, state = transformation.update(
            ascent, found.state, found.params, value=found.value, grad=found.grad, value_fn=lambda p: fun(p, *args)
        )
        new = apply_updates(found.params, updates)
        if searches:
            new_value, new_grad = tree_get(state, "value"), tree_get(state, "grad")
        else:
            new_value, new_grad = evaluate(new)
        new_grad = each_leaf("minimize", in_dtype_of, new_grad, found.grad)
        count = found.num_steps + np.int32(1)
        result = MinimizeResult(new, in_dtype_of(new_value, value), new_grad, count, is_small(new_grad), state)
        return result, (_largest(updates) == 0) & searches

    def is_small(gradient: Any) -> Any:
        return _largest(gradient) <= tol

    start = MinimizeResult(point, value, grad, np.zeros((), np.int32), is_small(grad), state)
    return loop(goes_on, step, (start, np.False_))[0]


def _has_line_search(state: Any) -> bool:
    values = tree_get_all_with_path(state, "value")
    grads = [x for _, x in tree_get_all_with_path(state, "grad") if x is not None]
    return len(values) == 1 and len(grads) == 1


def _largest(tree: Any) -> Any:
    """The largest absolute value of the elements of a tree."""
    leaves, _ = float_leaves("minimize", tree)
    found: Any = np.float64(0.0)
    for x in leaves:
        found = np.maximum(found, np.max(np.abs(x), initial=0.0))
    return found
