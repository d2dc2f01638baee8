"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import lax, random
from functrans.core.tracer import Tracer
from functrans.nn.composing import call, floating, public, shape_of
from functrans.numpy.promotion import broadcast_to, like, strong
from functrans.ops.conversion import convert_element_type

__all__ = ["dropout"]


def _kept(x: Any, kept: Any, rate: Any) -> Any:
    x = strong(x) if x.aval.inexact else floating("dropout", x)
    keep = convert_element_type(rate, _real(x))
    factor = lax.div(like(1, keep), lax.sub(like(1, keep), keep))
    scaled = lax.mul(x, broadcast_to(convert_element_type(factor, x.dtype), x.shape))
    return lax.select(broadcast_to(kept, x.shape), scaled, like(0, x))


def _real(x: Any) -> Any:
    return x.dtype if x.dtype.kind == "f" else f"f{x.dtype.itemsize // 2}"


@public
def dropout(key: Any, x: Any, rate: Any, deterministic: bool = False, *, broadcast_dims: tuple[int, ...] = ()) -> Any:
    """Elements set to zero at random, and the others made so much larger that the mean stays (Srivastava et al. 2014).

    Args:
        key: a key of `functrans.random`; not needed where nothing is dropped.
        x: an array.
        rate: the probability of an element to be dropped, from 0 to 1.
        deterministic: whether to return x as it is: so it is done outside of training.
        broadcast_dims: axes along which elements are dropped together.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.dropout(ft.random.key(1), np.ones(6), 0.5)
    array([...])
    >>> ft.nn.dropout(None, np.ones(3), 0.5, deterministic=True)
    array([1., 1., 1.])
    """
    known = not isinstance(rate, Tracer)
    if shape_of(rate):
        raise ValueError(f"dropout: rate must be one number, got an array of shape {shape_of(rate)}")
    if known and not 0 <= rate <= 1:
        raise ValueError(f"dropout: rate is a probability, from 0 to 1, got {rate}")
    if deterministic or (known and rate == 0):
        return call(_same, (x,))
    if known and rate == 1:
        return call(_nothing, (x,))
    if key is None:
        raise ValueError("dropout needs a key of functrans.random where it is not deterministic, got None")
    shape = list(shape_of(x))
    for d in broadcast_dims:
        shape[d] = 1
    keep = (1 - rate).astype(np.float32) if isinstance(rate, (Tracer, np.ndarray)) else np.float32(1 - rate)
    return call(_kept, (x, random.bernoulli(key, keep, tuple(shape)), rate))  # 23 bits of chance for each are enough


def _same(x: Any) -> Any:
    return strong(x)


def _nothing(x: Any) -> Any:
    return like(0, strong(x))
