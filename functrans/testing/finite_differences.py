"""Numerical derivatives with an estimate of their error.

A function is differenced along a direction with a ladder of steps, each a quarter of the one before; the differences
are extrapolated to step zero (Richardson), and each entry takes the extrapolation on which the ladder agrees best. What
it disagrees by there is the estimate of the error. So no step has to be chosen: `log` near 0 and `sin(1000 * x)` find
theirs.

The slopes to the left and to the right are taken too. At a kink they differ, and all between them are derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Slope", "derivative_along", "promoted"]

Array = np.ndarray[Any, Any]
Function = Callable[..., Sequence[Any]]

_FIRST_STEP = 2.0**-3
_RATIO = 4.0
_LEVELS = 11
_COLUMNS = 4


class Slope(NamedTuple):
    """The derivative of one output along a direction, entry by entry, and what it may be wrong by."""

    value: Array
    error: Array
    left: Array
    right: Array
    side_error: Array
    """What `left` and `right` may be wrong by."""
    scale: Array
    """The magnitude of the output itself."""

    def is_settled(self) -> Array:
        """Where the ladder of steps agrees on a derivative."""
        scale = np.maximum(np.maximum(np.abs(self.value), self.scale), 1e-3 * largest(self.value))
        return np.isfinite(self.error) & (self.error <= 1e-3 * np.maximum(scale, 1e-9))

    def has_kink(self) -> Array:
        """Where the slopes to the left and to the right are known, and differ."""
        gap = np.abs(self.right - self.left)
        return np.isfinite(self.side_error) & (gap > 10 * self.side_error) & (gap > 1e-6 * np.abs(self.value))


def largest(x: Array) -> float:
    """The largest finite magnitude in an array, 0 if there is none."""
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


def promoted(x: Any) -> Array:
    """A float or complex array in double precision."""
    array = np.asarray(x)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def derivative_along(
    f: Function, xs: Sequence[Array], direction: Sequence[Array], eps: float | None = None
) -> list[Slope]:
    """The derivative of each output of `f` at `xs` along a direction.

    Args:
        f: a function of arrays that returns a sequence of float or complex arrays.
        xs: the point.
        direction: for each of `xs` an array of its shape.
        eps: the step, in place of the ladder.
    """
    first, levels = (_FIRST_STEP, _LEVELS) if eps is None else (eps, 2)
    steps = [first / _RATIO**level for level in range(levels)]
    with np.errstate(all="ignore"):
        here = f(*xs)
        ahead = [_evaluate(f, xs, direction, h, here) for h in steps]
        behind = [_evaluate(f, xs, direction, -h, here) for h in steps]
        return [
            _slope(promoted(y), _precision(y), [a[i] for a in ahead], [b[i] for b in behind], steps)
            for i, y in enumerate(here)
        ]


def _evaluate(
    f: Function, xs: Sequence[Array], direction: Sequence[Array], h: float, like: Sequence[Any]
) -> list[Array]:
    moved = [np.asarray(x + h * v, x.dtype) for x, v in zip(xs, direction, strict=True)]
    try:
        outs = [promoted(y) for y in f(*moved)]
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # outside of its domain
        outs = []
    if [y.shape for y in outs] != [np.shape(y) for y in like]:
        return [np.full(np.shape(y), np.nan) for y in like]
    return outs


def _precision(y: Any) -> float:
    return float(np.finfo(np.asarray(y).dtype).eps)


def _slope(here: Array, precision: float, ahead: list[Array], behind: list[Array], steps: list[float]) -> Slope:
    noise = [
        precision * np.maximum(np.maximum(np.abs(a), np.abs(b)), np.abs(here)) / h
        for a, b, h in zip(ahead, behind, steps, strict=True)
    ]
    central = [(a - b) / (2 * h) for a, b, h in zip(ahead, behind, steps, strict=True)]
    value, error = _extrapolate(central, noise, _RATIO**2)
    right, right_error = _extrapolate([(a - here) / h for a, h in zip(ahead, steps, strict=True)], noise, _RATIO)
    left, left_error = _extrapolate([(here - b) / h for b, h in zip(behind, steps, strict=True)], noise, _RATIO)
    return Slope(value, error, left, right, np.maximum(left_error, right_error), np.abs(here))


def _extrapolate(differences: list[Array], noise: list[Array], factor: float) -> tuple[Array, Array]:
    """Neville's table to step zero, for differences whose errors shrink by powers of `factor`: the best entry of it."""
    value, error = differences[-1], np.full(differences[-1].shape, np.inf)
    column = differences
    for depth in range(1, min(_COLUMNS, len(differences))):
        weight = factor**depth
        refined = [fine + (fine - coarse) / (weight - 1) for coarse, fine in pairwise(column)]
        for level, better in enumerate(refined):
            apart = np.maximum(np.abs(better - column[level]), np.abs(better - column[level + 1]))
            estimate = apart + 2 * noise[level + depth]
            if level > 0 or len(differences) == 2:
                # One agreement can be chance: the neighbour in the same column must be near as well.
                neighbour = refined[level - 1] if level > 0 else better
                estimate = np.maximum(estimate, np.abs(better - neighbour) / weight)
                chosen = estimate < error
                value, error = np.where(chosen, better, value), np.where(chosen, estimate, error)
        column = refined
    return value, error
