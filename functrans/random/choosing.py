"""Choosing among things: permutations, samples of an array, categories by their logits."""

from __future__ import annotations

from math import ceil, log, prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

import functrans.numpy as fnp
from functrans.core.aval import aval_of
from functrans.ops.conversion import convert_element_type
from functrans.ops.random_bits import random_bits
from functrans.ops.shape import moveaxis, reshape
from functrans.ops.slicing import slice_in_dim
from functrans.ops.sorting import sort_key_val, top_k
from functrans.random.arguments import (
    Shape,
    broadcast_shape,
    number,
    sample,
    sample_shape,
    sampler,
    static_integer,
)
from functrans.random.continuous import gumbel_from, gumbel_mode
from functrans.random.discrete import randint_from
from functrans.random.uniform import several, uniform_from

__all__ = ["categorical", "choice", "permutation", "shuffle"]

Lengths = tuple[int, ...]
_ANY = "biufc"


@sampler
def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """An array in random order along an axis, or the numbers below one in random order.

    Args:
        key: a key.
        x: an array, which can be differentiated; or an integer, which stands for `np.arange(x)`.
        axis: the axis.
        independent: whether each vector along the axis gets an order of its own.

    >>> import functrans as ft
    >>> ft.random.permutation(ft.random.key(0), 5)
    array([0, 1, 4, 3, 2])
    """
    return _permuted("permutation", key, x, axis, independent)


@sampler
def shuffle(key: Any, x: Any, axis: int = 0) -> Any:
    """An array in random order along an axis: `permutation(key, x, axis, independent=True)`.

    >>> import functrans as ft
    >>> ft.random.shuffle(ft.random.key(0), [1.0, 2.0, 3.0]).sum()
    np.float64(6.0)
    """
    return _permuted("shuffle", key, x, axis, True)


def _permuted(name: str, key: Any, x: Any, axis: Any, independent: bool) -> Any:
    x = number(x, "x", name, _ANY)
    axis = static_integer(axis, "axis", name)
    aval = aval_of(x)
    if not aval.shape:
        if aval.dtype.kind not in "iu":
            raise TypeError(f"random.{name}: x must be an integer or have an axis, got {aval.strong}")
        size = static_integer(x, "x", name)
        if size < 0:
            raise ValueError(f"random.{name}: x must not be negative, got {size}")
        normalize_axis_index(axis, 1)
        return sample(_permuted_range, name, key, static=(size,))
    return sample(_permuted_array, name, key, x, static=(normalize_axis_index(axis, aval.ndim), bool(independent)))


def _permuted_range(words: Any, size: int) -> Any:
    return _shuffled(words, fnp.arange(size), 0)


def _permuted_array(words: Any, x: Any, axis: int, independent: bool) -> Any:
    if independent or x.ndim == 1:
        return _shuffled(words, x, axis)
    return fnp.take(x, _permuted_range(words, x.shape[axis]), axis=axis)


def _shuffled(words: Any, x: Any, axis: int) -> Any:
    """Sorted by random numbers, so often that equal ones among these leave no trace."""
    size = prod(x.shape)
    for _ in range(ceil(3 * log(max(1, size)) / log(2**32 - 1))):
        words, drawn = several(words)
        _, x = sort_key_val(random_bits(drawn, 32, x.shape), x, axis)
    return x


@sampler
def choice(
    key: Any,
    a: Any,
    shape: Shape = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str | None = None,
) -> Any:
    """Elements of an array, chosen at random.

    Args:
        key: a key.
        a: an array, which can be differentiated; or an integer, which stands for `np.arange(a)`.
        shape: the shape of what is chosen; it takes the place of the axis.
        replace: whether an element may be chosen more than once.
        p: the probabilities of the elements, one vector; equal if not given. Without replacement at least as many as
            are chosen must not be zero. They need not add up to 1.
        axis: the axis of `a` along which is chosen.
        mode: that of `gumbel`, for choosing without replacement by probabilities.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.random.choice(ft.random.key(0), 5, (3,), replace=False)
    array([0, 1, 4])
    """
    wanted, a, mode = sample_shape(shape, "choice"), number(a, "a", "choice", _ANY), gumbel_mode(mode, "choice")
    aval = aval_of(a)
    if aval.ndim:
        axis = normalize_axis_index(static_integer(axis, "axis", "choice"), aval.ndim)
        size, operands = aval.shape[axis], [a]
    else:
        axis, size, operands = 0, static_integer(a, "a", "choice"), []
    if prod(wanted) and size <= 0:
        raise ValueError(f"random.choice: there is nothing to choose from, a has {size} elements")
    if not replace and prod(wanted) > size:
        raise ValueError(f"random.choice: {prod(wanted)} of {size} elements cannot be chosen with replace=False")
    if p is not None:
        p = number(p, "p", "choice")
        if aval_of(p).shape != (size,):
            raise ValueError(
                f"random.choice: p must have a probability for each of {size} elements, got {aval_of(p).strong}"
            )
        _check_probabilities(p, 0 if replace else prod(wanted))
        operands.append(p)
    static = (bool(operands and aval.ndim), p is not None, wanted, bool(replace), axis, size, mode)
    return sample(_choice, "choice", key, *operands, static=static)


