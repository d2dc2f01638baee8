"""Zoom: a step size that satisfies the strong Wolfe conditions, found by bracketing it and narrowing the bracket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.api import value_and_grad
from functrans.core.tracer import Tracer
from functrans.optim.base import GradientTransformationExtraArgs, hidden, hidden_update
from functrans.optim.leaves import each_leaf, in_dtype_of, loop, scalar, zeros_of
from functrans.optim.linesearch import (
    check_search,
    keywords_of,
    moved,
    scalar_value,
    scaled,
    slope_along,
    value_dtype,
)

__all__ = ["ScaleByZoomLinesearchState", "ZoomLinesearchInfo", "scale_by_zoom_linesearch"]


class ZoomLinesearchInfo(NamedTuple):
    """How the last search went: the evaluations, and by how much the two conditions were missed."""

    num_linesearch_steps: Any
    decrease_error: Any
    curvature_error: Any


class ScaleByZoomLinesearchState(NamedTuple):
    """The last step size, and the value and the gradient there."""

    learning_rate: Any
    value: Any
    grad: Any
    info: ZoomLinesearchInfo


class _Point(NamedTuple):
    """A step size, and the value and the slope there."""

    size: Any
    value: Any
    slope: Any


class _Search(NamedTuple):
    """Where a search stands. `low` has the lowest value among the sizes that decrease it enough, or is 0. Once it is
    bracketed, a good size lies between `low` and `high`; before, `high` is infinite.
    """

    count: Any
    size: Any
    low: _Point
    low_grad: Any
    high: _Point
    is_done: Any


class _Rules(NamedTuple):
    """What is asked of a step size."""

    tol: Any
    increase_factor: Any
    slope_rtol: Any
    curv_rtol: Any
    approx_dec_rtol: Any
    stepsize_precision: Any
    longest: Any

    def decrease_error(self, start: _Point, p: _Point) -> Any:
        """By how much a point misses the sufficient decrease, in Armijo's form or, near a minimum where values differ
        by rounding only, in that of Hager and Zhang (SIAM J. Optim. 16, 2005, eq. 4.1)."""
        error = p.value - start.value - self.slope_rtol * p.size * start.slope
        if self.approx_dec_rtol is not None:
            by_slope = p.slope - (2 * self.slope_rtol - 1) * start.slope
            by_value = p.value - start.value - self.approx_dec_rtol * np.abs(start.value)
            error = np.minimum(error, np.maximum(by_slope, by_value))
        return np.where(np.isnan(error), np.inf, np.maximum(error, 0))

    def curvature_error(self, start: _Point, p: _Point) -> Any:
        """By how much a point misses the curvature condition."""
        error = np.abs(p.slope) - self.curv_rtol * np.abs(start.slope)
        return np.where(np.isnan(error), np.inf, np.maximum(error, 0))


def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: Any = None,
    tol: Any = 0.0,
    increase_factor: Any = 2.0,
    slope_rtol: Any = 1e-4,
    curv_rtol: Any = 0.9,
    approx_dec_rtol: Any = 1e-6,
    stepsize_precision: Any = 1e-5,
    initial_guess_strategy: str = "keep",
) -> GradientTransformationExtraArgs:
    """Updates times a step size that satisfies the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization,
    2006, algorithms 3.5 and 3.6).

    Its `update` takes `value=`, `grad=` and `value_fn=`, and what else `value_fn` takes by name. The updates must
    descend, so that it comes after a scale by a negative number; where they do not, the step is 0. If no size is found
    the best one that decreases the value enough is taken.

    Args:
        max_linesearch_steps: how often the value and the gradient are computed, at most.
        max_learning_rate: the longest step size; None for no bound.
        tol: by how much the conditions may be missed.
        increase_factor: times the step size is the next one, until a good one is bracketed.
        slope_rtol: the part of the first slope by which the value must decrease.
        curv_rtol: the part of the first slope that the new one may have.
        approx_dec_rtol: the relative rounding error of values; None to ask for the decrease strictly.
        stepsize_precision: the relative width of a bracket in which the search ends.
        initial_guess_strategy: whether to begin with "one", or to "keep" the last step size.

    Raises:
        ValueError: for another strategy; at update, without `params`, `value`, `grad` or `value_fn`.
    """
    if initial_guess_strategy not in ("one", "keep"):
        raise ValueError(
            f"scale_by_zoom_linesearch: initial_guess_strategy must be 'one' or 'keep', got {initial_guess_strategy!r}"
        )
    name = "scale_by_zoom_linesearch"
    longest = np.inf if max_learning_rate is None else max_learning_rate
    rules = _Rules(tol, increase_factor, slope_rtol, curv_rtol, approx_dec_rtol, stepsize_precision, longest)

    def init(params: Any) -> ScaleByZoomLinesearchState:
        dtype = value_dtype(name, params)
        infinite = [np.array(np.inf, dtype) for _ in range(3)]
        info = ZoomLinesearchInfo(np.zeros((), np.int32), infinite[1], infinite[2])
        return ScaleByZoomLinesearchState(np.array(1.0, dtype), infinite[0], zeros_of(name, params), info)

    def update(
        updates: Any,
        state: ScaleByZoomLinesearchState,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, ScaleByZoomLinesearchState]:
        check_search(name, params, value, grad, value_fn)
        first_value = scalar_value(name, value)
        slope = in_dtype_of(slope_along(updates, grad), first_value)
        start = _Point(_filled(0.0, first_value), first_value, slope)
        evaluate = _evaluation(name, value_fn, keywords_of(value_fn, extra_args), params, updates, grad, start)
        last = in_dtype_of(state.learning_rate, first_value)
        guess = np.where((last > 0) & (initial_guess_strategy == "keep"), last, 1.0)
        found, error = _search(rules, evaluate, start, grad, np.minimum(guess, longest), max_linesearch_steps)
        info = ZoomLinesearchInfo(found.count, *error)
        new = ScaleByZoomLinesearchState(found.low.size, found.low.value, found.low_grad, info)
        return scaled(found.low.size, updates), new

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, ScaleByZoomLinesearchState))


Evaluation = Callable[[Any], tuple[_Point, Any]]


def _evaluation(
    name: str, value_fn: Any, keywords: dict[str, Any], params: Any, updates: Any, grad: Any, start: _Point
) -> Evaluation:
    """From a step size to its point and the gradient there."""
    value_and_grad_fn = value_and_grad(lambda p: value_fn(p, **keywords))

    def evaluate(size: Any) -> tuple[_Point, Any]:
        found, new_grad = value_and_grad_fn(moved(params, size, updates))
        new_grad = each_leaf(name, in_dtype_of, new_grad, grad, what="gradients", of="grad")
        value = in_dtype_of(scalar_value(name, found, "what value_fn returns"), start.value)
        return _Point(size, value, in_dtype_of(slope_along(updates, new_grad), start.slope)), new_grad

    return evaluate


def _search(
    rules: _Rules, evaluate: Evaluation, start: _Point, grad: Any, guess: Any, max_steps: int
) -> tuple[_Search, tuple[Any, Any]]:
    like = start.value
    infinite = _Point(*[_filled(x, like) for x in (np.inf, np.inf, 0.0)])
    search = _Search(
        np.zeros((), np.int32),
        in_dtype_of(guess, like),
        start,
        grad,
        infinite,
        np.logical_not(start.slope < 0),
    )

    def goes_on(s: _Search) -> Any:
        return (s.count < max_steps) & np.logical_not(s.is_done)

    def narrow(s: _Search) -> _Search:
        p, p_grad = evaluate(s.size)
        return _narrowed(rules, start, s, p, p_grad)

    found = loop(goes_on, narrow, search)
    errors = rules.decrease_error(start, found.low), rules.curvature_error(start, found.low)
    return found, (in_dtype_of(errors[0], like), in_dtype_of(errors[1], like))


def _filled(x: float, like: Any) -> Any:
    return np.full((), x, like.dtype)


def _narrowed(rules: _Rules, start: _Point, s: _Search, p: _Point, p_grad: Any) -> _Search:
    """The search after an evaluation at `s.size`."""
    tol = scalar(rules.tol, start.value)
    is_higher = np.logical_not(p.value < s.low.value) & (s.low.size > 0)
    is_bad = (rules.decrease_error(start, p) > tol) | is_higher
    is_good = np.logical_not(is_bad) & (rules.curvature_error(start, p) <= tol)
    turns = (p.slope >= 0) == (s.high.size > s.low.size)  # the value rises from p towards high
    low, low_grad = _select(is_bad, (s.low, s.low_grad), (p, p_grad))
    high = _select(is_bad, p, _select(turns, s.low, s.high))
    is_bracketed = np.isfinite(high.size)
    longer = np.minimum(scalar(rules.increase_factor, p.size) * p.size, scalar(rules.longest, p.size))
    width = np.abs(high.size - low.size)
    is_narrow = width <= scalar(rules.stepsize_precision, width) * np.maximum(low.size, high.size)
    at_end = np.logical_not(is_bracketed) & (p.size >= scalar(rules.longest, p.size))
    size = in_dtype_of(np.where(is_bracketed, _between(low, high), longer), p.size)
    return _Search(s.count + np.int32(1), size, low, low_grad, high, is_good | at_end | (is_bracketed & is_narrow))


def _between(low: _Point, high: _Point) -> Any:
    """The minimum of the cubic through both points (Nocedal and Wright, eq. 3.59), where it lies well between them;
    else the middle.
    """
    is_finite = np.isfinite(high.size) & np.isfinite(high.value) & np.isfinite(high.slope)
    width = np.where(is_finite, high.size - low.size, 1)
    secant = np.where(is_finite, low.value - high.value, 0) / width
    end_slope = np.where(is_finite, high.slope, 0)
    d1 = low.slope + end_slope + 3 * secant
    square = d1 * d1 - low.slope * end_slope
    has_minimum = is_finite & (square > 0)
    d2 = np.sign(width) * np.sqrt(np.where(has_minimum, square, 1))
    divisor = end_slope - low.slope + 2 * d2
    has_minimum = has_minimum & (divisor != 0)
    part = 1 - (end_slope + d2 - d1) / np.where(divisor == 0, 1, divisor)
    part = np.where(has_minimum & (part > 0.1) & (part < 0.9), part, 0.5)
    return low.size + part * np.where(np.isfinite(high.size), high.size - low.size, 0)


def _select(pred: Any, yes: Any, no: Any) -> Any:
    """One of two trees of arrays."""
    if type(pred) is not Tracer:
        return yes if pred else no
    return each_leaf("zoom", lambda y, n: np.where(pred, y, n), yes, no)
