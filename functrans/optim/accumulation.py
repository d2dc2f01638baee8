"""Updates over several mini-batches, and updates that are left out."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    first_count,
    hidden,
    hidden_update,
    with_extra_args_support,
)
from functrans.optim.clipping import global_norm
from functrans.optim.leaves import branch, each_leaf, float_leaves, in_dtype_of, increment, scalar, zeros_of

__all__ = [
    "ApplyEveryState",
    "ApplyIfFiniteState",
    "MultiSteps",
    "MultiStepsState",
    "apply_every",
    "apply_if_finite",
    "skip_large_updates",
    "skip_not_finite",
]


class ApplyEveryState(NamedTuple):
    """The number of the step in its period, and the sum of the updates in it."""

    count: Any
    grad_acc: Any


class MultiStepsState(NamedTuple):
    """The mini-step in the current step, the number of full steps, the state of the optimiser, the gradients so far,
    and what the skipping function says."""

    mini_step: Any
    gradient_step: Any
    inner_opt_state: Any
    acc_grads: Any
    skip_state: Any


class ApplyIfFiniteState(NamedTuple):
    """How many updates have not been finite in a row, whether the last was, how many in all, and the inner state."""

    notfinite_count: Any
    last_finite: Any
    total_notfinite: Any
    inner_state: Any


def apply_every(k: int = 1) -> GradientTransformation:
    """The sum of the updates of k steps at the last of them, zeros before. Momenta before it in a chain see each step;
    `MultiSteps` is for mini-batches of a larger one.

    Args:
        k: how many steps.

    Raises:
        ValueError: if it is not a positive int.

    >>> from functrans import optim
    >>> transformation = optim.apply_every(2)
    >>> state = transformation.init([0.0])
    >>> for _ in range(2):
    ...     updates, state = transformation.update([1.0], state)
    ...     print(updates)
    [np.float64(0.0)]
    [np.float64(2.0)]
    """
    n = operator.index(k)
    if n < 1:
        raise ValueError(f"apply_every: k must be a positive int, got {k}")

    def init(params: Any) -> ApplyEveryState:
        return ApplyEveryState(first_count(), zeros_of("apply_every", params))

    def update(updates: Any, state: ApplyEveryState, params: Any = None) -> tuple[Any, ApplyEveryState]:
        is_first, is_last = state.count == 0, state.count == n - 1

        def leaf(u: Any, total: Any) -> tuple[Any, Any]:
            total = in_dtype_of(np.where(is_first, u, u + total), total)[()]
            return in_dtype_of(np.where(is_last, total, 0), u)[()], total

        out, total = each_leaf("apply_every", leaf, updates, state.grad_acc, outs=2)
        return out, ApplyEveryState((state.count + np.int32(1)) % np.int32(n), total)

    return GradientTransformation(hidden(init), hidden_update(update, ApplyEveryState))


def skip_not_finite(updates: Any, gradient_step: Any, params: Any) -> tuple[Any, Any]:
    """For `MultiSteps`: skip gradients with a NaN or an infinity. Its state tells how many elements are such."""
    leaves, _ = float_leaves("skip_not_finite", updates)
    total: Any = np.int64(0)
    for x in leaves:
        total = total + np.sum(np.logical_not(np.isfinite(x)))
    return total > 0, {"should_skip": total > 0, "num_not_finite": total}


def skip_large_updates(updates: Any, gradient_step: Any, params: Any, max_squared_norm: float) -> tuple[Any, Any]:
    """For `MultiSteps`, after `functools.partial`: skip gradients whose squared norm is not below a bound."""
    norm = global_norm(updates)
    skips = np.logical_not(norm * norm < max_squared_norm)
    return skips, {"should_skip": skips, "norm_squared": norm * norm}


class MultiSteps:
    """An optimiser that steps once in k calls, by the mean of their gradients; the other calls give zeros.

    Args:
        opt: the optimiser.
        every_k_schedule: k, or a function from the number of full steps to it.
        use_grad_mean: whether to take the mean, or the sum.
        should_skip_update_fn: from gradients, the number of full steps and the parameters to whether the call is to be
            ignored, and a state that tells about it: `skip_not_finite`, say.
        accumulator_dtype: of the sum of the gradients; their own if not given.

    Raises:
        ValueError: if k is not a positive int.

    >>> from functrans import optim
    >>> optimizer = optim.MultiSteps(optim.sgd(1.0), every_k_schedule=2)
    >>> state = optimizer.init(0.0)
    >>> for grad in (1.0, 3.0):
    ...     updates, state = optimizer.update(grad, state)
    ...     print(updates, optimizer.has_updated(state))
    0.0 False
    -2.0 True
    """

    def __init__(
        self,
        opt: GradientTransformation,
        every_k_schedule: int | Callable[[Any], Any],
        use_grad_mean: bool = True,
        should_skip_update_fn: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None,
        accumulator_dtype: Any = None,
    ) -> None:
        self.opt = with_extra_args_support(opt)
        if not callable(every_k_schedule) and not (_is_int(every_k_schedule) and every_k_schedule > 0):
            raise ValueError(
                f"MultiSteps: every_k_schedule must be a positive int or a function, got {every_k_schedule!r}"
            )
        self.accumulator_dtype = accumulator_dtype
        self.every_k_schedule = every_k_schedule
        self.use_grad_mean = use_grad_mean
        self.should_skip_update_fn = should_skip_update_fn

    @property
    def inner_opt(self) -> GradientTransformationExtraArgs:
        """The optimiser within."""
        return self.opt

    @hidden
    def init(self, params: Any) -> MultiStepsState:
        """The first state."""
        zeros = zeros_of("MultiSteps", params, self.accumulator_dtype)
        skip_state = (
            () if self.should_skip_update_fn is None else self.should_skip_update_fn(zeros, first_count(), params)[1]
        )
        return MultiStepsState(first_count(), first_count(), self.opt.init(params), zeros, skip_state)

    @hidden
    def update(
        self, updates: Any, state: MultiStepsState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, MultiStepsState]:
        """Updates, which are zero but at each k-th call, and the next state."""
        if self.should_skip_update_fn is None:
            return self._take(updates, state, params, extra_args, ())
        skips, skip_state = self.should_skip_update_fn(updates, state.gradient_step, params)

        def skip() -> tuple[Any, MultiStepsState]:
            return _zeros_like(updates), state._replace(skip_state=skip_state)

        return branch(skips, skip, lambda: self._take(updates, state, params, extra_args, skip_state))

    def _take(
        self, updates: Any, state: MultiStepsState, params: Any, extra_args: dict[str, Any], skip_state: Any
    ) -> tuple[Any, MultiStepsState]:
        every = self.every_k_schedule
        k = every(state.gradient_step) if callable(every) else every
        mini_step = state.mini_step

        def leaf(g: Any, total: Any) -> Any:
            if not self.use_grad_mean:
                return in_dtype_of(total + g, total)
            return in_dtype_of(total + (g - total) / scalar(mini_step + np.int32(1), total), total)

        total = each_leaf("MultiSteps", leaf, updates, state.acc_grads)

        def step() -> tuple[Any, MultiStepsState]:
            mean = each_leaf("MultiSteps", in_dtype_of, total, updates)
            out, inner = self.opt.update(mean, state.inner_opt_state, params, **extra_args)
            out = each_leaf("MultiSteps", in_dtype_of, out, updates)
            count = increment(state.gradient_step)
            return out, MultiStepsState(first_count(), count, inner, _zeros_like(total), skip_state)

        def wait() -> tuple[Any, MultiStepsState]:
            new = state._replace(mini_step=increment(mini_step), acc_grads=total, skip_state=skip_state)
            return _zeros_like(updates), new

        return branch(mini_step >= k - 1, step, wait)

    def has_updated(self, state: MultiStepsState) -> Any:
        """Whether the call that gave this state made a full step."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> GradientTransformationExtraArgs:
        """The same as a pair of functions, for chains."""
        return GradientTransformationExtraArgs(self.init, self.update)


