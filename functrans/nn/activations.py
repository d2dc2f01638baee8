"""Activation functions that are smooth, or nearly so; elementwise but for `glu`. `rectifiers.py` has the others.

Each keeps the dtype of floats; integers become float64. Their derivatives are written out where
the chain rule would lose digits, overflow, or compute more than needed.
"""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

import numpy as np

from functrans import lax
from functrans.nn.composing import axis_of, call, floating, public, shape_of, with_jvp
from functrans.nn.rectifiers import clip, when
from functrans.numpy.promotion import like, strong
from functrans.ops.conversion import convert_element_type

__all__ = [
    "gelu",
    "glu",
    "identity",
    "log1mexp",
    "log_sigmoid",
    "mish",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "swish",
    "tanh",
]


def _identity(x: Any) -> Any:
    return strong(x)


@public
def identity(x: Any) -> Any:
    """x.

    >>> import functrans as ft
    >>> ft.nn.identity(2.0)
    np.float64(2.0)
    """
    return call(_identity, (x,))


# --------------------------------------------------------------------------------------------------------------------
# Sigmoid and its kind


def _inexact(x: Any) -> Any:
    return strong(x) if x.aval.inexact else convert_element_type(x, np.float64)


def _sigmoid(x: Any) -> Any:
    return lax.logistic(_inexact(x))


@public
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), of real or complex numbers.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    return call(_sigmoid, (x,))


def _tanh(x: Any) -> Any:
    return lax.tanh(_inexact(x))


@public
def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent, of real or complex numbers.

    >>> import functrans as ft
    >>> ft.nn.tanh(0.0)
    np.float64(0.0)
    """
    return call(_tanh, (x,))


def _log_of_one_plus_exp(x: Any) -> Any:
    return lax.add(lax.max(x, like(0, x)), lax.log1p(lax.exp(lax.neg(lax.abs(x)))))


def _log_of_one_plus_exp_jvp(primals: Any, tangents: Any) -> Any:
    return lax.mul(tangents[0], lax.logistic(primals[0]))


log_of_one_plus_exp = with_jvp(_log_of_one_plus_exp, _log_of_one_plus_exp_jvp)
"""`softplus`, inside of a composition."""


def _softplus(x: Any) -> Any:
    return log_of_one_plus_exp(floating("softplus", x))


@public
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.softplus(np.array([-1e4, 0.0, 1e4]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+04])
    """
    return call(_softplus, (x,))


def _log_sigmoid(x: Any) -> Any:
    return lax.neg(log_of_one_plus_exp(lax.neg(floating("log_sigmoid", x))))


@public
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), exact where the sigmoid is nearly 0 or 1.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.log_sigmoid(np.array([-1e4, 0.0]))
    array([-1.00000000e+04, -6.93147181e-01])
    """
    return call(_log_sigmoid, (x,))


def _log_of_one_minus_exp(x: Any) -> Any:
    # Each form in its half, where the other loses digits (Maechler 2012, "Accurately computing log(1 - exp(-|a|))").
    small = lax.lt(x, like(log(2), x))
    near = lax.log(lax.neg(lax.expm1(lax.neg(when(small, x, 1)))))
    far = lax.log1p(lax.neg(lax.exp(lax.neg(lax.select(small, like(1, x), x)))))
    return lax.select(small, near, far)


def _log_of_one_minus_exp_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return lax.mul(t, lax.div(lax.exp(lax.neg(x)), lax.neg(lax.expm1(lax.neg(x)))))


def _log1mexp(x: Any) -> Any:
    return with_jvp(_log_of_one_minus_exp, _log_of_one_minus_exp_jvp)(floating("log1mexp", x))


@public
def log1mexp(x: Any) -> Any:
    """log(1 - exp(-x)) for positive x, without loss of digits near 0 and for large x; -inf at 0, NaN below.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.log1mexp(np.array([1e-20, 1.0, 100.0]))
    array([-4.60517019e+01, -4.58675145e-01, -3.72007598e-44])
    """
    return call(_log1mexp, (x,))


def _over_one_plus_size(x: Any) -> Any:
    return lax.div(x, lax.add(lax.abs(x), like(1, x)))


def _over_one_plus_size_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return lax.mul(t, lax.square(lax.div(like(1, x), lax.add(lax.abs(x), like(1, x)))))


def _soft_sign(x: Any) -> Any:
    return with_jvp(_over_one_plus_size, _over_one_plus_size_jvp)(floating("soft_sign", x))


@public
def soft_sign(x: Any) -> Any:
    """x / (1 + abs(x)).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.soft_sign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return call(_soft_sign, (x,))


def _half_of_square(x: Any) -> Any:
    square = lax.mul(lax.square(lax.add(clip(x, -1, 1), like(1, x))), like(0.25, x))
    return lax.select(lax.ge(x, like(1, x)), x, square)


def _half_of_square_jvp(primals: Any, tangents: Any) -> Any:
    return lax.mul(tangents[0], _sparse_sigmoid(primals[0]))


def _sparse_plus(x: Any) -> Any:
    return with_jvp(_half_of_square, _half_of_square_jvp)(floating("sparse_plus", x))


@public
def sparse_plus(x: Any) -> Any:
    """0 up to -1, x from 1 on, (x + 1)**2 / 4 between: a softplus that is 0 on the left.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.sparse_plus(np.array([-2.0, 0.0, 2.0]))
    array([0.  , 0.25, 2.  ])
    """
    return call(_sparse_plus, (x,))


