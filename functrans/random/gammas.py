"""The gamma distribution, and those that are made of it.

Their samples are differentiated with respect to the parameters by implicit reparametrisation (`ops/random_gamma.py`),
up to second derivatives.
"""

from __future__ import annotations

from typing import Any

import functrans.numpy as fnp
from functrans.ops.identity import stop_gradient
from functrans.ops.random_gamma import random_gamma
from functrans.random.arguments import (
    Dtype,
    Shape,
    broadcast_shape,
    dtype_of_floats,
    fitted,
    number,
    sample,
    sample_shape,
    sampler,
    static_integer,
)
from functrans.random.continuous import exponential_from, signs_from
from functrans.random.uniform import normal_from, several

__all__ = ["ball", "beta", "chisquare", "dirichlet", "f", "gamma", "generalized_normal", "loggamma", "t"]

Lengths = tuple[int, ...]


def _parametric(function: Any, name: str, key: Any, shape: Any, dtype: Any, **parameters: Any) -> Any:
    found = dtype_of_floats(dtype, name)
    given = {what: number(x, what, name) for what, x in parameters.items()}
    wanted = broadcast_shape(shape, name, **given)
    return sample(_with_parameters, name, key, *given.values(), static=(function, wanted, found))


def _with_parameters(words: Any, *rest: Any) -> Any:
    *parameters, function, shape, dtype = rest
    return function(words, *[fitted(x, shape, dtype) for x in parameters])


@sampler
def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the gamma distribution, with the density x**(a - 1) * exp(-x) / gamma(a) for x > 0.

    Args:
        key: a key.
        a: the shape parameter, a number or an array. The result can be differentiated with respect to it, twice. NaN
            where it is negative.
        shape: the shape of the result, into which `a` broadcasts; that of `a` if not given.
        dtype: a float type.

    For small `a` most numbers are too small for any float and are 0; `loggamma` gives their logarithms.

    >>> import functrans as ft
    >>> key = ft.random.key(0)
    >>> ft.random.gamma(key, 2.0, (3,))
    array([1.352030 , 1.124359, 3.732404])
    >>> ft.grad(lambda a: ft.random.gamma(key, a))(2.0)
    np.float64(0.886262)
    """
    return _parametric(_gamma, "gamma", key, shape, dtype, a=a)


def _gamma(words: Any, a: Any) -> Any:
    return random_gamma(words, a)


@sampler
def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = float) -> Any:
    """The logarithms of numbers of the gamma distribution, right also where those would underflow. See `gamma`.

    >>> import functrans as ft
    >>> ft.random.loggamma(ft.random.key(0), 1e-4)
    np.float64(-11123.586013)
    """
    return _parametric(_loggamma, "loggamma", key, shape, dtype, a=a)


def _loggamma(words: Any, a: Any) -> Any:
    return random_gamma(words, a, True)


@sampler
def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the beta distribution, with a density in proportion to x**(a - 1) * (1 - x)**(b - 1) for 0 < x < 1.

    >>> import functrans as ft
    >>> ft.random.beta(ft.random.key(0), 2.0, 3.0)
    np.float64(0.327956)
    """
    return _parametric(_beta, "beta", key, shape, dtype, a=a, b=b)


def _beta(words: Any, a: Any, b: Any) -> Any:
    for_a, for_b = several(words)
    logs = random_gamma(for_a, a, True), random_gamma(for_b, b, True)
    largest = stop_gradient(fnp.maximum(*logs))
    x, y = [fnp.exp(each - largest) for each in logs]
    return x / (x + y)


@sampler
def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Vectors of the Dirichlet distribution: positive numbers whose sum is 1.

    Args:
        key: a key.
        alpha: the concentrations, along the last axis.
        shape: the shape of the result without that axis, into which the others of `alpha` broadcast.
        dtype: a float type.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.random.dirichlet(ft.random.key(0), np.ones(3)).sum().round(12)
    np.float64(1.0)
    """
    found, alpha = dtype_of_floats(dtype, "dirichlet"), number(alpha, "alpha", "dirichlet")
    lengths = getattr(alpha, "shape", ())
    if not lengths:
        raise ValueError("random.dirichlet: alpha must have an axis of concentrations, got a scalar")
    batch = lengths[:-1] if shape is None else sample_shape(shape, "dirichlet")
    wanted = broadcast_shape((*batch, lengths[-1]), "dirichlet", alpha=alpha)
    return sample(_dirichlet, "dirichlet", key, alpha, static=(wanted, found))


def _dirichlet(words: Any, alpha: Any, shape: Lengths, dtype: Dtype) -> Any:
    logs = random_gamma(words, fitted(alpha, shape, dtype), True)
    if not shape[-1]:
        return logs
    scaled = fnp.exp(logs - stop_gradient(fnp.max(logs, axis=-1, keepdims=True)))
    return scaled / fnp.sum(scaled, axis=-1, keepdims=True)


@sampler
def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the chi-square distribution with `df` degrees of freedom, which need not be a whole number.

    >>> import functrans as ft
    >>> ft.random.chisquare(ft.random.key(0), 3.0)
    np.float64(1.813893)
    """
    return _parametric(_chisquare, "chisquare", key, shape, dtype, df=df)