def _is_int(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _zeros_like(tree: Any) -> Any:
    return each_leaf("MultiSteps", lambda x: np.zeros_like(x)[()], tree)


def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: int) -> GradientTransformationExtraArgs:
    """A transformation that leaves out updates that are not finite: it gives zeros and keeps its state.

    Args:
        inner: the transformation.
        max_consecutive_errors: how many are left out in a row; the next one is let through.

    >>> from functrans import optim
    >>> optimizer = optim.apply_if_finite(optim.sgd(1.0), 3)
    >>> optimizer.update([float('inf')], optimizer.init([0.0]))[0]
    [np.float64(0.0)]
    """
    extended = with_extra_args_support(inner)

    def init(params: Any) -> ApplyIfFiniteState:
        return ApplyIfFiniteState(first_count(), np.array(True), first_count(), extended.init(params))

    def update(
        updates: Any, state: ApplyIfFiniteState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, ApplyIfFiniteState]:
        out, inner_state = extended.update(updates, state.inner_state, params, **extra_args)
        leaves, _ = float_leaves("apply_if_finite", out)
        is_finite: Any = np.True_
        for x in leaves:
            is_finite = is_finite & np.all(np.isfinite(x))
        count = np.where(is_finite, np.int32(0), increment(state.notfinite_count))[()]
        total = np.where(is_finite, state.total_notfinite, increment(state.total_notfinite))[()]
        lets_through = is_finite | (count > max_consecutive_errors)
        out, inner_state = branch(
            lets_through, lambda: (out, inner_state), lambda: (_zeros_like(out), state.inner_state)
        )
        return out, ApplyIfFiniteState(count, is_finite, total, inner_state)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, ApplyIfFiniteState))
