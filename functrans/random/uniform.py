"""Bits, uniform and normal numbers: what all other samplers are made of."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from functrans.ops.complex import complex as make_complex
from functrans.ops.elementwise import add, div, mul, sub
from functrans.ops.families import constant_like
from functrans.ops.random_bits import random_bits, random_split
from functrans.ops.random_floats import random_normal, random_uniform
from functrans.ops.selection import max as max_of
from functrans.ops.slicing import index_in_dim
from functrans.random.arguments import (
    Dtype,
    Shape,
    broadcast_shape,
    dtype_of_floats,
    dtype_of_integers,
    fitted,
    number,
    sample,
    sample_shape,
    sampler,
)
from functrans.random.keys import single_key

__all__ = ["bits", "normal", "normal_from", "several", "uniform", "uniform_between", "uniform_from"]


@sampler
def bits(key: Any, shape: Shape = (), dtype: Any = None) -> Any:
    """Unsigned integers whose bits are independent and uniform.

    Args:
        key: a key.
        shape: the shape of the result.
        dtype: an unsigned integer type; uint32 if not given.

    >>> import functrans as ft
    >>> ft.random.bits(ft.random.key(0), (2,))
    array([4070199207, 4202968722], dtype=uint32)
    """
    found = dtype_of_integers(np.uint32 if dtype is None else dtype, "bits", "u")
    wanted = sample_shape(shape, "bits")
    return random_bits(single_key(key, "bits"), 8 * found.itemsize, wanted)


@sampler
def uniform(key: Any, shape: Shape = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Floats that are uniform between `minval` (included) and `maxval` (excluded, but for rounding).

    Args:
        key: a key.
        shape: the shape of the result, to which the bounds are broadcast.
        dtype: a float type.
        minval, maxval: the bounds, numbers or arrays; the result can be differentiated with respect to them.

    >>> import functrans as ft
    >>> ft.random.uniform(ft.random.key(0), (2,), "float32")
    array([0.947667 , 0.9785799], dtype=float32)
    """
    found = dtype_of_floats(dtype, "uniform")
    if type(minval) is float and type(maxval) is float and (minval, maxval) == (0.0, 1.0):
        wanted = sample_shape(shape, "uniform")
        return uniform_from(single_key(key, "uniform"), wanted, found)
    low, high = number(minval, "minval", "uniform"), number(maxval, "maxval", "uniform")
    wanted = broadcast_shape(shape, "uniform", minval=low, maxval=high)
    return sample(_uniform, "uniform", key, low, high, static=(wanted, found))


def _uniform(words: Any, low: Any, high: Any, shape: tuple[int, ...], dtype: Dtype) -> Any:
    return uniform_between(words, shape, dtype, fitted(low, shape, dtype), fitted(high, shape, dtype))


def uniform_from(words: Any, shape: tuple[int, ...], dtype: Dtype) -> Any:
    """Uniform floats in [0, 1)."""
    return random_uniform(words, shape, dtype)


def uniform_between(words: Any, shape: tuple[int, ...], dtype: Dtype, low: Any, high: Any) -> Any:
    """Uniform floats between bounds, which are of the shape and dtype of the result, or numbers."""
    unit = random_uniform(words, shape, dtype)
    if not hasattr(low, "shape"):
        low, high = dtype.type(low), dtype.type(high)
        low, high = constant_like(unit, low), constant_like(unit, high - low)
        return max_of(low, add(mul(unit, high), low))
    return max_of(low, add(mul(unit, sub(high, low)), low))


@sampler
def normal(key: Any, shape: Shape = (), dtype: Any = float) -> Any:
    """Numbers of the standard normal distribution, by the inverse of its distribution function.

    Args:
        key: a key.
        shape: the shape of the result.
        dtype: a float or complex type; a complex number has independent parts of variance 1/2.

    >>> import functrans as ft
    >>> ft.random.normal(ft.random.key(0), (2,), "float32")
    array([1.622..., 2.025...], dtype=float32)
    """
    found, wanted = dtype_of_floats(dtype, "normal", "fc"), sample_shape(shape, "normal")
    if found.kind == "f":
        return normal_from(single_key(key, "normal"), wanted, found)
    return sample(normal_from, "normal", key, static=(wanted, found))


def normal_from(words: Any, shape: tuple[int, ...], dtype: Dtype) -> Any:
    """Standard normal floats or complex numbers."""
    if dtype.kind == "f":
        return random_normal(words, shape, dtype)
    real = np.dtype(f"f{dtype.itemsize // 2}")
    parts = [random_normal(part, shape, real) for part in several(words)]
    return make_complex(*[div(part, constant_like(part, sqrt(2))) for part in parts])


def several(words: Any, num: int = 2) -> list[Any]:
    """The words of several new keys."""
    keys = random_split(words, (num,))
    return [index_in_dim(keys, i, 0, keepdims=False) for i in range(num)]
