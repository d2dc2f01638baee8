"""Samplers of distributions whose numbers are a formula of uniform or normal ones: differentiable by that formula."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

import functrans.numpy as fnp
from functrans.ops.bitwise import bitwise_and, bitwise_not
from functrans.ops.comparison import lt, select
from functrans.ops.conversion import convert_element_type
from functrans.ops.families import constant_like
from functrans.ops.identity import stop_gradient
from functrans.ops.magnitude import nextafter
from functrans.ops.random_bits import bitcast_convert_type, random_bits
from functrans.ops.slicing import index_in_dim
from functrans.ops.special import erf, erf_inv
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
)
from functrans.random.uniform import normal_from, several, uniform_between, uniform_from

__all__ = [
    "cauchy",
    "double_sided_maxwell",
    "exponential",
    "exponential_from",
    "gumbel",
    "gumbel_from",
    "gumbel_mode",
    "laplace",
    "logistic",
    "lognormal",
    "maxwell",
    "pareto",
    "rayleigh",
    "signs_from",
    "triangular",
    "truncated_normal",
    "wald",
    "weibull_min",
]

Lengths = tuple[int, ...]


def _standard(function: Any, name: str, key: Any, shape: Any, dtype: Any) -> Any:
    """A sample of a distribution without parameters."""
    found, wanted = dtype_of_floats(dtype, name), sample_shape(shape, name)
    return sample(function, name, key, static=(wanted, found))


def _parametric(function: Any, name: str, key: Any, shape: Any, dtype: Any, kinds: str = "f", **parameters: Any) -> Any:
    """A sample of a distribution with parameters, which `function` gets in the shape and dtype of the sample."""
    found = dtype_of_floats(dtype, name, kinds)
    given = {what: number(x, what, name) for what, x in parameters.items()}
    wanted = broadcast_shape(shape, name, **given)
    return sample(_with_parameters, name, key, *given.values(), static=(function, wanted, found))


def _with_parameters(words: Any, *rest: Any) -> Any:
    *parameters, function, shape, dtype = rest
    return function(words, *[fitted(x, shape, dtype) for x in parameters], shape, dtype)


# --------------------------------------------------------------------------------------------------------------------
# Without parameters


@sampler
def exponential(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the exponential distribution of rate 1, with the density exp(-x) for x > 0: -log(1 - u).

    >>> import functrans as ft
    >>> ft.random.exponential(ft.random.key(0), (2,))
    array([0.542070, 0.243723])
    """
    return _standard(exponential_from, "exponential", key, shape, dtype)


