"""Rectifiers: activation functions that are x on the right, or nearly so, and bounded or small on the left."""

from __future__ import annotations

from typing import Any

from functrans import lax
from functrans.nn.composing import call, floating, matching, public, real, with_jvp
from functrans.numpy.promotion import like, strong

__all__ = [
    "celu",
    "elu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "relu",
    "relu6",
    "selu",
    "squareplus",
]


def when(condition: Any, x: Any, otherwise: Any = 0) -> Any:
    """x where a condition holds, else a number."""
    return lax.select(condition, x, like(otherwise, x))


# --------------------------------------------------------------------------------------------------------------------
# Of straight pieces


def _maximum_with_zero(x: Any) -> Any:
    return lax.max(like(0, x), x)  # in this order -0.0 stays, which saves a pass over x


def _maximum_with_zero_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return when(lax.gt(x, like(0, x)), t)


_positive_part = with_jvp(_maximum_with_zero, _maximum_with_zero_jvp)


def _relu(x: Any) -> Any:
    real("relu", x)
    x = strong(x)
    return _positive_part(x) if x.dtype.kind == "f" else x if x.dtype.kind == "b" else _maximum_with_zero(x)


@public
def relu(x: Any) -> Any:
    """The rectifier: max(x, 0). Its derivative at 0 is 0.

    Args:
        x: an array of real numbers.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    >>> ft.vmap(ft.grad(ft.nn.relu))(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 1.])
    """
    return call(_relu, (x,))


def clip(x: Any, low: float, high: float) -> Any:
    """x, but no less and no more than two numbers, inside of a composition."""
    return lax.clamp(like(low, x), x, like(high, x))


def _relu6(x: Any) -> Any:
    return clip(floating("relu6", x), 0, 6)


@public
def relu6(x: Any) -> Any:
    """x cut off below 0 and above 6, where the derivative is 0 (at 0 and 6 too).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return call(_relu6, (x,))


def _hard_sigmoid(x: Any) -> Any:
    x = floating("hard_sigmoid", x)
    return lax.div(clip(lax.add(x, like(3, x)), 0, 6), like(6, x))


@public
def hard_sigmoid(x: Any) -> Any:
    """A sigmoid of straight pieces: relu6(x + 3) / 6.

    >>> import functrans as ft
    >>> ft.nn.hard_sigmoid(0.0)
    np.float64(0.5)
    """
    return call(_hard_sigmoid, (x,))


def _hard_silu(x: Any) -> Any:
    x = floating("hard_silu", x)
    return lax.mul(x, _hard_sigmoid(x))


@public
def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x) (Howard et al. 2019, "Searching for MobileNetV3"); also called hard_swish.

    >>> import functrans as ft
    >>> ft.nn.hard_silu(3.0)
    np.float64(3.0)
    """
    return call(_hard_silu, (x,))


hard_swish = hard_silu


def _cut_at_one(x: Any) -> Any:
    return clip(x, -1, 1)


def _cut_at_one_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return when(lax.le(lax.abs(x), like(1, x)), t)


def _hard_tanh(x: Any) -> Any:
    return with_jvp(_cut_at_one, _cut_at_one_jvp)(floating("hard_tanh", x))


