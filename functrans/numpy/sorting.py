"""Functions that sort, or search what is sorted."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import filled, like, same_dtype, strong
from functrans.numpy.registry import axis_of, implements, lengths_of, record
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import broadcast_in_dim, expand_dims, reshape

__all__ = [
    "argpartition",
    "argsort",
    "bincount",
    "digitize",
    "lexsort",
    "partition",
    "searchsorted",
    "sort",
    "sort_complex",
]


def _flat_or_along(function: Callable[..., Any]) -> Callable[..., Any]:
    def along(x: Any, axis: Any) -> Any:
        x = strong(x)
        return function(reshape(x, (prod(x.shape),)), 0) if axis is None else function(x, axis)

    along.__name__ = function.__name__
    return along


def _sort_along(x: Any, axis: int) -> Any:
    return lax.sort(x, axis)


def _argsort_along(x: Any, axis: int) -> Any:
    return lax.argsort(x, axis)


def _first_place(x: Any) -> Any:
    return filled(0, (1,), np.int64)


_SORT, _ARGSORT = _flat_or_along(_sort_along), _flat_or_along(_argsort_along)


def _along(function: Callable[..., Any], a: Any, axis: Any) -> Any:
    return record(function, (a,), None if axis is None else axis_of(axis, len(lengths_of(a))))


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """`numpy.sort`: in rising order along an axis, NaNs last."""
    return _along(_SORT, a, axis)


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """`numpy.argsort`: the indices that sort, equal elements in their order."""
    if not lengths_of(a) and axis in (0, -1):
        return record(_first_place, (a,))
    return _along(_ARGSORT, a, axis)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """`numpy.partition`: inside of a program all is sorted, which is a partition too."""
    return _along(_SORT, a, axis)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    """`numpy.argpartition`: inside of a program the indices that sort, which partition too."""
    return _along(_ARGSORT, a, axis)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """`numpy.sort_complex`: sorted along the last axis, as complex numbers."""
    return record(_sort_complex, (a,))


def _sort_complex(x: Any) -> Any:
    small = x.dtype.kind in "iub" and x.dtype.itemsize <= 2
    dtype = np.dtype(np.complex64) if small else np.result_type(x.dtype, np.complex64)
    return lax.sort(convert_element_type(x, dtype), x.ndim - 1)


@implements(np.lexsort)
def lexsort(keys: Any, axis: Any = -1) -> Any:
    """`numpy.lexsort`: the indices that sort by several keys, the last one first."""
    keys = list(keys)
    return record(_lexsort, keys, axis_of(axis, len(lengths_of(keys[0]))))


def _lexsort(*operands: Any) -> Any:
    *keys, axis = operands
    places = lax.broadcasted_iota(np.int64, keys[0].shape, axis)
    ordered = [strong(key) for key in keys[::-1]]
    return lax.sort([*ordered, places], axis, num_keys=len(ordered))[-1]


# --------------------------------------------------------------------------------------------------------------------
# Searching


def _searchsorted(table: Any, values: Any, right: bool) -> Any:
    """How many of the table are below each value, found by halving the interval."""
    table, values = same_dtype((table, values))
    n = table.shape[0]
    low = filled(0, values.shape, np.int64)
    if not n:
        return low
    high = filled(n, values.shape, np.int64)
    for _ in range(n.bit_length()):
        middle = lax.shift_right_arithmetic(lax.add(low, high), like(1, low))
        inside = lax.min(middle, like(n - 1, middle))
        found = lax.gather(table, expand_dims(inside, (inside.ndim,)), _ELEMENTS, (1,), mode="promise_in_bounds")
        below = lax.bitwise_and(_before(found, values, right), lax.lt(low, high))
        low = lax.select(below, lax.add(middle, like(1, middle)), low)
        high = lax.select(below, high, lax.min(middle, high))
    return low


def _before(found: Any, values: Any, right: bool) -> Any:
    """Whether an element of the table stands before the value; NaNs are last."""
    if found.dtype.kind not in "fc":
        return (lax.le if right else lax.lt)(found, values)
    missing = lax.bitwise_not(lax.is_nan(found)), lax.is_nan(values)
    if right:
        return lax.bitwise_or(lax.le(found, values), missing[1])
    return lax.bitwise_or(lax.lt(found, values), lax.bitwise_and(*missing))


_ELEMENTS = lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,))


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """`numpy.searchsorted`: where values would have to be inserted into a sorted vector."""
    if side not in ("left", "right"):
        raise ValueError(f"search side must be one of 'left' or 'right' (got {side!r})")
    if len(lengths_of(a)) != 1:
        raise ValueError("object too deep for desired array")
    if sorter is not None:
        a = record(_sorted_by, (a, sorter))
    return record(_searchsorted, (a, v), side == "right")


def _sorted_by(x: Any, sorter: Any) -> Any:
    return lax.gather(strong(x), expand_dims(sorter, (1,)), _ELEMENTS, (1,), mode="promise_in_bounds")


def _digitize(x: Any, bins: Any, right: bool) -> Any:
    n = bins.shape[0]
    x, bins = same_dtype((x, bins))
    if n < 2:
        return _searchsorted(bins, x, not right)
    falls = lax.gt(lax.slice_in_dim(bins, 0, 1), lax.slice_in_dim(bins, n - 1, n))
    rising = _searchsorted(bins, x, not right)
    falling = lax.sub(like(n, rising), _searchsorted(lax.rev(bins, (0,)), x, not right))
    return lax.select(broadcast_in_dim(reshape(falls, ()), x.shape, ()), falling, rising)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """`numpy.digitize`: the number of the bin that each value lies in; the edges must rise, or fall."""
    return record(_digitize, (x, bins), bool(right))


def _bincount(x: Any, *rest: Any) -> Any:
    *weights, length = rest
    if weights:
        updates = convert_element_type(weights[0], np.float64)
    else:
        updates = filled(1, x.shape, np.int64)
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    indices = expand_dims(convert_element_type(x, np.int64), (1,))
    return lax.scatter_add(filled(0, (length,), updates.dtype), indices, updates, numbers, mode="drop")


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0, *, length: Any = None) -> Any:
    """`numpy.bincount`: how often each number occurs, or the sum of its weights.

    Args:
        x: natural numbers.
        weights: a weight for each.
        minlength: how long the result is at least.
        length: how long it is, for numbers that are not known; larger ones are left out.
    """
    if len(lengths_of(x)) != 1:
        raise ValueError("object too deep for desired array")
    if length is None:
        known = x.tolist() if hasattr(x, "tolist") else list(x)
        length = max([index(minlength), *[i + 1 for i in known]])
    return record(_bincount, (x, *([] if weights is None else [weights])), index(length))
