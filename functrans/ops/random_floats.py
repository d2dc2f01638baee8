"""Uniform and normal floats, drawn from the words of a key block by block, so that what they go through stays in cache.

The inverse of the error function in single precision is from M. Giles, "Approximating the erfinv function", GPU
Computing Gems 2 (2012), pages 109 to 116.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from functrans.ops.random_bits import Finish, Shape, Words, drawing, wide
from functrans.ops.special import erf_inv_p

__all__ = ["normal_of", "random_normal", "random_normal_p", "random_uniform", "random_uniform_p", "uniform_of"]

Floats = np.ndarray[Any, Any]
Dtype = np.dtype[Any]
Polynomial = tuple[float, ...]
"""Coefficients, highest powers first."""

# erf_inv(x) / x as a function of 2.5 - w, with w = -log(1 - x * x), for w < 5.
_GILES_CENTRAL: Polynomial = (
    2.81022636e-08, -3.43273939e-07, -3.5233877e-06, 4.39150654e-06, 0.00021858087, 0.00125372503, -0.00417768164,
    -0.246640727, 1.50140941,
)  # fmt: skip
_ONE, _MIDDLE = np.array(1, np.float32), np.array(2.5, np.float32)
# As a function of sqrt(w) - 3, for larger w.
_GILES_OUTER: Polynomial = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
)  # fmt: skip


def _unit(high: Words, low: Words, out: Floats) -> None:
    """Floats in [0, 1): random bits become the mantissa of a number in [1, 2)."""
    dtype = out.dtype
    drawn = wide(high, low) if dtype.itemsize == 8 else np.bitwise_xor(high, low, out=high)
    if dtype.itemsize < 4:
        drawn = drawn.astype(f"uint{8 * dtype.itemsize}")
    drawn >>= drawn.dtype.type(8 * dtype.itemsize - np.finfo(dtype).nmant)
    drawn |= np.ones((), dtype).view(drawn.dtype)
    np.subtract(drawn.view(dtype), dtype.type(1), out=out)


def _normal(high: Words, low: Words, out: Floats) -> None:
    """Standard normal floats: the inverse of the distribution function at numbers that are uniform in (-1, 1)."""
    _unit(high, low, out)
    dtype = out.dtype.type
    lowest = np.nextafter(dtype(-1), dtype(0))
    out *= dtype(1) - lowest
    out += lowest  # not below it, since rounding keeps order
    if dtype is np.float32:
        _scale_by_giles(out)
    else:
        out[...] = _erf_inv(out)
    out *= dtype(sqrt(2))


_erf_inv: Callable[[Any], Any] = erf_inv_p.impl  # type: ignore[assignment]


def _scale_by_giles(x: Floats) -> None:
    """erf_inv(x), in place, of float32 between -1 and 1."""
    v = _ONE - x
    factor = x + _ONE
    v *= factor
    np.log(v, out=v)  # -w
    outer = np.flatnonzero(v <= -5)
    far = np.sqrt(-v[outer])
    v += _MIDDLE
    _evaluate(_GILES_CENTRAL, v, factor)
    if outer.size:
        far -= np.float32(3)
        factor[outer] = _evaluate(_GILES_OUTER, far, np.empty_like(far))
    x *= factor


def _evaluate(coefficients: Polynomial, x: Floats, out: Floats) -> Floats:
    first, *middle, last = [np.array(c, np.float32) for c in coefficients]
    np.multiply(x, first, out=out)
    for coefficient in middle:
        out += coefficient
        out *= x
    out += last
    return out


def uniform_of(high: Words, low: Words, dtype: Dtype) -> Floats:
    """Floats in [0, 1) from two words of hash each, which may be overwritten."""
    out = np.empty(high.shape, dtype)
    _unit(high, low, out)
    return out


def normal_of(high: Words, low: Words, dtype: Dtype) -> Floats:
    """Standard normal floats from two words of hash each, which may be overwritten."""
    out = np.empty(high.shape, dtype)
    _normal(high, low, out)
    return out


def _result(shape: Shape, dtype: Dtype) -> tuple[Shape, Dtype]:
    return (), dtype


def random_uniform(words: Any, shape: Shape, dtype: Any) -> Any:
    """Floats, uniform in [0, 1), from the words of a key.

    >>> import numpy as np
    >>> random_uniform(np.array([0, 0], np.uint32), (2,), np.float32)
    array([0.947667 , 0.9785799], dtype=float32)
    """
    return random_uniform_p.bind(words, shape=shape, dtype=np.dtype(dtype))


def _write_unit(shape: Shape, dtype: Dtype) -> Finish:
    return _unit


random_uniform_p = drawing("random_uniform", _result, _write_unit)


def random_normal(words: Any, shape: Shape, dtype: Any) -> Any:
    """Floats of the standard normal distribution, from the words of a key.

    >>> import numpy as np
    >>> random_normal(np.array([0, 0], np.uint32), (2,), np.float32)
    array([1.622..., 2.025...], dtype=float32)
    """
    return random_normal_p.bind(words, shape=shape, dtype=np.dtype(dtype))


def _write_normal(shape: Shape, dtype: Dtype) -> Finish:
    return _normal


random_normal_p = drawing("random_normal", _result, _write_normal)
