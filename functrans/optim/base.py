"""Gradient transformations: what they are, the simplest ones, and how updates are applied."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.errors import hide_frames
from functrans.optim.leaves import each_leaf, in_dtype_of, increment, scalar

__all__ = [
    "EmptyState",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "ScalarOrSchedule",
    "ScaleByScheduleState",
    "Schedule",
    "apply_updates",
    "first_count",
    "hidden",
    "hidden_update",
    "identity",
    "incremental_update",
    "needed",
    "scale",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "set_to_zero",
    "stateless",
    "with_extra_args_support",
]

Schedule = Callable[[Any], Any]
"""From the number of the step, which starts at 0, to a value."""

ScalarOrSchedule = Any
"""A number, a scalar array, or a schedule."""


class GradientTransformation(NamedTuple):
    """A pair of pure functions, which says how gradients become updates of parameters.

    `init(params)` gives the first state. `update(updates, state, params=None)` takes gradients, or what another
    transformation has made of them, and gives new updates and the next state. States are pytrees of arrays, so that
    both functions go through `jit`, `vmap`, `grad` and `scan`. No array that is handed in is written to.

    >>> import numpy as np
    >>> from functrans import optim
    >>> optimizer = optim.sgd(0.1)
    >>> params = {'w': np.array([1.0, 2.0])}
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update({'w': np.array([10.0, 20.0])}, state, params)
    >>> optim.apply_updates(params, updates)
    {'w': array([0., 0.])}
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class GradientTransformationExtraArgs(GradientTransformation):
    """A transformation whose `update` takes further keyword arguments, such as the value of the loss.

    It must accept, and ignore, those that it does not know.
    """


class EmptyState(NamedTuple):
    """The state of a transformation that needs none."""


class ScaleByScheduleState(NamedTuple):
    """How many steps there have been, int32."""

    count: Any


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the frames of functrans taken out of the tracebacks of its errors."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    return wrapper


