"""How a sample of the gamma distribution moves with its shape parameter a, while its place in the distribution is held.

With the distribution function F and y = log(x), the derivative is dy/da = -(dF/da) / (dF/dy), and the second one needs
the second derivative of F by a in the same way. Three ways to these numbers, each without cancellation where it is
used:

- x up to 2: F is exp(y a - x) / gamma(a + 1) times the sum over n of x**n / ((a + 1) ... (a + n)), whose terms are
  differentiated one by one;
- below the middle of the distribution (y < digamma(a)): the lower integral, which with t = x exp(-v) is
  F = exp(y a - x) / gamma(a) * integral of exp(-a v + x (1 - exp(-v))) over v > 0; a derivative by a brings a factor
  y - digamma(a) - v, never positive;
- above: the upper integral, with t = x exp(v), whose factor is y - digamma(a) + v, never negative.

The integrands are smooth and have one scale, on which Gauss-Legendre quadrature is exact to the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from functrans.ops.gamma_functions import digamma, trigamma

__all__ = ["sensitivity"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[Array, Array]

_SERIES_BELOW = 2.0
_TERMS = 32
_NODES = 40
_EXPONENT = 40.0
"""Where the integrand has fallen to exp(-40), the integral is cut."""
_SHORT = 0.25
"""Intervals up to this length are those of large parameters, where exp(v) - 1 - v must not be had by subtraction."""


def sensitivity(a: Array, y: Array) -> tuple[Array, Array, Array]:
    """For the logarithm y of a sample: dy/da, minus the second derivative of F by a over dF/dy, and y - digamma(a).

    Args:
        a: the parameters, float64 with one axis.
        y: the logarithms of samples. NaN where a or y is none that could be.
    """
    with np.errstate(all="ignore"):
        x = np.exp(y)
        first, second, slope = np.full_like(a, np.nan), np.full_like(a, np.nan), y - digamma(np.where(a > 0, a, 1.0))
        valid = (a > 0) & np.isfinite(a) & (y < np.inf)
        small = valid & (x <= _SERIES_BELOW)
        upper = valid & ~small & (slope > 0)
        for places, compute in (
            (small, _by_series),
            (upper, lambda a, x, y, s: _by_quadrature(a, x, s, 1.0)),
            (valid & ~small & ~upper, lambda a, x, y, s: _by_quadrature(a, x, s, -1.0)),
        ):
            if places.any():
                first[places], second[places] = compute(a[places], x[places], y[places], slope[places])
    return first, second, slope


def _by_series(a: Array, x: Array, y: Array, slope: Array) -> Pair:
    term, harmonic, squares = np.ones_like(a), np.zeros_like(a), np.zeros_like(a)
    sums = [np.ones_like(a), np.zeros_like(a), np.zeros_like(a)]
    for n in range(1, _TERMS):
        inverse = 1 / (a + n)
        term = term * (x * inverse)
        harmonic += inverse
        squares += inverse * inverse
        sums[0] += term
        sums[1] -= term * harmonic
        sums[2] += term * (harmonic * harmonic + squares)
    factor = y - digamma(a + 1)  # the derivative of the logarithm of what is before the sum
    first = -(sums[0] * factor + sums[1]) / a
    second = -(sums[0] * (factor * factor - trigamma(a + 1)) + 2 * factor * sums[1] + sums[2]) / a
    return first, second


def _by_quadrature(a: Array, x: Array, slope: Array, sign: float) -> Pair:
    length = _interval(a, x, sign)
    moments = np.empty((3, a.size))
    short = length < _SHORT
    for places, excess in ((short, _excess_near_zero), (~short, _excess)):
        if places.any():
            moments[:, places] = _moments(a[places], x[places], length[places], sign, excess)
    zeroth, once, twice = moments
    first = sign * slope * zeroth + once
    second = sign * ((slope * slope - trigamma(a)) * zeroth + twice) + 2 * slope * once
    return first, second


def _moments(a: Array, x: Array, length: Array, sign: float, excess: Callable[[Array], Array]) -> Array:
    """The integrals of v**k times the integrand, for k = 0, 1, 2."""
    drift = sign * (x - a)
    sums = np.zeros((3, a.size))
    for node, weight in _nodes():
        v = length * node
        value = weight * np.exp(-(x * excess(sign * v) + drift * v))
        sums[0] += value
        value *= v
        sums[1] += value
        value *= v
        sums[2] += value
    return sums * length


def _interval(a: Array, x: Array, sign: float) -> Array:
    """How far the integrand reaches: a bound first, then Newton's method, which comes down to the place on a convex
    function.
    """
    drift = sign * (x - a)
    if sign > 0:  # exp(v) - 1 - v >= v * v / 2
        length = 2 * _EXPONENT / (drift + np.sqrt(drift * drift + 2 * x * _EXPONENT))
    else:  # exp(-v) - 1 + v >= v * v / (2 + v)
        linear = _EXPONENT - 2 * drift
        length = (linear + np.sqrt(linear * linear + 8 * _EXPONENT * a)) / (2 * a)
    for _ in range(4):
        height = x * _excess(sign * length) + drift * length - _EXPONENT
        length = length - height / (x * sign * np.expm1(sign * length) + drift)
    return length


def _excess(v: Array) -> Array:
    """exp(v) - 1 - v."""
    return np.expm1(v) - v


def _excess_near_zero(v: Array) -> Array:
    value = np.full_like(v, 1 / 13)
    for n in range(12, 2, -1):
        value *= v
        value += 1
        value /= n
    value *= v
    value += 1
    return value * (v * v / 2)


@lru_cache(maxsize=1)
def _nodes() -> list[tuple[float, float]]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return [((1 + node) / 2, weight / 2) for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)]
