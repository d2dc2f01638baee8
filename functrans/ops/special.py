"""Elementwise primitives: the error function and its relatives, computed in double precision.

The values are rational approximations: erf and erfc after W. J. Cody, "Rational Chebyshev approximations for the error
function", Mathematics of Computation 23 (1969), pages 631 to 637; erf_inv after M. J. Wichura, "Algorithm AS 241: the
percentage points of the normal distribution", Applied Statistics 37 (1988), pages 477 to 484.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np

from functrans.ops.elementwise import mul, neg
from functrans.ops.families import FLOAT, def_derivative, elementwise
from functrans.ops.transcendental import exp

__all__ = ["erf", "erf_inv", "erf_inv_p", "erf_p", "erfc", "erfc_p"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]
Ratio = tuple[tuple[float, ...], tuple[float, ...]]
"""The coefficients of a rational function, numerator and denominator, highest powers first."""


def _in_double(function: Callable[[Array], Array]) -> Callable[[Any], Any]:
    """A function of floats of any size, from one of float64."""

    def impl(x: Any) -> Any:
        values = function(np.asarray(x, np.float64))
        return values.astype(x.dtype, copy=False)[()]

    return impl


def _ratio(coefficients: Ratio, x: Array) -> Array:
    above, below = coefficients
    return _polynomial(above, x) / _polynomial(below, x)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = x * coefficients[0]
    value += coefficients[1]
    for coefficient in coefficients[2:]:
        value *= x
        value += coefficient
    return value


def _piecewise(
    x: Array, condition: Booleans, where_true: Callable[..., Array], where_false: Callable[..., Array]
) -> Array:
    """Each function on the elements that it is for."""
    if condition.all():
        return where_true(x)
    if not condition.any():
        return where_false(x)
    out = np.empty_like(x)
    otherwise = ~condition
    out[condition] = where_true(x[condition])
    out[otherwise] = where_false(x[otherwise])
    return out


# --------------------------------------------------------------------------------------------------------------------
# erf and erfc

# erf(x) / x as a function of x * x, for abs(x) <= 0.46875.
_SMALL: Ratio = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
# exp(x * x) * erfc(x), for x up to 4.
_MIDDLE: Ratio = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
# (1 / sqrt(pi) - x * exp(x * x) * erfc(x)) * x * x as a function of 1 / (x * x), for x above 4.
_LARGE: Ratio = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip
_THRESHOLD = 0.46875
_VANISHED = 30.0
"""From here on erfc is 0 in double precision."""


def _erf_near_zero(x: Array) -> Array:
    return x * _ratio(_SMALL, x * x)


def _scaled_tail(x: Array) -> Array:
    """exp(x * x) * erfc(x) for x above the threshold."""
    return _piecewise(x, x <= 4, lambda x: _ratio(_MIDDLE, x), _far_scaled_tail)


def _far_scaled_tail(x: Array) -> Array:
    inverse = 1 / (x * x)
    return (1 / sqrt(pi) - inverse * _ratio(_LARGE, inverse)) / x


def _tail(x: Array) -> Array:
    """erfc(abs(x)) for abs(x) above the threshold."""
    x = np.minimum(np.abs(x), _VANISHED)
    rounded = np.trunc(x * 16) / 16  # has an exact square, so that exp(-x * x) loses no digits
    return _scaled_tail(x) * np.exp(-rounded * rounded) * np.exp(-(x - rounded) * (x + rounded))


def _erf_of_double(x: Array) -> Array:
    return _piecewise(x, np.abs(x) <= _THRESHOLD, _erf_near_zero, lambda x: np.copysign((0.5 - _tail(x)) + 0.5, x))


def _erfc_of_double(x: Array) -> Array:
    def far_from_zero(x: Array) -> Array:
        tail = _tail(x)
        return np.where(x < 0, 2 - tail, tail)

    return _piecewise(x, np.abs(x) <= _THRESHOLD, lambda x: 1 - _erf_near_zero(x), far_from_zero)


def _gaussian(x: Any) -> Any:
    return exp(neg(mul(x, x)))


def erf(x: Any) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x, elementwise, of floats.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.erf(np.array([0.0, 1.0]))
    array([0.        , 0.84270079])
    """
    return erf_p.bind(x)


erf_p = elementwise("erf", _in_double(_erf_of_double), FLOAT)
def_derivative(erf_p, lambda t, out, x: mul(t, mul(_gaussian(x), 2 / sqrt(pi))))


def erfc(x: Any) -> Any:
    """1 - erf(x), without loss of digits where that is small, elementwise, of floats."""
    return erfc_p.bind(x)


erfc_p = elementwise("erfc", _in_double(_erfc_of_double), FLOAT)
def_derivative(erfc_p, lambda t, out, x: mul(t, mul(_gaussian(x), -2 / sqrt(pi))))

# --------------------------------------------------------------------------------------------------------------------
# erf_inv

# The quantile of the normal distribution at p = 1/2 + q: over q as a function of 0.425**2 - q**2, for abs(q) <= 0.425.
_CENTRAL: Ratio = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
# With r = sqrt(-log(min(p, 1 - p))): as a function of r - 1.6, for r <= 5.
_OUTER: Ratio = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
# As a function of r - 5, for larger r.
_OUTERMOST: Ratio = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _central_quantile(x: Array) -> Array:
    return x / 2 * _ratio(_CENTRAL, 0.180625 - x * x / 4)


def _outer_quantile(x: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # at 1, and beyond it, where the result is NaN
        r = np.sqrt(-np.log((1 - np.abs(x)) / 2))
    finite = np.where(np.isinf(r), 5.0, r)
    size = _piecewise(finite, finite <= 5, lambda r: _ratio(_OUTER, r - 1.6), lambda r: _ratio(_OUTERMOST, r - 5))
    return np.copysign(np.where(np.isinf(r), np.inf, size), x)


def _erf_inv_of_double(x: Array) -> Array:
    flat = x.reshape(-1)
    with np.errstate(invalid="ignore", over="ignore"):  # far beyond 1, where it is not meant
        out = _central_quantile(flat)
    outer = np.flatnonzero(np.abs(flat) > 0.85)  # few, so that the others need not be picked
    if outer.size:
        out[outer] = _outer_quantile(flat[outer])
    out /= sqrt(2)
    return out.reshape(x.shape)


def erf_inv(x: Any) -> Any:
    """The inverse of erf, elementwise, of floats: infinite at -1 and 1, NaN beyond.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.erf_inv(np.array([0.0, 0.5, -1.0]))
    array([0.        , 0.47693628,       -inf])
    """
    return erf_inv_p.bind(x)


erf_inv_p = elementwise("erf_inv", _in_double(_erf_inv_of_double), FLOAT)
def_derivative(erf_inv_p, lambda t, out, x: mul(t, mul(exp(mul(out, out)), sqrt(pi) / 2)))
