"""Schedules: functions from the number of the step, which starts at 0, to a value such as a learning rate.

They take ints and integer arrays, known or not, and give floats; under `vmap` and for arrays of steps, arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import pi
from typing import Any

import numpy as np

from functrans.optim.base import Schedule
from functrans.optim.leaves import chosen

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]


def _steps(name: str, what: str, n: Any, positive: bool = False) -> int:
    try:
        steps = operator.index(n)
    except TypeError:
        steps = int(n) if isinstance(n, float) and n == int(n) else -1
    if steps < positive:
        wanted = "a positive int" if positive else "an int that is not negative"
        raise ValueError(f"{name}: {what} must be {wanted}, got {n!r:.60}")
    return steps


def constant_schedule(value: Any) -> Schedule:
    """The same value at all steps.

    >>> from functrans import optim
    >>> optim.constant_schedule(0.1)(100)
    0.1
    """
    return lambda count: value


def polynomial_schedule(
    init_value: Any, end_value: Any, power: Any, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From one value to another by a power of the way that is left.

    Args:
        init_value: up to step `transition_begin`.
        end_value: from step `transition_begin + transition_steps` on.
        power: 1 for a straight line.
        transition_steps: how long it takes; with 0 the value stays the first.
        transition_begin: when it begins.

    Raises:
        ValueError: if a number of steps is no int or negative.

    >>> from functrans import optim
    >>> schedule = optim.polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)
    >>> schedule(0), schedule(5), schedule(20)
    (np.float64(1.0), np.float64(0.25), np.float64(0.0))
    """
    steps = _steps("polynomial_schedule", "transition_steps", transition_steps)
    begin = _steps("polynomial_schedule", "transition_begin", transition_begin)
    if not steps:
        return constant_schedule(init_value)

    def schedule(count: Any) -> Any:
        left = 1 - np.minimum(np.maximum(count - begin, 0), steps) / steps
        return (init_value - end_value) * left**power + end_value

    return schedule


