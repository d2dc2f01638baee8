"""Pooling: the largest, smallest or mean element of windows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans import lax
from functrans.nn.composing import call, floating, public, real, shape_of, with_jvp
from functrans.numpy.promotion import filled, like, strong
from functrans.ops.convolving import padtype_to_pads
from functrans.ops.window_reductions import reduce_window_max, reduce_window_min, reduce_window_sum

__all__ = ["avg_pool", "max_pool", "min_pool"]

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Reducer = Callable[..., Any]
Compare = Callable[[Any, Any], Any]
Window = tuple[Shape, Shape, Pads]
"""Lengths, strides and padding, for each axis."""


def window_of(
    name: str, shape: Shape, window_shape: Any, strides: Any, padding: Any, outside: Sequence[int] | None = None
) -> Window:
    """The window for each axis of an array of a shape, after it was checked.

    Args:
        name: the function, for messages.
        shape: that of the array.
        window_shape: the lengths along the spatial axes, one or each.
        strides: the strides along them; 1 if not given.
        padding: a name, or a pair of numbers for each of them.
        outside: the axes that are not spatial: by default the first and the last.
    """
    rest = {0, len(shape) - 1} if outside is None else set(outside)
    spatial = [d for d in range(len(shape)) if d not in rest]
    n = len(spatial)
    if not n:
        raise ValueError(f"{name} needs an array with a batch axis, a feature axis and spatial axes, got shape {shape}")
    lengths = _numbers(name, "window_shape", window_shape, n, shape)
    steps = _numbers(name, "strides", 1 if strides is None else strides, n, shape)
    pads = _pads(name, padding, [shape[d] for d in spatial], lengths, steps)
    whole: list[list[Any]] = [[1] * len(shape), [1] * len(shape), [(0, 0)] * len(shape)]
    for values, of_spatial in zip(whole, (lengths, steps, pads), strict=True):
        for d, value in zip(spatial, of_spatial, strict=True):
            values[d] = value
    return tuple(whole[0]), tuple(whole[1]), tuple(whole[2])


def _pads(name: str, padding: Any, places: Sequence[int], lengths: Shape, steps: Shape) -> Pads:
    if isinstance(padding, str):
        return tuple(padtype_to_pads(places, lengths, steps, padding))
    try:
        pads = tuple([(operator.index(low), operator.index(high)) for low, high in padding])
    except (TypeError, ValueError):
        pads = ()
    if len(pads) != len(places) or any([min(pair) < 0 for pair in pads]):
        raise ValueError(
            f"{name}: padding must be a name or two numbers, not negative, for each of the {len(places)} spatial axes, "
            f"got {padding!r}"
        )
    return pads


def _numbers(name: str, what: str, given: Any, n: int, shape: Shape) -> Shape:
    try:
        numbers = tuple([operator.index(k) for k in (given if isinstance(given, Sequence) else (given,) * n)])
    except TypeError:
        numbers = ()
    if len(numbers) != n or any([k < 1 for k in numbers]):
        raise ValueError(
            f"{name}: {what} must be a positive int for each of the {n} spatial axes of an array of shape {shape}, "
            f"got {given!r}"
        )
    return numbers


def _padded(x: Any, value: Any, pads: Pads) -> Any:
    return lax.pad(x, x.dtype.type(value), [(*pair, 0) for pair in pads]) if any([any(p) for p in pads]) else x


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


def _extremum(reduce: Reducer, is_worse: Compare, x: Any, lengths: Shape, strides: Shape) -> Any:
    if lengths != strides or not x.aval.inexact:
        return reduce(x, lengths, strides)
    return with_jvp(_of_tiles, _of_tiles_jvp, reduce, is_worse, lengths)(x)


def _of_tiles(x: Any, reduce: Reducer, is_worse: Compare, lengths: Shape) -> Any:
    return reduce(x, lengths, lengths)


def _of_tiles_jvp(primals: Any, tangents: Any, reduce: Reducer, is_worse: Compare, lengths: Shape) -> Any:
    """Windows that do not overlap are axes of a reshaped array, in which the chosen elements can be told by a mask."""
    (x,), (t,) = primals, tangents
    out = with_jvp(_of_tiles, _of_tiles_jvp, reduce, is_worse, lengths)(x)
    limits = [n * k for n, k in zip(out.shape, lengths, strict=True)]
    chosen: dict[Shape, Any] = {}
    free: Any = None
    for place in np.ndindex(*lengths):
        part = lax.slice(x, place, [n - k + 1 + at for n, k, at in zip(limits, lengths, place, strict=True)], lengths)
        best = lax.bitwise_not(is_worse(part, out))
        chosen[place] = best if free is None else lax.bitwise_and(best, free)
        unchosen = lax.bitwise_not(best)
        free = unchosen if free is None else lax.bitwise_and(free, unchosen)
    shape = [n for pair in zip(out.shape, lengths, strict=True) for n in pair]
    tiles = lax.reshape(lax.slice(t, (0,) * t.ndim, limits), shape)
    taken = lax.select(_interleaved(chosen, (), lengths), tiles, like(0, tiles))
    return lax.reduce_sum(taken, range(1, len(shape), 2))


def _interleaved(parts: dict[Shape, Any], place: Shape, lengths: Shape) -> Any:
    """The parts of windows as one array, in which each axis is followed by that of the window's places along it."""
    axis = len(place)
    if axis == len(lengths):
        return parts[place]
    along = [_interleaved(parts, (*place, k), lengths) for k in range(lengths[axis])]
    along = [lax.expand_dims(x, (axis + 1,)) for x in along]
    return along[0] if len(along) == 1 else lax.concatenate(along, axis + 1)