def _half_way(x: Any) -> Any:
    return lax.mul(lax.add(clip(x, -1, 1), like(1, x)), like(0.5, x))


def _half_way_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    size = lax.abs(x)
    slope = lax.select(lax.lt(size, like(1, x)), like(0.5, x), when(lax.eq(size, like(1, x)), like(0.25, x)))
    return lax.mul(t, slope)


def _sparse_sigmoid(x: Any) -> Any:
    return with_jvp(_half_way, _half_way_jvp)(floating("sparse_sigmoid", x))


@public
def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2 between -1 and 1, 0 on the left and 1 on the right: the derivative of `sparse_plus`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.sparse_sigmoid(np.array([-2.0, 0.0, 2.0]))
    array([0. , 0.5, 1. ])
    """
    return call(_sparse_sigmoid, (x,))


# --------------------------------------------------------------------------------------------------------------------
# x, weighted by how large it is


def _times_sigmoid(x: Any) -> Any:
    return lax.mul(x, lax.logistic(x))


def _times_sigmoid_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    share = lax.logistic(x)
    out = lax.mul(x, share)
    return lax.mul(t, lax.add(share, lax.mul(out, lax.sub(like(1, x), share))))


def _silu(x: Any) -> Any:
    return with_jvp(_times_sigmoid, _times_sigmoid_jvp)(floating("silu", x))


@public
def silu(x: Any) -> Any:
    """x * sigmoid(x) (Elfwing, Uchibe and Doya 2017), also called swish.

    >>> import functrans as ft
    >>> ft.nn.silu(1.0)
    np.float64(0.7310585786300049)
    """
    return call(_silu, (x,))


swish = silu


def _mish(x: Any) -> Any:
    x = floating("mish", x)
    return lax.mul(x, lax.tanh(log_of_one_plus_exp(x)))


@public
def mish(x: Any) -> Any:
    """x * tanh(softplus(x)) (Misra 2019).

    >>> import functrans as ft
    >>> ft.nn.mish(1.0)
    np.float64(0.8650983882673103)
    """
    return call(_mish, (x,))


def _times_tanh(x: Any) -> Any:
    return lax.mul(x, _share_by_tanh(x))


def _share_by_tanh(x: Any) -> Any:
    x = clip(x, -100, 100)  # beyond it is 0 or 1, and x**3 could overflow
    cubic = lax.mul(x, lax.add(lax.mul(lax.square(x), like(0.044715, x)), like(1, x)))
    angle = lax.mul(cubic, like(sqrt(2 / pi), x))
    return lax.mul(lax.add(lax.tanh(angle), like(1, x)), like(0.5, x))


def _times_tanh_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    share = _share_by_tanh(x)
    x = clip(x, -100, 100)
    slope = lax.add(lax.mul(lax.square(x), like(3 * 0.044715, x)), like(1, x))
    bend = lax.mul(lax.mul(share, lax.sub(like(1, x), share)), lax.mul(slope, like(2 * sqrt(2 / pi), x)))
    return lax.mul(t, lax.add(share, lax.mul(x, bend)))


def _times_normal(x: Any) -> Any:
    return lax.mul(x, _below(x))


def _below(x: Any) -> Any:
    """The distribution function of the normal distribution."""
    return lax.mul(lax.erfc(lax.mul(x, like(-sqrt(0.5), x))), like(0.5, x))


def _density(x: Any) -> Any:
    return lax.mul(lax.exp(lax.mul(lax.square(clip(x, -100, 100)), like(-0.5, x))), like(1 / sqrt(2 * pi), x))


def _below_jvp(primals: Any, tangents: Any) -> Any:
    return lax.mul(tangents[0], _density(primals[0]))


def _times_normal_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return lax.mul(t, lax.add(with_jvp(_below, _below_jvp)(x), lax.mul(clip(x, -100, 100), _density(x))))


def _gelu(x: Any, approximate: bool) -> Any:
    x = floating("gelu", x)
    return with_jvp(_times_tanh, _times_tanh_jvp)(x) if approximate else with_jvp(_times_normal, _times_normal_jvp)(x)


@public
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the distribution function of the normal distribution at x (Hendrycks and Gimpel 2016).

    Args:
        x: an array of real numbers.
        approximate: whether to use their approximation by tanh.

    >>> import functrans as ft
    >>> ft.nn.gelu(1.0), ft.nn.gelu(1.0, approximate=False)
    (np.float64(0.84119199060), np.float64(0.84134474606))
    """
    return call(_gelu, (x,), bool(approximate))


# --------------------------------------------------------------------------------------------------------------------
# glu


def _glu(x: Any, axis: int) -> Any:
    half = x.shape[axis] // 2
    x = floating("glu", x)
    first, second = [lax.slice_in_dim(x, start, start + half, axis=axis) for start in (0, half)]
    return lax.mul(first, lax.logistic(second))


@public
def glu(x: Any, axis: int = -1) -> Any:
    """The gated linear unit (Dauphin et al. 2016): one half of an axis times the sigmoid of the other half.

    Args:
        x: an array of real numbers.
        axis: an axis of even length.

    Raises:
        ValueError: if the length is odd.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.glu(np.array([1.0, 2.0, 0.0, 1e4]))
    array([0.5, 2. ])
    """
    found = axis_of("glu", axis, len(shape_of(x)))
    if shape_of(x)[found] % 2:
        raise ValueError(f"glu: axis {axis} must have an even length, got an array of shape {shape_of(x)}")
    return call(_glu, (x,), found)
