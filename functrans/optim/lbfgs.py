"""L-BFGS: gradients times an approximate inverse Hessian, made of the last few steps."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from functrans.numpy import concatenate, stack
from functrans.optim.base import GradientTransformation, first_count, hidden, hidden_update, needed
from functrans.optim.leaves import each_leaf, float_leaves, in_dtype_of, increment, scalar, zeros_of

__all__ = ["ScaleByLBFGSState", "inner_product", "scale_by_lbfgs"]


class ScaleByLBFGSState(NamedTuple):
    """What L-BFGS remembers. The memories have an axis more than the parameters; along it, older steps come first."""

    count: Any
    params: Any
    updates: Any
    diff_params_memory: Any
    diff_updates_memory: Any
    weights_memory: Any


Leaves = list[Any]


def inner_product(xs: Leaves, ys: Leaves) -> Any:
    """The real inner product of two lists of arrays."""
    total: Any = np.float64(0.0) if not xs else 0.0
    for x, y in zip(xs, ys, strict=True):
        total = total + np.sum(x * y if x.dtype.kind != "c" else x.real * y.real + x.imag * y.imag)
    return total


def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> GradientTransformation:
    """Gradients times the inverse Hessian of L-BFGS (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4).

    A step whose change of the gradient shows no positive curvature is not remembered (as in Byrd, Lu, Nocedal and Zhu,
    SIAM J. Sci. Comput. 16, 1995, eq. 3.9): the approximation stays positive definite.

    Args:
        memory_size: how many steps are remembered.
        scale_init_precond: whether the approximation begins with the curvature of the last step (eq. 7.20), and the
            first step is no longer than 1; or with the identity.

    Raises:
        ValueError: if `memory_size` is not a positive int; at update, without parameters.
    """
    size = operator.index(memory_size)
    if size < 1:
        raise ValueError(f"scale_by_lbfgs: memory_size must be a positive int, got {memory_size}")
    name = "scale_by_lbfgs"

    def init(params: Any) -> ScaleByLBFGSState:
        def memory() -> Any:
            return each_leaf(name, lambda p: np.zeros((size, *p.shape), p.dtype), params, what="params")

        zeros = zeros_of(name, params), zeros_of(name, params)
        leaves, _ = float_leaves(name, params, "params")
        weights = np.zeros(size, np.result_type(np.float32, *[x.real.dtype for x in leaves]) if leaves else float)
        return ScaleByLBFGSState(first_count(), *zeros, memory(), memory(), weights)

    def update(updates: Any, state: ScaleByLBFGSState, params: Any = None) -> tuple[Any, ScaleByLBFGSState]:
        needed(name, params)
        each_leaf(name, lambda u, *old: u, updates, params, state.params, state.updates, of="params")  # checks
        gradient, treedef = float_leaves(name, updates)
        point, _ = float_leaves(name, params)
        memory = _remember(state, point, gradient)
        direction = _two_loops(gradient, memory, state.count, scale_init_precond)
        direction = [in_dtype_of(d, g) for d, g in zip(direction, gradient, strict=True)]
        steps, changes = [treedef.unflatten([stack(rows) for rows in past]) for past in memory[:2]]
        here, there = [each_leaf(name, np.copy, x) for x in (params, updates)]
        new = ScaleByLBFGSState(increment(state.count), here, there, steps, changes, stack(memory.weights))
        return treedef.unflatten(direction), new

    return GradientTransformation(hidden(init), hidden_update(update, ScaleByLBFGSState))


class _Memory(NamedTuple):
    """For each leaf a list of differences, oldest first; for each step a weight, 0 where there is none."""

    steps: list[list[Any]]
    changes: list[list[Any]]
    weights: list[Any]


def _remember(state: ScaleByLBFGSState, point: Leaves, gradient: Leaves) -> _Memory:
    """The memory after the step that led here."""
    old = [float_leaves("scale_by_lbfgs", tree, "state")[0] for tree in (state.params, state.updates)]
    step = [in_dtype_of(x - y, y) for x, y in zip(point, old[0], strict=True)]
    change = [in_dtype_of(x - y, y) for x, y in zip(gradient, old[1], strict=True)]
    curvature, square = inner_product(step, change), inner_product(change, change)
    weights = state.weights_memory
    is_kept = (state.count > 0) & (curvature > np.finfo(weights.dtype).eps * square)
    weight = np.where(is_kept, 1 / np.where(is_kept, curvature, 1), 0)

    def pushed(memory: Any, news: Leaves) -> list[list[Any]]:
        rows = float_leaves("scale_by_lbfgs", memory, "state")[0]
        return [_pushed(past, x, is_kept) for past, x in zip(rows, news, strict=True)]

    return _Memory(
        pushed(state.diff_params_memory, step),
        pushed(state.diff_updates_memory, change),
        _pushed(weights, in_dtype_of(weight, weights), is_kept),
    )


def _pushed(past: Any, new: Any, is_kept: Any) -> list[Any]:
    """The rows of a memory, with a new one for the oldest where it is kept."""
    shifted = concatenate([past[1:], new.reshape(1, *new.shape)])
    rows = np.where(is_kept, shifted, past)
    return [rows[i] for i in range(rows.shape[0])]


def _two_loops(gradient: Leaves, memory: _Memory, count: Any, scaled: bool) -> Leaves:
    """Nocedal and Wright, algorithm 7.4."""
    n = len(memory.weights)
    steps = [[rows[i] for rows in memory.steps] for i in range(n)]
    changes = [[rows[i] for rows in memory.changes] for i in range(n)]
    factors: list[Any] = [None] * n
    direction = gradient
    for i in reversed(range(n)):
        factors[i] = memory.weights[i] * inner_product(steps[i], direction)
        direction = _added(direction, -factors[i], changes[i])
    if scaled:
        first = _first_scale(gradient, steps, changes, memory.weights)
        direction = [scalar(first, d) * d for d in direction]
    for i in range(n):
        rest = factors[i] - memory.weights[i] * inner_product(changes[i], direction)
        direction = _added(direction, rest, steps[i])
    return direction


def _added(xs: Leaves, factor: Any, ys: Leaves) -> Leaves:
    return [x + scalar(factor, y) * y for x, y in zip(xs, ys, strict=True)]


def _first_scale(gradient: Leaves, steps: list[Leaves], changes: list[Leaves], weights: list[Any]) -> Any:
    """The inverse of the curvature along the last step; for the first step at most the inverse of its length."""
    square = inner_product(changes[-1], changes[-1])
    is_known = weights[-1] > 0
    by_curvature = 1 / np.where(is_known, weights[-1] * square, 1)
    squared_length = inner_product(gradient, gradient)
    is_long = squared_length > 1
    by_length = np.where(is_long, 1 / np.sqrt(np.where(is_long, squared_length, 1)), 1)
    return np.where(is_known, by_curvature, by_length)