def largest(x: Any, lengths: Shape, strides: Shape, pads: Pads) -> Any:
    """`max_pool`, inside of a composition."""
    real("max_pool", x)
    return _extremum(reduce_window_max, lax.lt, _padded(strong(x), _lowest(x.dtype), pads), lengths, strides)


@public
def max_pool(inputs: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID") -> Any:
    """The largest element of each window.

    Args:
        inputs: an array whose first axis is the batch and whose last are the features; the others are spatial.
        window_shape: the length of a window along each spatial axis, or one int for all.
        strides: how far apart windows begin, likewise; 1 if not given.
        padding: "VALID" for none, "SAME" for as much as gives ceil(length / stride) windows, or two numbers for each
            spatial axis. Padding is never the largest.

    Returns:
        An array of the same dtype. The derivative goes to the largest element; among equal ones to the first.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.max_pool(np.arange(16.0).reshape(1, 4, 4, 1), (2, 2), (2, 2))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return call(largest, (inputs,), *window_of("max_pool", shape_of(inputs), window_shape, strides, padding))


def _min_pool(x: Any, lengths: Shape, strides: Shape, pads: Pads) -> Any:
    real("min_pool", x)
    return _extremum(reduce_window_min, lax.gt, _padded(strong(x), _highest(x.dtype), pads), lengths, strides)


@public
def min_pool(inputs: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID") -> Any:
    """The smallest element of each window; see `max_pool`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.min_pool(np.arange(6.0).reshape(1, 6, 1), 2, 2)[0, :, 0]
    array([0., 2., 4.])
    """
    return call(_min_pool, (inputs,), *window_of("min_pool", shape_of(inputs), window_shape, strides, padding))


def sum_pool(x: Any, lengths: Shape, strides: Shape, pads: Pads) -> Any:
    """The sum of each window, inside of a composition."""
    return reduce_window_sum(_padded(x, 0, pads), lengths, strides)


def _avg_pool(x: Any, lengths: Shape, strides: Shape, pads: Pads, count_include_pad: bool) -> Any:
    x = floating("avg_pool", x)
    total = sum_pool(x, lengths, strides, pads)
    if count_include_pad or not any([any(pair) for pair in pads]):
        return lax.mul(total, like(1 / prod(lengths), total))
    # How many elements a window has: the product of how many it has along each axis.
    for axis, (n, length, step, pair) in enumerate(zip(x.shape, lengths, strides, pads, strict=True)):
        starts = np.arange(total.shape[axis]) * step - pair[0]
        counts = np.minimum(starts + length, n) - np.maximum(starts, 0)
        if np.any(counts != counts[:1]):
            total = lax.div(total, _along(counts, total, axis))
        elif counts.size:
            total = lax.mul(total, like(1 / int(counts[0]), total))
    return total


def mean_of_elements(x: Any, lengths: Shape, strides: Shape, pads: Pads) -> Any:
    """`avg_pool` in which padding does not count, inside of a composition."""
    return _avg_pool(x, lengths, strides, pads, False)


def _along(counts: Any, total: Any, axis: int) -> Any:
    """Counts along one axis, as a program computes them: they rise, stay, and fall."""
    parts = [lax.broadcast_in_dim(filled(n, (), total.dtype), (1,), ()) for n in counts.tolist()]
    return lax.broadcast_in_dim(lax.concatenate(parts, 0), total.shape, (axis,))


@public
def avg_pool(
    inputs: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID", count_include_pad: bool = True
) -> Any:
    """The mean of each window.

    Args:
        inputs, window_shape, strides, padding: see `max_pool`.
        count_include_pad: whether padding counts, as zeros; else only the elements do.

    >>> import numpy as np
    >>> import functrans as ft
    >>> x = np.array([1.0, 3.0, 5.0]).reshape(1, 3, 1)
    >>> ft.nn.avg_pool(x, 2, padding="SAME")[0, :, 0]
    array([2. , 4. , 2.5])
    >>> ft.nn.avg_pool(x, 2, padding="SAME", count_include_pad=False)[0, :, 0]
    array([2., 4., 5.])
    """
    window = window_of("avg_pool", shape_of(inputs), window_shape, strides, padding)
    return call(_avg_pool, (inputs,), *window, bool(count_include_pad))