def linear_schedule(init_value: Any, end_value: Any, transition_steps: int, transition_begin: int = 0) -> Schedule:
    """From one value to another by a straight line; `polynomial_schedule` with power 1.

    >>> from functrans import optim
    >>> optim.linear_schedule(0.0, 1.0, 4)(1)
    np.float64(0.25)
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def exponential_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """`init_value * decay_rate**(steps / transition_steps)`.

    Args:
        init_value: up to step `transition_begin`.
        transition_steps: how long one factor takes; with 0 the value stays the first.
        decay_rate: the factor.
        transition_begin: when it begins.
        staircase: whether to change at multiples of `transition_steps` only.
        end_value: beyond which the value does not go.

    >>> from functrans import optim
    >>> schedule = optim.exponential_decay(1.0, 10, 0.5, end_value=0.1)
    >>> schedule(0), schedule(20), schedule(1000)
    (np.float64(1.0), np.float64(0.25), np.float64(0.1))
    """
    steps = _steps("exponential_decay", "transition_steps", transition_steps)
    begin = _steps("exponential_decay", "transition_begin", transition_begin)
    if not steps:
        return constant_schedule(init_value)

    def schedule(count: Any) -> Any:
        exponent = np.maximum(count - begin, 0) / steps
        value = init_value * np.power(decay_rate, np.floor(exponent) if staircase else exponent)
        if end_value is None:
            return value
        return chosen(decay_rate < 1, np.maximum(value, end_value), np.minimum(value, end_value))

    return schedule


def cosine_decay_schedule(init_value: Any, decay_steps: int, alpha: Any = 0.0, exponent: Any = 1.0) -> Schedule:
    """Half a period of a cosine (Loshchilov and Hutter, arXiv:1608.03983, eq. 5, without restarts).

    Args:
        init_value: at step 0.
        decay_steps: the step from which on the value is `alpha * init_value`.
        alpha: see there.
        exponent: a power that the cosine is raised to.

    Raises:
        ValueError: if `decay_steps` is not a positive int.

    >>> from functrans import optim
    >>> schedule = optim.cosine_decay_schedule(1.0, 100)
    >>> schedule(0), schedule(50), schedule(100)
    (np.float64(1.0), np.float64(0.5), np.float64(0.0))
    """
    steps = _steps("cosine_decay_schedule", "decay_steps", decay_steps, positive=True)

    def schedule(count: Any) -> Any:
        cosine = 0.5 * (1 + np.cos(np.minimum(count, steps) / steps * pi))
        return init_value * ((1 - alpha) * cosine**exponent + alpha)

    return schedule


def piecewise_constant_schedule(init_value: Any, boundaries_and_scales: Mapping[int, Any] | None = None) -> Schedule:
    """A value that is multiplied by a factor at each of some steps.

    Args:
        init_value: at first.
        boundaries_and_scales: from steps to factors, which count from that step on.

    Raises:
        ValueError: if a factor is negative.

    >>> from functrans import optim
    >>> schedule = optim.piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.1})
    >>> [float(schedule(i)) for i in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.05, 0.05]
    """
    changes = sorted((boundaries_and_scales or {}).items())
    _check_scales("piecewise_constant_schedule", changes)

    def schedule(count: Any) -> Any:
        value = init_value
        for boundary, factor in changes:
            value = chosen(count < boundary, value, value * factor)
        return value

    return schedule


def _check_scales(name: str, changes: Sequence[tuple[int, Any]]) -> None:
    for boundary, factor in changes:
        _steps(name, "a boundary", boundary)
        if isinstance(factor, (int, float)) and not factor >= 0:
            raise ValueError(f"{name}: the factor at step {boundary} must not be negative, got {factor}")


def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Any, boundaries_and_scales: Mapping[int, Any] | None = None
) -> Schedule:
    """From value to value, each the last one times a factor, by lines or cosines.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: at step 0.
        boundaries_and_scales: from steps to factors, which are reached at these steps.

    Raises:
        ValueError: for another type, or a negative factor.

    >>> from functrans import optim
    >>> schedule = optim.piecewise_interpolate_schedule('linear', 1.0, {10: 3.0})
    >>> schedule(5), schedule(10), schedule(99)
    (np.float64(2.0), np.float64(3.0), np.float64(3.0))
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(f"piecewise_interpolate_schedule: 'linear' or 'cosine', got {interpolate_type!r}")
    changes = sorted((boundaries_and_scales or {}).items())
    _check_scales("piecewise_interpolate_schedule", changes)
    steps = [0, *[boundary for boundary, _ in changes]]
    values = list(accumulate([factor for _, factor in changes], operator.mul, initial=init_value))

    def schedule(count: Any) -> Any:
        value: Any = values[0]
        for (start, stop), (old, new) in zip(pairwise(steps), pairwise(values), strict=True):
            way = np.minimum(np.maximum(count - start, 0) / max(stop - start, 1), 1)
            part = way if interpolate_type == "linear" else 0.5 * (1 - np.cos(way * pi))
            value = chosen(count < start, value, old + (new - old) * part)
        return value

    return schedule


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to a peak, down again, and further down, by lines (Smith and Topin, arXiv:1708.07120).

    Args:
        transition_steps: of the whole cycle.
        peak_value: the highest.
        pct_start: the part of the steps after which it is reached.
        pct_final: the part after which the first value is reached again.
        div_factor: `peak_value` over the first value.
        final_div_factor: the first value over the last.

    Raises:
        ValueError: if `transition_steps` is not a positive int.
    """
    steps = _steps("linear_onecycle_schedule", "transition_steps", transition_steps, positive=True)
    changes = {int(pct_start * steps): div_factor, int(pct_final * steps): 1 / div_factor, steps: 1 / final_div_factor}
    return piecewise_interpolate_schedule("linear", peak_value / div_factor, changes)


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to a peak and down again, by cosines (Smith and Topin, arXiv:1708.07120).

    Args:
        transition_steps: of the whole cycle.
        peak_value: the highest.
        pct_start: the part of the steps after which it is reached.
        div_factor: `peak_value` over the first value.
        final_div_factor: the first value over the last.

    Raises:
        ValueError: if `transition_steps` is not a positive int.
    """
    steps = _steps("cosine_onecycle_schedule", "transition_steps", transition_steps, positive=True)
    changes = {int(pct_start * steps): div_factor, steps: 1 / (div_factor * final_div_factor)}
    return piecewise_interpolate_schedule("cosine", peak_value / div_factor, changes)


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Schedules one after the other. Each counts its steps from its own beginning.

    Args:
        schedules: at least one.
        boundaries: the steps at which the second and the further ones begin.

    Raises:
        ValueError: if the numbers do not fit.

    >>> from functrans import optim
    >>> schedule = optim.join_schedules([optim.constant_schedule(1.0), optim.linear_schedule(1.0, 0.0, 10)], [5])
    >>> schedule(4), schedule(5), schedule(10)
    (1.0, np.float64(1.0), np.float64(0.5))
    """
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(f"join_schedules: {len(schedules)} schedules need one boundary less, got {len(boundaries)}")

    def schedule(count: Any) -> Any:
        value = schedules[0](count)
        for boundary, later in zip(boundaries, schedules[1:], strict=True):
            value = chosen(count < boundary, value, later(count - boundary))
        return value

    return schedule


def warmup_constant_schedule(init_value: Any, peak_value: Any, warmup_steps: int) -> Schedule:
    """A straight line up to a value that stays."""
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    decay_steps: int,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Schedule:
    """A straight line up to the peak, then half a period of a cosine down.

    Args:
        init_value: at step 0.
        peak_value: at step `warmup_steps`.
        warmup_steps: how long the line is.
        decay_steps: how long both are together.
        end_value: from step `decay_steps` on.
        exponent: a power that the cosine is raised to.

    Raises:
        ValueError: if `decay_steps` is not more than `warmup_steps`.

    >>> from functrans import optim
    >>> schedule = optim.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
    >>> schedule(5), schedule(10), schedule(60), schedule(110)
    (np.float64(0.5), np.float64(1.0), np.float64(0.5), np.float64(0.0))
    """
    down = _steps(
        "warmup_cosine_decay_schedule", "decay_steps - warmup_steps", decay_steps - warmup_steps, positive=True
    )
    is_zero = isinstance(peak_value, (int, float)) and peak_value == 0
    alpha = 0.0 if is_zero else end_value / peak_value
    parts = [
        linear_schedule(init_value, peak_value, warmup_steps),
        cosine_decay_schedule(peak_value, down, alpha, exponent),
    ]
    return join_schedules(parts, [warmup_steps])


def warmup_exponential_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """A straight line up to the peak, then `exponential_decay`.

    Args:
        init_value: at step 0.
        peak_value: at step `warmup_steps`.
        warmup_steps: how long the line is.
        transition_steps, decay_rate, transition_begin, staircase, end_value: as of `exponential_decay`, from there on.
    """
    down = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), down], [warmup_steps])


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Cosines with warm restarts (Loshchilov and Hutter, arXiv:1608.03983).

    Args:
        cosine_kwargs: the arguments of `warmup_cosine_decay_schedule` for each period.

    >>> from functrans import optim
    >>> period = dict(init_value=1.0, peak_value=1.0, warmup_steps=0, decay_steps=10)
    >>> schedule = optim.sgdr_schedule([period, period])
    >>> schedule(5), schedule(10), schedule(15)
    (np.float64(0.5), np.float64(1.0), np.float64(0.5))
    """
    periods = list(cosine_kwargs)
    if not periods:
        raise ValueError("sgdr_schedule needs at least one period")
    boundaries = list(accumulate([period["decay_steps"] for period in periods[:-1]]))
    return join_schedules([warmup_cosine_decay_schedule(**period) for period in periods], boundaries)