def _check_probabilities(p: Any, draws: int) -> None:
    """Of probabilities that have values: that they are some, and that there are elements to choose for each draw."""
    if not isinstance(p, (np.ndarray, np.generic)):
        return
    if not np.all(np.greater_equal(p, 0) & np.isfinite(p)):
        raise ValueError(f"random.choice: p must have probabilities, which are not negative and finite, got {p!r:.80}")
    possible = np.count_nonzero(p)
    if p.size and possible < max(draws, 1):
        raise ValueError(f"random.choice: {max(draws, 1)} to be chosen, but p is above 0 for {possible} elements only")


def _choice(words: Any, *rest: Any) -> Any:
    *operands, from_array, weighted, shape, replace, axis, size, mode = rest
    array = operands[0] if from_array else None
    draws = prod(shape)
    if weighted:
        places = _weighted(words, operands[-1], shape, replace, mode)
    elif replace:
        low, high = [fnp.full((), n, np.int64) for n in (0, max(size, 1))]
        places = randint_from(words, low, high, shape, np.dtype(np.int64))
    elif array is None:
        places = slice_in_dim(_permuted_range(words, size), 0, draws)
    else:
        chosen = slice_in_dim(_permuted_array(words, array, axis, False), 0, draws, axis=axis)
        return reshape(chosen, (*array.shape[:axis], *shape, *array.shape[axis + 1 :]))
    places = reshape(places, shape)
    return places if array is None else fnp.take(array, places, axis=axis)


def _weighted(words: Any, p: Any, shape: Lengths, replace: bool, mode: str) -> Any:
    p = p if p.dtype.kind == "f" else convert_element_type(p, np.float64)
    p = convert_element_type(p, p.dtype)
    if not replace:
        possible = p > 0
        logits = fnp.where(possible, fnp.log(fnp.where(possible, p, 1)), -np.inf)
        return convert_element_type(top_k(gumbel_from(words, p.shape, p.dtype, mode) + logits, prod(shape))[1], int)
    if not prod(shape):
        return fnp.zeros(shape, int)
    sums = fnp.cumsum(p)
    return convert_element_type(fnp.searchsorted(sums, sums[-1] * (1 - uniform_from(words, shape, p.dtype))), int)


@sampler
def categorical(
    key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True, mode: str | None = None
) -> Any:
    """Categories, by the logarithms of their probabilities (up to a constant): the places of the largest of
    `logits + gumbel`.

    Args:
        key: a key.
        logits: the logarithms, categories along `axis`.
        axis: the axis of the categories.
        shape: the shape of the result, which ends in that of `logits` without the axis; just that if not given.
        replace: False to choose different categories along the axes that `shape` has before.
        mode: that of `gumbel`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.random.categorical(ft.random.key(0), np.log([0.1, 0.9]), shape=(4,))
    array([1, 0, 1, 1])
    """
    logits, mode = number(logits, "logits", "categorical"), gumbel_mode(mode, "categorical")
    aval = aval_of(logits)
    if not aval.ndim:
        raise ValueError("random.categorical: logits must have an axis of categories, got a scalar")
    axis = normalize_axis_index(static_integer(axis, "axis", "categorical"), aval.ndim)
    batch = aval.shape[:axis] + aval.shape[axis + 1 :]
    wanted = batch if shape is None else sample_shape(shape, "categorical")
    tail = wanted[len(wanted) - len(batch) :]
    if len(wanted) < len(batch) or any([n not in (1, m) for n, m in zip(batch, tail, strict=True)]):
        broadcast_shape(wanted, "categorical", **{"logits without their axis": np.broadcast_to(0.0, batch)})
    if not aval.shape[axis] and 0 not in wanted:
        raise ValueError(f"random.categorical: there are no categories along axis {axis} of logits {aval.strong}")
    dtype = aval.dtype if aval.dtype.kind == "f" else np.dtype(np.float64)
    prefix = wanted[: len(wanted) - len(batch)]
    if replace:
        return sample(_categorical, "categorical", key, logits, static=(prefix, tail, axis, dtype, mode))
    if tail != batch:
        raise ValueError(f"random.categorical: shape={wanted} must end in {batch}, where replace=False")
    chosen = prod(prefix)
    if chosen > aval.shape[axis]:
        raise ValueError(f"random.categorical: {chosen} different categories cannot be chosen of {aval.shape[axis]}")
    return sample(_different_categories, "categorical", key, logits, static=(prefix, axis, dtype, mode))


def _categorical(words: Any, logits: Any, prefix: Lengths, tail: Lengths, axis: int, dtype: Any, mode: str) -> Any:
    shape = (*prefix, *tail[:axis], logits.shape[axis], *tail[axis:])
    drawn = gumbel_from(words, shape, dtype, mode)
    return fnp.argmax(drawn + convert_element_type(logits, dtype), axis=len(prefix) + axis)


def _different_categories(words: Any, logits: Any, prefix: Lengths, axis: int, dtype: Any, mode: str) -> Any:
    keys = convert_element_type(logits, dtype) + gumbel_from(words, logits.shape, dtype, mode)
    places = convert_element_type(top_k(moveaxis(keys, axis, keys.ndim - 1), prod(prefix))[1], int)
    first = moveaxis(places, places.ndim - 1, 0)
    return reshape(first, (*prefix, *first.shape[1:]))
