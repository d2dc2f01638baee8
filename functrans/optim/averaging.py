"""Averages of updates and of parameters, and lookahead."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from functrans.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    first_count,
    hidden,
    hidden_update,
    needed,
    with_extra_args_support,
)
from functrans.optim.leaves import branch, each_leaf, in_dtype_of, increment, not_negative, scalar, zeros_of
from functrans.optim.moments import bias_correction, moment

__all__ = [
    "EmaState",
    "LookaheadParams",
    "LookaheadState",
    "ParamsEmaState",
    "average_params",
    "ema",
    "lookahead",
    "params_ema",
]


class EmaState(NamedTuple):
    """The number of steps, and the average, which began with zero."""

    count: Any
    ema: Any


class ParamsEmaState(NamedTuple):
    """The number of steps, the average of the parameters, which began with zero, and its decay."""

    count: Any
    ema: Any
    decay: Any


class LookaheadState(NamedTuple):
    """The state of the fast optimiser, and the number of its steps since slow and fast parameters were the same."""

    fast_state: Any
    steps_since_sync: Any


class LookaheadParams(NamedTuple):
    """Parameters of `lookahead`: the fast ones, by which gradients are computed, and the slow ones, which are the
    result."""

    fast: Any
    slow: Any

    @classmethod
    def init_synced(cls, params: Any) -> LookaheadParams:
        """Both the same.

        >>> from functrans import optim
        >>> optim.LookaheadParams.init_synced(1.0)
        LookaheadParams(fast=1.0, slow=1.0)
        """
        return cls(params, params)


def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """The exponential average of the updates.

    Args:
        decay: how much the old average counts.
        debias: whether to correct that it began with zero (Kingma and Ba, arXiv:1412.6980, section 3).
        accumulator_dtype: the dtype of the average; that of the parameters if None.

    >>> from functrans import optim
    >>> average = optim.ema(0.9)
    >>> average.update([2.0], average.init([0.0]))[0]
    [np.float64(2.0)]
    """
    not_negative("ema", "decay", decay, below=1)

    def init(params: Any) -> EmaState:
        return EmaState(first_count(), zeros_of("ema", params, accumulator_dtype))

    def update(updates: Any, state: EmaState, params: Any = None) -> tuple[Any, EmaState]:
        count = increment(state.count)
        weight = bias_correction(decay, count)

        def leaf(u: Any, average: Any) -> tuple[Any, Any]:
            new = moment(u, average, decay)
            return in_dtype_of(new / scalar(weight, new) if debias else new, u), new

        out, new = each_leaf("ema", leaf, updates, state.ema, outs=2)
        return out, EmaState(count, new)

    return GradientTransformation(hidden(init), hidden_update(update, EmaState))


def params_ema(decay: Any) -> GradientTransformation:
    """The last of a chain: it hands updates on, and keeps an exponential average of the parameters that they lead to,
    which `average_params` reads (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992).

    Args:
        decay: how much the old average counts, such as 0.999.

    >>> from functrans import optim
    >>> optimizer = optim.chain(optim.sgd(1.0), optim.params_ema(0.5))
    >>> x, state = 4.0, optimizer.init(4.0)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(1.0, state, x)
    ...     x = optim.apply_updates(x, updates)
    >>> x, optim.average_params(state)
    (np.float64(2.0), np.float64(2.333))
    """
    not_negative("params_ema", "decay", decay, below=1)

    def init(params: Any) -> ParamsEmaState:
        return ParamsEmaState(first_count(), zeros_of("params_ema", params), np.array(decay))

    def update(updates: Any, state: ParamsEmaState, params: Any = None) -> tuple[Any, ParamsEmaState]:
        name = "params_ema"

        def moved(u: Any, p: Any) -> Any:
            return in_dtype_of(p + u, p)

        new_params = each_leaf(name, moved, updates, needed(name, params), of="params")
        new = each_leaf(name, lambda p, average: moment(p, average, state.decay), new_params, state.ema)
        return updates, ParamsEmaState(increment(state.count), new, state.decay)

    return GradientTransformation(hidden(init), hidden_update(update, ParamsEmaState))


@hidden
def average_params(state: Any) -> Any:
    """The average of the parameters that `params_ema` has kept, corrected for its beginning with zero.

    Args:
        state: that of an optimiser with `params_ema` in its chain, after at least one step.

    Raises:
        ValueError: if there is no such state, or it has seen no step.
    """
    found = _find(state)
    if found is None:
        raise ValueError("average_params needs the state of an optimiser with params_ema in its chain")
    if isinstance(found.count, (np.ndarray, np.generic)) and np.all(found.count == 0):
        raise ValueError("average_params: there has been no step yet")
    weight = bias_correction(found.decay, found.count)
    return each_leaf("average_params", lambda average: average / scalar(weight, average), found.ema, what="state")


def _find(state: Any) -> ParamsEmaState | None:
    if isinstance(state, ParamsEmaState):
        return state
    children = state.values() if isinstance(state, dict) else state if isinstance(state, (tuple, list)) else ()
    for child in children:
        if (found := _find(child)) is not None:
            return found
    return None


def lookahead(
    fast_optimizer: GradientTransformation, sync_period: int, slow_step_size: Any, reset_state: bool = False
) -> GradientTransformationExtraArgs:
    """Lookahead (Zhang, Lucas, Hinton and Ba, arXiv:1907.08610, algorithm 1): each `sync_period` steps of a fast
    optimiser, slow parameters go a part of its way, and it starts again from there.

    Its parameters are `LookaheadParams`; gradients are those by the fast ones.

    Args:
        fast_optimizer: the optimiser.
        sync_period: how many steps.
        slow_step_size: the part.
        reset_state: whether the state of the optimiser starts anew, too.

    Raises:
        ValueError: if `sync_period` is not positive; at update, without parameters.
        TypeError: if the parameters are not `LookaheadParams`.

    >>> import functrans as ft
    >>> from functrans import optim
    >>> optimizer = optim.lookahead(optim.sgd(0.5), sync_period=2, slow_step_size=0.5)
    >>> params = optim.LookaheadParams.init_synced(8.0)
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(params.fast, state, params)
    ...     params = optim.apply_updates(params, updates)
    >>> params
    LookaheadParams(fast=np.float64(5.0), slow=np.float64(5.0))
    """
    period = operator.index(sync_period)
    if period < 1:
        raise ValueError(f"lookahead: sync_period must be a positive int, got {sync_period}")
    fast = with_extra_args_support(fast_optimizer)

    def init(params: Any) -> LookaheadState:
        return LookaheadState(fast.init(_checked(params).fast), first_count())

    def update(
        updates: Any, state: LookaheadState, params: Any = None, **extra_args: Any
    ) -> tuple[LookaheadParams, LookaheadState]:
        both = _checked(needed("lookahead", params))
        steps, fast_state = fast.update(updates, state.fast_state, both.fast, **extra_args)
        is_last = state.steps_since_sync == period - 1

        def leaf(u: Any, f: Any, s: Any) -> tuple[Any, Any]:
            way = f + u - s
            slow = np.where(is_last, scalar(slow_step_size, s) * way, 0)
            fast_way = np.where(is_last, u - scalar(1 - slow_step_size, u) * way, u)
            return in_dtype_of(fast_way, f)[()], in_dtype_of(slow, s)[()]

        new = each_leaf("lookahead", leaf, steps, both.fast, both.slow, outs=2, of="params")
        if reset_state:
            fast_state = branch(is_last, lambda: fast.init(both.fast), lambda: fast_state)
        count = (state.steps_since_sync + np.int32(1)) % np.int32(period)
        return LookaheadParams(*new), LookaheadState(fast_state, count)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, LookaheadState))


def _checked(params: Any) -> LookaheadParams:
    if not isinstance(params, LookaheadParams):
        raise TypeError(
            f"lookahead: params must be LookaheadParams, got {type(params).__name__}; "
            "LookaheadParams.init_synced(params) makes them"
        )
    return params
