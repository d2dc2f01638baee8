"""The gamma function's logarithm and its derivatives for positive arguments, on arrays in double precision.

All by Stirling's series (NIST Digital Library of Mathematical Functions, 5.11), after the recurrence has brought the
argument to where that is exact to the last digits.
"""

from __future__ import annotations

from math import log, pi
from typing import Any

import numpy as np

__all__ = ["digamma", "log_gamma", "trigamma"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_LEAST = 10.0
"""From here on the series is used."""

# As functions of 1 / (x * x), highest powers first: what is left of each when its leading terms are taken away.
_LOG_GAMMA = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_TRIGAMMA = (7 / 6, -691 / 2730, 5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6)


def _series(coefficients: tuple[float, ...], x: Array) -> Array:
    inverse = 1 / (x * x)
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= inverse
        value += coefficient
    return value


def _shifted(x: Array) -> tuple[Array, list[Array]]:
    """x plus so many that it is large, element by element; and the numbers on the way there (infinite where none)."""
    large, passed = np.array(x, np.float64), list[Array]()
    while True:
        small = large < _LEAST
        if not small.any():
            return large, passed
        passed.append(np.where(small, large, np.inf))
        large += small


def log_gamma(x: Array) -> Array:
    """log(gamma(x)), for x > 0.

    >>> log_gamma(np.array([1.0, 5.0])).round(12)
    array([0.        , 3.17805383])
    """
    large, passed = _shifted(x)
    value = (large - 0.5) * np.log(large) - large + (0.5 * log(2 * pi)) + _series(_LOG_GAMMA, large) / large
    if passed:
        product = np.ones_like(large)
        for number in passed:
            product *= np.where(np.isinf(number), 1.0, number)
        value -= np.log(product)
    return value


def digamma(x: Array) -> Array:
    """The derivative of log(gamma(x)), for x > 0.

    >>> digamma(np.array([1.0]))
    array([-0.57721566])
    """
    large, passed = _shifted(x)
    value = np.log(large) - 0.5 / large - _series(_DIGAMMA, large) / (large * large)
    for number in reversed(passed):
        value -= 1 / number
    return value


def trigamma(x: Array) -> Array:
    """The second derivative of log(gamma(x)), for x > 0.

    >>> trigamma(np.array([1.0]))
    array([1.64493407])
    """
    large, passed = _shifted(x)
    value = 1 / large + 0.5 / (large * large) + _series(_TRIGAMMA, large) / large**3
    for number in reversed(passed):
        value += 1 / (number * number)
    return value