def exponential_from(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    """Exponential numbers from the words of a key."""
    return -fnp.log1p(-uniform_from(words, shape, dtype))


@sampler
def gumbel(key: Any, shape: Shape = (), dtype: Any = float, mode: str | None = None) -> Any:
    """Numbers of the Gumbel distribution, with the distribution function exp(-exp(-x)): -log(-log(u)).

    Args:
        key: a key.
        shape: the shape of the result.
        dtype: a float type.
        mode: "low" (the same as None) takes the bits of one uniform number, so that in single precision nothing above
            16.6 is drawn; "high" takes those of two; "highest" in single precision 64 bits as they are, which gives
            more of those near zero.

    >>> import functrans as ft
    >>> ft.random.gumbel(ft.random.key(0), (2,))
    array([ 0.137905, -0.425992])
    """
    return sample(
        gumbel_from,
        "gumbel",
        key,
        static=(sample_shape(shape, "gumbel"), dtype_of_floats(dtype, "gumbel"), gumbel_mode(mode, "gumbel")),
    )


def gumbel_mode(mode: Any, name: str) -> str:
    """The mode of a sampler of Gumbel numbers, checked."""
    if mode not in (None, "low", "high", "highest"):
        raise ValueError(f"random.{name}: mode must be 'low', 'high' or 'highest', got {mode!r:.60}")
    return mode or "low"


def gumbel_from(words: Any, shape: Lengths, dtype: Dtype, mode: str) -> Any:
    """Gumbel numbers from the words of a key."""
    tiny = float(np.finfo(dtype).tiny)
    if mode == "low":
        return -fnp.log(-fnp.log(uniform_between(words, shape, dtype, tiny, 1.0)))
    if mode == "highest" and dtype == np.float32:
        return _finest_gumbel(words, shape)
    high, low = [index_in_dim(uniform_from(words, (2, *shape), dtype), i, 0, keepdims=False) for i in (0, 1)]
    finer = high + low * (2.0 ** -np.finfo(dtype).nmant) + tiny
    return -fnp.log(-fnp.log1p(-fnp.where(high >= 0.5, high, finer)))


def _finest_gumbel(words: Any, shape: Lengths) -> Any:
    drawn = random_bits(words, 32, (2, *shape))
    high, low = [convert_element_type(index_in_dim(drawn, i, 0, keepdims=False), np.uint64) for i in (0, 1)]
    number = high * np.uint64(2**32) + low
    lower = lt(number, constant_like(number, 2**63))
    x = _truncated(select(lower, number, bitwise_not(number) + np.uint64(1)))
    return fnp.where(lower, -fnp.log(-fnp.log1p(-x)), -fnp.log(-fnp.log(x)))


def _truncated(number: Any) -> Any:
    """An integer of 64 bits, divided by 2**64, in single precision rounded down."""
    double = bitcast_convert_type(convert_element_type(number, np.float64) * 2.0**-64, np.uint64)
    cut = bitwise_and(double, constant_like(double, 2**64 - 2**29))
    return convert_element_type(bitcast_convert_type(cut, np.float64), np.float32)


@sampler
def laplace(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the Laplace distribution, with the density exp(-abs(x)) / 2.

    >>> import functrans as ft
    >>> ft.random.laplace(ft.random.key(0), (2,))
    array([0.178033, 0.837962])
    """
    return _standard(_laplace, "laplace", key, shape, dtype)


def _laplace(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    u = uniform_between(words, shape, dtype, -1.0 + float(np.finfo(dtype).epsneg), 1.0)
    return fnp.sign(u) * fnp.log1p(-fnp.abs(u))


@sampler
def logistic(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the logistic distribution, with the distribution function 1 / (1 + exp(-x)): log(u / (1 - u)).

    >>> import functrans as ft
    >>> ft.random.logistic(ft.random.key(0), (2,))
    array([-0.329110, -1.287386])
    """
    return _standard(_logistic, "logistic", key, shape, dtype)


def _logistic(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    u = uniform_between(words, shape, dtype, float(np.finfo(dtype).tiny), 1.0)
    return fnp.log(u) - fnp.log1p(-u)


@sampler
def cauchy(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the Cauchy distribution, with the density 1 / (pi * (1 + x**2)): tan(pi * (u - 1/2)).

    >>> import functrans as ft
    >>> ft.random.cauchy(ft.random.key(0), (2,))
    array([-0.261929, -1.237846])
    """
    return _standard(_cauchy, "cauchy", key, shape, dtype)


def _cauchy(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    u = uniform_between(words, shape, dtype, float(np.finfo(dtype).eps), 1.0)
    return fnp.tan((u - 0.5) * pi)


@sampler
def maxwell(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the Maxwell distribution: the lengths of vectors of three standard normal numbers.

    >>> import functrans as ft
    >>> ft.random.maxwell(ft.random.key(0), (2,))
    array([1.989069, 0.424607])
    """
    return _standard(_maxwell, "maxwell", key, shape, dtype)


def _maxwell(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    x = normal_from(words, (*shape, 3), dtype)
    return fnp.sqrt(fnp.sum(x * x, axis=-1))


# --------------------------------------------------------------------------------------------------------------------
# With parameters


@sampler
def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Standard normal numbers, of which only those between `lower` and `upper` are kept.

    Args:
        key: a key.
        lower, upper: the bounds, numbers or arrays; the result can be differentiated with respect to them.
        shape: the shape of the result, into which the bounds broadcast; theirs if not given.
        dtype: a float type.

    >>> import functrans as ft
    >>> ft.random.truncated_normal(ft.random.key(0), -1.0, 1.0, (2,))
    array([-0.139996, -0.506314])
    """
    return _parametric(_truncated_normal, "truncated_normal", key, shape, dtype, lower=lower, upper=upper)


def _truncated_normal(words: Any, lower: Any, upper: Any, shape: Lengths, dtype: Dtype) -> Any:
    root = dtype.type(sqrt(2)).item()
    x = erf_inv(uniform_between(words, shape, dtype, erf(lower / root), erf(upper / root))) * root
    least = nextafter(stop_gradient(lower), constant_like(lower, np.inf))
    most = nextafter(stop_gradient(upper), constant_like(upper, -np.inf))
    return fnp.minimum(fnp.maximum(x, least), most)


@sampler
def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers whose logarithm is normal with standard deviation `sigma`.

    >>> import functrans as ft
    >>> ft.random.lognormal(ft.random.key(0), 0.5, (2,))
    array([0.902198, 0.675445])
    """
    return _parametric(_lognormal, "lognormal", key, shape, dtype, "fc", sigma=sigma)


def _lognormal(words: Any, sigma: Any, shape: Lengths, dtype: Dtype) -> Any:
    return fnp.exp(normal_from(words, shape, dtype) * sigma)


@sampler
def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the Pareto distribution, with the density b / x**(b + 1) for x >= 1.

    >>> import functrans as ft
    >>> ft.random.pareto(ft.random.key(0), 3.0, (2,))
    array([1.198043, 1.084632])
    """
    return _parametric(_pareto, "pareto", key, shape, dtype, b=b)


def _pareto(words: Any, b: Any, shape: Lengths, dtype: Dtype) -> Any:
    return fnp.exp(exponential_from(words, shape, dtype) / b)


@sampler
def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the Rayleigh distribution, with the density x / scale**2 * exp(-x**2 / (2 * scale**2)) for x > 0.

    >>> import functrans as ft
    >>> ft.random.rayleigh(ft.random.key(0), 2.0, (2,))
    array([2.639971, 3.499839])
    """
    return _parametric(_rayleigh, "rayleigh", key, shape, dtype, scale=scale)


def _rayleigh(words: Any, scale: Any, shape: Lengths, dtype: Dtype) -> Any:
    u = fnp.maximum(uniform_from(words, shape, dtype), float(np.finfo(dtype).tiny))
    return scale * fnp.sqrt(fnp.log(u) * -2.0)


@sampler
def weibull_min(key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = float) -> Any:
    """Numbers of the Weibull distribution, with the distribution function 1 - exp(-(x / scale)**concentration).

    Args:
        key: a key.
        scale, concentration: numbers or arrays; the result can be differentiated with respect to them.
        shape: the shape of the result, into which they broadcast; theirs if it is ().
        dtype: a float type.

    >>> import functrans as ft
    >>> ft.random.weibull_min(ft.random.key(0), 2.0, 1.5, (2,))
    array([1.329639, 0.780359])
    """
    shape = None if shape == () else shape
    return _parametric(_weibull, "weibull_min", key, shape, dtype, scale=scale, concentration=concentration)


def _weibull(words: Any, scale: Any, concentration: Any, shape: Lengths, dtype: Dtype) -> Any:
    return fnp.power(exponential_from(words, shape, dtype), 1.0 / concentration) * scale


@sampler
def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the Wald (inverse Gaussian) distribution with scale 1 and a mean, by the method of Michael, Schucany
    and Haas (The American Statistician 30, 1976).

    The derivative with respect to `mean` is that of the formula, with the choice between its two roots held fixed: it
    is not the derivative of an expectation.

    >>> import functrans as ft
    >>> ft.random.wald(ft.random.key(0), 2.0, (2,))
    array([0.223279, 3.900855])
    """
    return _parametric(_wald, "wald", key, shape, dtype, mean=mean)


def _wald(words: Any, mean: Any, shape: Lengths, dtype: Dtype) -> Any:
    for_normal, for_uniform = several(words)
    y = fnp.square(normal_from(for_normal, shape, dtype))
    z = uniform_from(for_uniform, shape, dtype)
    square = mean * mean
    x = mean + square * y / 2 - mean / 2 * fnp.sqrt(4 * mean * y + square * y * y)
    return fnp.where(z <= mean / (mean + x), x, square / x)


@sampler
def triangular(key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = float) -> Any:
    """Numbers of the triangular distribution between `left` and `right`, most often near `mode`.

    >>> import functrans as ft
    >>> ft.random.triangular(ft.random.key(0), 0.0, 1.0, 2.0, (2,))
    array([0.914830, 0.657716])
    """
    return _parametric(_triangular, "triangular", key, shape, dtype, left=left, mode=mode, right=right)


def _triangular(words: Any, left: Any, mode: Any, right: Any, shape: Lengths, dtype: Dtype) -> Any:
    u, width = uniform_from(words, shape, dtype), right - left
    rising = u < (mode - left) / width
    # What is under the root of the side that is not chosen may be 0.
    below = fnp.sqrt(fnp.where(rising, u * width * (mode - left), 1.0))
    above = fnp.sqrt(fnp.where(rising, 1.0, (1 - u) * width * (right - mode)))
    return fnp.where(rising, left + below, right - above)


@sampler
def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the Maxwell distribution with a random sign, times `scale`, plus `loc`.

    The shape of the result is `shape` (that of the parameters if it is ()) followed by the shape of the parameters, as
    in JAX.

    >>> import functrans as ft
    >>> ft.random.double_sided_maxwell(ft.random.key(0), 0.0, 1.0, (2,))
    array([ 1.984612, -2.478207 ])
    """
    name = "double_sided_maxwell"
    found, wanted = dtype_of_floats(dtype, name), sample_shape(shape, name)
    loc, scale = number(loc, "loc", name), number(scale, "scale", name)
    common = broadcast_shape(None, name, loc=loc, scale=scale)
    return sample(_double_sided_maxwell, name, key, loc, scale, static=((*(wanted or common), *common), found))


def _double_sided_maxwell(words: Any, loc: Any, scale: Any, shape: Lengths, dtype: Dtype) -> Any:
    for_size, for_sign = several(words)
    signed = signs_from(for_sign, shape, dtype) * _maxwell(for_size, shape, dtype)
    return signed * fitted(scale, shape, dtype) + fitted(loc, shape, dtype)


def signs_from(words: Any, shape: Lengths, dtype: Dtype) -> Any:
    """1 and -1 with equal probability, in a dtype whose width is that of the uniform numbers drawn for it."""
    drawn = uniform_from(words, shape, np.dtype(np.float64 if dtype.itemsize == 8 else np.float32))
    chosen = drawn < 0.5
    return fnp.where(chosen, constant_like(chosen, True), False).astype(dtype) * dtype.type(2) - dtype.type(1)