def _chisquare(words: Any, df: Any) -> Any:
    return fnp.exp(random_gamma(words, df / 2, True)) * 2


@sampler
def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the F distribution: the ratio of two chi-square numbers, each over its degrees of freedom.

    >>> import functrans as ft
    >>> ft.random.f(ft.random.key(0), 3.0, 5.0)
    np.float64(1.547980)
    """
    return _parametric(_f, "f", key, shape, dtype, dfnum=dfnum, dfden=dfden)


def _f(words: Any, dfnum: Any, dfden: Any) -> Any:
    for_den, for_num = several(words)
    return (_chisquare(for_num, dfnum) / dfnum) / (_chisquare(for_den, dfden) / dfden)


@sampler
def t(key: Any, df: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of Student's t distribution with `df` degrees of freedom.

    >>> import functrans as ft
    >>> ft.random.t(ft.random.key(0), 3.0)
    np.float64(1.401158)
    """
    return _parametric(_t, "t", key, shape, dtype, df=df)


def _t(words: Any, df: Any) -> Any:
    for_normal, for_gamma = several(words)
    half = df / 2
    return normal_from(for_normal, df.shape, df.dtype) * fnp.sqrt(half / random_gamma(for_gamma, half))


@sampler
def generalized_normal(key: Any, p: Any, shape: Any = (), dtype: Any = float) -> Any:
    """Numbers with a density in proportion to exp(-abs(x)**p).

    Args:
        key: a key.
        p: the power, a number or an array.
        shape: the shape of the result, into which `p` broadcasts.
        dtype: a float type.

    >>> import functrans as ft
    >>> ft.random.generalized_normal(ft.random.key(0), 4.0, (2,))
    array([ 0.708330, -0.981466])
    """
    return _parametric(_generalized_normal, "generalized_normal", key, shape, dtype, p=p)


def _generalized_normal(words: Any, p: Any) -> Any:
    for_size, for_sign = several(words)
    size = random_gamma(for_size, 1 / p)
    return signs_from(for_sign, p.shape, p.dtype) * size ** (1 / p)


@sampler
def ball(key: Any, d: int, p: Any = 2, shape: Shape = (), dtype: Any = float) -> Any:
    """Points that are uniform in the unit ball of dimension `d` in the norm of power `p`, by the method of Barthe,
    Guedon, Mendelson and Naor (Annals of Probability 33, 2005).

    Args:
        key: a key.
        d: the dimension.
        p: the power of the norm, a number.
        shape: the shape of the result without its last axis, of length `d`.
        dtype: a float type.

    >>> import functrans as ft
    >>> ft.random.ball(ft.random.key(0), 3)
    array([-0.867037, -0.453103,  0.084509  ])
    """
    found, p = dtype_of_floats(dtype, "ball"), number(p, "p", "ball")
    wanted = (*sample_shape(shape, "ball"), sample_shape(static_integer(d, "d", "ball"), "ball")[0])
    if getattr(p, "shape", ()):
        raise ValueError(f"random.ball: p must be a scalar, got an array of shape {p.shape}")
    return sample(_ball, "ball", key, p, static=(wanted, found))


def _ball(words: Any, p: Any, shape: Lengths, dtype: Dtype) -> Any:
    for_direction, for_radius = several(words)
    power = fitted(p, (), dtype)
    x = _generalized_normal(for_direction, fitted(power, shape, dtype))
    length = fnp.sum(fnp.abs(x) ** power, axis=-1) + exponential_from(for_radius, shape[:-1], dtype)
    return x / fnp.expand_dims(length ** (1 / power), -1)