def hidden_update(update: Callable[..., Any], state_type: type[Any]) -> Callable[..., Any]:
    """An update, for `GradientTransformation`, which checks that its state is its own."""

    @functools.wraps(update)
    def wrapper(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        if not isinstance(state, state_type):
            wanted = update.__qualname__.partition(".")[0]
            raise hide_frames(
                TypeError(
                    f"{wanted}: its state is a {state_type.__name__}, got {type(state).__name__}. Make it with "
                    "init(params) of the same optimiser."
                )
            )
        try:
            return update(updates, state, params, **extra_args)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    return wrapper


def needed(name: str, params: Any) -> Any:
    """The parameters that were given to an update.

    Raises:
        ValueError: if none were.
    """
    if params is None:
        raise ValueError(f"{name} needs the parameters: call update(updates, state, params)")
    return params


def first_count() -> Any:
    """A count of steps before the first one."""
    return np.zeros((), np.int32)


def stateless(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """A transformation without state.

    Args:
        f: from updates and params (None if update was not given them) to new updates, trees of one structure.

    >>> from functrans import optim, tree
    >>> optim.stateless(lambda updates, params: tree.map(abs, updates)).update([-1.0], optim.EmptyState())
    ([1.0], EmptyState())
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return f(updates, params), state

    return GradientTransformation(lambda params: EmptyState(), hidden(update))


def identity() -> GradientTransformation:
    """The transformation that changes nothing."""
    return stateless(lambda updates, params: updates)


def set_to_zero() -> GradientTransformation:
    """Updates of zeros: it freezes parameters, where `partition` gives it some of them.

    >>> from functrans import optim
    >>> optim.set_to_zero().update([3.0], optim.EmptyState())[0]
    [np.float64(0.0)]
    """
    return stateless(lambda updates, params: each_leaf("set_to_zero", lambda u: np.zeros_like(u)[()], updates))


def with_extra_args_support(transformation: GradientTransformation) -> GradientTransformationExtraArgs:
    """The same transformation, which also takes, and ignores, extra keyword arguments."""
    if isinstance(transformation, GradientTransformationExtraArgs):
        return transformation
    if not isinstance(transformation, tuple) or len(transformation) != 2:
        raise TypeError(
            f"a gradient transformation is a pair of functions, (init, update), got {transformation!r:.60} of type "
            f"{type(transformation).__name__}"
        )
    init, inner_update = transformation

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        return inner_update(updates, state, params)

    return GradientTransformationExtraArgs(init, update)


def scale(step_size: Any) -> GradientTransformation:
    """Updates times a number.

    Args:
        step_size: a number or scalar array.

    >>> from functrans import optim
    >>> optim.scale(-0.5).update([4.0], optim.EmptyState())[0]
    [np.float64(-2.0)]
    """
    return stateless(lambda updates, params: each_leaf("scale", lambda u: scalar(step_size, u) * u, updates))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Updates times a number that depends on the step.

    Args:
        step_size_fn: from the number of the step, which starts at 0, to a number.

    >>> from functrans import optim
    >>> decay = optim.scale_by_schedule(lambda count: 1 / (1 + count))
    >>> state = decay.init([0.0])
    >>> for _ in range(3):
    ...     updates, state = decay.update([6.0], state)
    >>> updates
    [np.float64(2.0)]
    """
    if not callable(step_size_fn):
        raise TypeError(f"scale_by_schedule needs a function of the step, got {step_size_fn!r:.60}")

    def update(updates: Any, state: ScaleByScheduleState, params: Any = None) -> tuple[Any, ScaleByScheduleState]:
        size = step_size_fn(state.count)
        scaled = each_leaf("scale_by_schedule", lambda u: scalar(size, u) * u, updates)
        return scaled, ScaleByScheduleState(increment(state.count))

    return GradientTransformation(
        lambda params: ScaleByScheduleState(first_count()), hidden_update(update, ScaleByScheduleState)
    )


def scale_by_learning_rate(learning_rate: ScalarOrSchedule, *, flip_sign: bool = True) -> GradientTransformation:
    """Updates times the negative learning rate, so that adding them descends.

    Args:
        learning_rate: a number or a schedule.
        flip_sign: whether to take the negative.

    Raises:
        TypeError: if it is neither.
    """
    sign = -1.0 if flip_sign else 1.0
    if callable(learning_rate):
        return scale_by_schedule(lambda count: sign * learning_rate(count))
    if isinstance(learning_rate, bool) or not (
        isinstance(learning_rate, (int, float)) or hasattr(learning_rate, "dtype")
    ):
        raise TypeError(
            "a learning rate must be a number or a function of the step, got "
            f"{learning_rate!r:.60} of type {type(learning_rate).__name__}"
        )
    return scale(sign * learning_rate)


@hidden
def apply_updates(params: Any, updates: Any) -> Any:
    """Parameters plus updates, in the dtypes of the parameters.

    Args:
        params: a pytree of arrays and numbers.
        updates: a tree of the same structure and shapes.

    Raises:
        TypeError, ValueError: if the trees do not belong together, naming the place.

    >>> import numpy as np
    >>> from functrans import optim
    >>> optim.apply_updates({'w': np.float32([1, 2])}, {'w': np.array([0.5, 0.5])})
    {'w': array([1.5, 2.5], dtype=float32)}
    """
    return each_leaf("apply_updates", lambda u, p: in_dtype_of(p + u, p), updates, params, what="updates", of="params")


@hidden
def incremental_update(new_tensors: Any, old_tensors: Any, step_size: Any) -> Any:
    """`step_size * new + (1 - step_size) * old`: a step of an exponential average (Polyak and Juditsky, SIAM J. Control
    Optim. 30, 1992).

    Args:
        new_tensors, old_tensors: trees of one structure; the result has the dtypes of the old.
        step_size: a number.

    >>> from functrans import optim
    >>> optim.incremental_update([10.0], [0.0], 0.25)
    [np.float64(2.5)]
    """

    def mixed(new: Any, old: Any) -> Any:
        return in_dtype_of(scalar(step_size, old) * new + scalar(1 - step_size, old) * old, old)

    return each_leaf("incremental_update", mixed, new_tensors, old_tensors, what="new_tensors", of="old_tensors")
