"""Samples of the gamma distribution, and how they move with its shape parameter.

The sampler is from G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", ACM Transactions on
Mathematical Software 26 (2000), pages 363 to 372. Each element has a key of its own, and draws until it is accepted.

Its derivative is that of M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", NeurIPS 2018: the
value F(x; a) of the distribution function is held fixed while a moves, so that dx/da = -(dF/da) / (dF/dx).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_general_jvp,
    def_impl,
    def_specialized_impl,
)
from functrans.errors import MissingRuleError, user_location
from functrans.ops.elementwise import mul
from functrans.ops.families import FLOAT, align, def_derivative, elementwise
from functrans.ops.gamma_sensitivity import sensitivity
from functrans.ops.random_bits import Words, check_words, hashed
from functrans.ops.random_floats import normal_of, uniform_of

__all__ = [
    "random_gamma",
    "random_gamma_grad",
    "random_gamma_grad_p",
    "random_gamma_hessian_p",
    "random_gamma_p",
]

Floats = np.ndarray[Any, Any]
_BLOCK = 16_384
"""Elements that are drawn together."""


def _new_key(k0: Words, k1: Words, number: int) -> tuple[Words, Words]:
    return hashed(k0, k1, np.uint32(0), np.uint32(number))


def _normal(k0: Words, k1: Words, dtype: np.dtype[Any]) -> Floats:
    return normal_of(*_new_key(k0, k1, 0), dtype)


def _uniform(k0: Words, k1: Words, dtype: np.dtype[Any]) -> Floats:
    return uniform_of(*_new_key(k0, k1, 0), dtype)


def _gamma_block(k0: Words, k1: Words, a: Floats, log_space: bool) -> Floats:
    """Samples of the parameters `a`, one axis, each with a key."""
    dtype, one = a.dtype, a.dtype.type(1)
    boosted = ~(a >= 1)
    d = np.where(boosted, a + one, a) - dtype.type(1 / 3)
    c = dtype.type(1 / 3) / np.sqrt(d)
    volume = _accepted_cubes(*_new_key(k0, k1, 0), c, d)
    if log_space:
        out = np.log(d) + np.log(volume)
    else:
        out = d * volume
    places = np.flatnonzero(boosted)
    if places.size:
        drawn = _uniform(*_new_key(k0[places], k1[places], 1), dtype)
        if log_space:
            logs = np.log1p(-drawn)
            out[places] += np.where(logs == 0, logs, logs * (one / a[places]))
        else:
            out[places] *= np.power(one - drawn, one / a[places])
    out[a < 0] = np.nan
    return out


def _accepted_cubes(k0: Words, k1: Words, c: Floats, d: Floats) -> Floats:
    """The cubes (1 + c x)**3 of normal numbers x, such that d times them has the distribution."""
    dtype, one = d.dtype, d.dtype.type(1)
    accepted = np.empty_like(d)
    active = np.arange(d.size)
    while active.size:
        x, v = _positive(*_new_key(k0, k1, 1), c)
        u = _uniform(*_new_key(k0, k1, 2), dtype)
        square, cube = x * x, v * v * v
        rejected = u >= one - dtype.type(0.0331) * (square * square)
        rejected &= np.log(u) >= dtype.type(0.5) * square + d * ((one - cube) + np.log(cube))
        accepted[active] = cube
        active, c, d = active[rejected], c[rejected], d[rejected]
        k0, k1 = _new_key(k0[rejected], k1[rejected], 0)
    return accepted


def _positive(k0: Words, k1: Words, c: Floats) -> tuple[Floats, Floats]:
    """Normal numbers x, drawn until 1 + c x is positive; and that."""
    x = _normal(*_new_key(k0, k1, 1), c.dtype)
    v = 1 + x * c
    again = np.flatnonzero(v <= 0)
    while again.size:
        k0, k1 = _new_key(k0 if again.size == k0.size else k0[again], k1 if again.size == k1.size else k1[again], 0)
        x[again] = _normal(*_new_key(k0, k1, 1), c.dtype)
        v[again] = 1 + x[again] * c[again]
        left = v[again] <= 0
        k0, k1, again = k0[left], k1[left], again[left]
    return x, v


def random_gamma(words: Any, a: Any, log_space: bool = False) -> Any:
    """Samples of the gamma distribution with the shape parameters `a`, or their logarithms.

    Args:
        words: the words of keys, of shape (*keys, 2).
        a: the parameters, floats of shape (*keys, ...).
        log_space: whether to give the logarithms, which do not underflow where `a` is small.
    """
    return random_gamma_p.bind(words, a, log_space=bool(log_space))


def _gamma_abstract(words: Aval, a: Aval, *, log_space: bool) -> Aval:
    keys = check_words("random_gamma", words)
    if a.dtype.kind != "f" or a.shape[: len(keys)] != keys:
        raise TypeError(f"random_gamma takes floats for each key, got {a} for keys of shape {keys}")
    return a.strong


def _gamma_impl(words: Aval, a: Aval, *, log_space: bool) -> Callable[..., Any]:
    n_keys = prod(words.shape[:-1])
    size = a.size // n_keys if n_keys else 0

    def run(words: Words, a: Floats) -> Any:
        flat, keys = a.reshape(-1), words.reshape(n_keys, 2)
        out = np.empty_like(flat)
        with np.errstate(all="ignore"):
            for start in range(0, flat.size, _BLOCK):
                row, place = np.divmod(np.arange(start, min(start + _BLOCK, flat.size)), size)
                k0, k1 = keys[row].T if n_keys > 1 else keys[0]
                own = hashed(k0, k1, (place >> 32).astype(np.uint32), (place & 0xFFFFFFFF).astype(np.uint32))
                out[start : start + _BLOCK] = _gamma_block(*own, flat[start : start + _BLOCK], log_space)
        return out.reshape(a.shape)[()]

    return run


def _gamma_batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, int]:
    return random_gamma_p.bind(*align(size, operands, axes, 0), **params), 0


random_gamma_p = Primitive("random_gamma")
random_gamma_p.uses_key = True
def_specialized_impl(random_gamma_p, _gamma_impl)
def_abstract(random_gamma_p, _gamma_abstract)
def_derivative(random_gamma_p, None, lambda t, out, words, a, log_space: mul(t, random_gamma_grad(a, out, log_space)))
def_batch(random_gamma_p, _gamma_batch)

# --------------------------------------------------------------------------------------------------------------------
# The derivative by the parameter


def random_gamma_grad(a: Any, sample: Any, log_space: bool = False) -> Any:
    """How a sample of the gamma distribution moves with the parameter `a`, elementwise, of floats.

    Args:
        a: the parameter.
        sample: the sample; its logarithm with `log_space`, and then the result is the derivative of that.

    >>> import numpy as np
    >>> random_gamma_grad(np.array([1.0]), np.array([0.5]))  # of the exponential distribution
    array([0.806979])
    """
    return random_gamma_grad_p.bind(a, sample, log_space=bool(log_space))


def _grad_impl(a: Floats, sample: Floats, *, log_space: bool) -> Any:
    shape, _, x, (first, _, _) = _sensitivity(a, sample, log_space)
    return (first if log_space else _times(x, first)).astype(a.dtype).reshape(shape)[()]


def _sensitivity(a: Floats, sample: Floats, log_space: bool) -> tuple[Any, Any, Any, Any]:
    """The shape of the two together, both in double precision along one axis, and what `sensitivity` gives of them."""
    a, sample = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(sample, np.float64))
    shape, a, sample = a.shape, a.reshape(-1), sample.reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x, y = (np.exp(sample), sample) if log_space else (sample, np.log(sample))
    return shape, a, x, sensitivity(a, y)


def _times(x: Floats, y: Floats) -> Floats:
    """The product, 0 where x is, though y is infinite."""
    return np.where(x == 0, 0.0, x * np.where(x == 0, 0.0, y))


random_gamma_grad_p = elementwise("random_gamma_grad", _grad_impl, FLOAT)
def_derivative(
    random_gamma_grad_p,
    lambda t, out, a, sample, log_space: mul(t, _second(a, sample, log_space)[0]),
    lambda t, out, a, sample, log_space: mul(t, _second(a, sample, log_space)[1]),
)


def _second(a: Any, sample: Any, log_space: bool) -> Any:
    return random_gamma_hessian_p.bind(a, sample, log_space=log_space)


def _hessian_impl(a: Floats, sample: Floats, *, log_space: bool) -> tuple[Any, Any]:
    shape, double, x, (first, second, slope) = _sensitivity(a, sample, log_space)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        by_a = second - first * slope
        by_y = -slope - first * (double - x)
        if not log_space:  # x times what is above, by a and by log(x)
            by_a, by_y = _times(x, by_a), by_y + first
    return by_a.astype(a.dtype).reshape(shape)[()], by_y.astype(a.dtype).reshape(shape)[()]


def _hessian_abstract(a: Aval, sample: Aval, *, log_space: bool) -> tuple[Aval, Aval]:
    if a.strong != sample.strong or a.dtype.kind != "f":
        raise TypeError(f"random_gamma_hessian takes floats of one shape and dtype, got {a} and {sample}")
    return a.strong, a.strong


def _hessian_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[Any, tuple[int, int]]:
    axis = next(axis for axis in axes if axis is not None)
    return random_gamma_hessian_p.bind(*align(size, operands, axes, axis), **params), (axis, axis)


def _third_derivative(*_: Any, **params: Any) -> NoReturn:
    raise MissingRuleError(
        f"a third derivative of samples of the gamma distribution is asked at {user_location()}: they (and those that "
        "are made of them: beta, dirichlet, chisquare, t, f, generalized_normal, ball) can be differentiated twice by "
        "their parameters. functrans.lax.stop_gradient ends it."
    )


random_gamma_hessian_p = Primitive("random_gamma_hessian", multiple_results=True)
"""The derivatives of `random_gamma_grad` by its two operands. There are no third ones."""
def_impl(random_gamma_hessian_p, _hessian_impl)
def_abstract(random_gamma_hessian_p, _hessian_abstract)
def_batch(random_gamma_hessian_p, _hessian_batch)
def_general_jvp(random_gamma_hessian_p, _third_derivative)
declare_absent(random_gamma_hessian_p, "transpose", "not linear")