@public
def hard_tanh(x: Any) -> Any:
    """x cut off below -1 and above 1; the derivative is 1 from -1 to 1, both included.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.hard_tanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    return call(_hard_tanh, (x,))


def _leaky_relu(x: Any, slope: Any) -> Any:
    x, slope = matching("leaky_relu", x, slope)
    # The factor is computed once for the value and for the derivative.
    return lax.mul(x, lax.select(lax.ge(x, like(0, x)), like(1, x), slope))


@public
def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """x where it is not negative, else `negative_slope * x`. The derivative at 0 is 1.

    Args:
        x: an array of real numbers.
        negative_slope: a number, or an array that broadcasts with x, which can be learned (Xu et al. 2015).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.leaky_relu(np.array([-2.0, 3.0]))
    array([-0.02,  3.  ])
    """
    return call(_leaky_relu, (x, negative_slope))


# --------------------------------------------------------------------------------------------------------------------
# Exponential on the left


def _bent(x: Any, alpha: Any) -> Any:
    positive = lax.gt(x, like(0, x))
    return lax.select(positive, x, lax.mul(alpha, lax.expm1(lax.select(positive, like(0, x), x))))


def _bent_jvp(primals: Any, tangents: Any) -> Any:
    (x, alpha), (t, t_alpha) = primals, tangents
    positive = lax.gt(x, like(0, x))
    left = lax.select(positive, like(0, x), x)
    # Of the two sides of 0 that of the exponential, whose slope there is alpha.
    slope = lax.select(positive, like(1, x), lax.mul(alpha, lax.exp(left)))
    return lax.add(lax.mul(t, slope), lax.mul(t_alpha, lax.expm1(left)))


def _elu(x: Any, alpha: Any) -> Any:
    return with_jvp(_bent, _bent_jvp)(*matching("elu", x, alpha))


@public
def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert, Unterthiner and Hochreiter 2015).

    Args:
        x: an array of real numbers.
        alpha: a number, or an array that broadcasts with x.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.elu(np.array([-1e4, 2.0]))
    array([-1.,  2.])
    """
    return call(_elu, (x, alpha))


def _celu(x: Any, alpha: Any) -> Any:
    x, alpha = matching("celu", x, alpha)
    return lax.mul(alpha, with_jvp(_bent, _bent_jvp)(lax.div(x, alpha), like(1, x)))


@public
def celu(x: Any, alpha: Any = 1.0) -> Any:
    """x where it is positive, else alpha * (exp(x / alpha) - 1) (Barron 2017): its slope is continuous.

    Args:
        x: an array of real numbers.
        alpha: a positive number, or an array that broadcasts with x.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.celu(np.array([-1e4, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    return call(_celu, (x, alpha))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _selu(x: Any) -> Any:
    x = floating("selu", x)
    return lax.mul(with_jvp(_bent, _bent_jvp)(x, like(_SELU_ALPHA, x)), like(_SELU_SCALE, x))


@public
def selu(x: Any) -> Any:
    """1.0507 * elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.selu(np.array([-1e4, 1.0]))
    array([-1.75809934,  1.05070099])
    """
    return call(_selu, (x,))


def _square_root_part(x: Any, b: Any) -> Any:
    size = lax.add(lax.abs(x), lax.hypot(x, lax.sqrt(b)))
    # For negative x the sum of x and the root would cancel.
    positive = lax.ge(x, like(0, x))
    other = lax.div(lax.mul(b, like(0.5, x)), lax.select(positive, like(1, x), size))
    return lax.select(positive, lax.mul(size, like(0.5, x)), other)


def _square_root_part_jvp(primals: Any, tangents: Any) -> Any:
    (x, b), (t, t_b) = primals, tangents
    root = lax.hypot(x, lax.sqrt(b))
    return lax.add(
        lax.mul(t, lax.div(with_jvp(_square_root_part, _square_root_part_jvp)(x, b), root)),
        lax.mul(t_b, lax.div(like(0.25, x), root)),
    )


def _squareplus(x: Any, b: Any) -> Any:
    return with_jvp(_square_root_part, _square_root_part_jvp)(*matching("squareplus", x, b))


@public
def squareplus(x: Any, b: Any = 4) -> Any:
    """(x + sqrt(x**2 + b)) / 2 (Barron 2021), without cancellation on the left.

    Args:
        x: an array of real numbers.
        b: how smooth it is: a positive number, or an array that broadcasts with x.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.squareplus(np.array([-1e10, 0.0]))
    array([1.e-10, 1.e+00])
    """
    return call(_squareplus, (x, b))
