"""Sums, maxima and minima over windows that slide along the axes: pooling.

A window has a length along each axis, windows begin at each multiple of a stride, and their elements are a dilation
apart. The operand has its padding already. Axes are reduced one by one, and along an axis windows are joined to windows
of twice the length, so the work grows with the logarithm of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_jvp,
    def_linear,
    def_specialized_impl,
)
from functrans.ops.bitwise import bitwise_and, bitwise_not, bitwise_or
from functrans.ops.comparison import gt, is_nan, lt, select
from functrans.ops.families import NUMBER, REAL
from functrans.ops.iota import iota
from functrans.ops.selection import max as maximum
from functrans.ops.selection import min as minimum
from functrans.ops.shape import broadcast_in_dim, moveaxis, reshape
from functrans.ops.slicing import pad, slice_in_dim
from functrans.ops.sorting import taken_along_axis

__all__ = [
    "Windowing",
    "n_windows",
    "reduce_window_max",
    "reduce_window_max_p",
    "reduce_window_min",
    "reduce_window_min_p",
    "reduce_window_sum",
    "reduce_window_sum_p",
    "reduced_windows",
]

Shape = tuple[int, ...]
Windowing = tuple[Shape, Shape, Shape]
"""The lengths of windows along the axes, the strides, the dilations."""

# --------------------------------------------------------------------------------------------------------------------
# Windows along one axis, and along all


def n_windows(n: int, window: int, stride: int, dilation: int) -> int:
    """How many windows there are along an axis of length n."""
    starts = n - (window - 1) * dilation
    return max(0, (starts + stride - 1) // stride)


def reduced_windows(
    join: Callable[[list[Any], list[Any]], list[Any]],
    part: Callable[[Any, int, int, int, int], Any],
    operands: list[Any],
    windowing: Windowing,
    rows_first: bool = True,
) -> list[Any]:
    """Operands reduced over windows, together.

    Args:
        join: from some elements and their right neighbours, of each operand, to what joins them. It is associative.
        part: `part(x, axis, start, stop, stride)`, a slice.
        operands: arrays of one shape.
        windowing: the windows.
        rows_first: whether elements are joined in C order, along the last axis first; else along the first, which is
            faster: what is joined lies together in memory.
    """
    ndim = operands[0].ndim
    for axis in reversed(range(ndim)) if rows_first else range(ndim):
        window, stride, dilation = [dims[axis] for dims in windowing]
        count = n_windows(operands[0].shape[axis], window, stride, dilation)
        operands = _along(join, part, operands, axis, (window, stride, dilation), count)
    return operands


def _along(
    join: Callable[[list[Any], list[Any]], list[Any]],
    part: Callable[[Any, int, int, int, int], Any],
    operands: list[Any],
    axis: int,
    windowing: tuple[int, int, int],
    count: int,
) -> list[Any]:
    window, stride, dilation = windowing
    span = (count - 1) * stride + 1 if count else 0

    def parts(xs: list[Any], start: int, stop: int, step: int = 1) -> list[Any]:
        return [part(x, axis, start, stop, step) for x in xs]

    if window - 1 <= 2 * stride * (window.bit_length() - 1):
        total = parts(operands, 0, span, stride)
        for k in range(1, window):
            total = join(total, parts(operands, k * dilation, k * dilation + span, stride))
        return total
    n = operands[0].shape[axis]
    blocks, size, done, result = operands, 1, 0, None  # block i is of `size` elements from i on
    while count:
        if window & size:
            found = parts(blocks, done * dilation, done * dilation + span, stride)
            result = found if result is None else join(result, found)
            done += size
        if 2 * size > window:
            break
        n -= size * dilation
        blocks = join(parts(blocks, 0, n), parts(blocks, size * dilation, n + size * dilation))
        size *= 2
    return parts(operands, 0, 0) if result is None else result


def _view(x: Any, axis: int, start: int, stop: int, stride: int) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop, stride),)]


def _slice(x: Any, axis: int, start: int, stop: int, stride: int) -> Any:
    return slice_in_dim(x, start, stop, stride, axis)


def _window_reduction(name: str, ufunc: np.ufunc, kinds: str) -> Primitive:
    """A primitive that reduces windows by a ufunc."""

    def abstract(operand: Aval, *, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape) -> Aval:
        if operand.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {operand}")
        windowing = window_dimensions, window_strides, window_dilation
        if any([len(dims) != operand.ndim or any([n < 1 for n in dims]) for dims in windowing]):
            raise TypeError(
                f"{name}: {operand} needs {operand.ndim} window dimensions, strides and dilations, all positive, got "
                f"{window_dimensions}, {window_strides} and {window_dilation}"
            )
        return Aval(tuple(map(n_windows, operand.shape, *windowing)), operand.dtype)

    def implementation(
        operand: Aval, *, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape
    ) -> Callable[..., Any]:
        windowing = window_dimensions, window_strides, window_dilation
        join = lambda xs, ys: [ufunc(xs[0], ys[0])]  # noqa: E731
        untouched = prod(window_dimensions) == 1

        def run(x: Any) -> Any:
            result = reduced_windows(join, _view, [x], windowing, rows_first=False)[0]
            return np.array(result) if untouched else result

        return run

    def batch(
        size: int,
        operands: Sequence[Any],
        axes: Sequence[int],
        *,
        window_dimensions: Shape,
        window_strides: Shape,
        window_dilation: Shape,
    ) -> tuple[Any, int]:
        windowing = [(1, *dims) for dims in (window_dimensions, window_strides, window_dilation)]
        return _bind(primitive, moveaxis(operands[0], axes[0], 0), *windowing), 0

    primitive = Primitive(name)
    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, implementation)
    def_batch(primitive, batch)
    return primitive


def _bind(primitive: Primitive, operand: Any, dimensions: Any, strides: Any, dilation: Any) -> Any:
    ones = (1,) * operand.ndim
    return primitive.bind(
        operand,
        window_dimensions=tuple(dimensions),
        window_strides=ones if strides is None else tuple(strides),
        window_dilation=ones if dilation is None else tuple(dilation),
    )


# --------------------------------------------------------------------------------------------------------------------
# Sums


def reduce_window_sum(
    operand: Any,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """The sum over each window, without padding.

    >>> import numpy as np
    >>> from functrans.ops.window_reductions import reduce_window_sum
    >>> reduce_window_sum(np.array([1, 2, 3, 4]), (2,))
    array([3, 5, 7])
    """
    return _bind(reduce_window_sum_p, operand, window_dimensions, window_strides, window_dilation)


def _sum_transpose(
    ct: Any, operand: Any, *, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape
) -> tuple[Any]:
    if window_dimensions == window_strides and all(
        [k == 1 or d == 1 for k, d in zip(window_dimensions, window_dilation, strict=True)]
    ):
        return (_repeated(ct, window_dimensions, operand.shape),)
    # Element j gets the cotangents of the windows that begin at j, j - dilation, ...: a sum over windows again.
    config = []
    for n, m, window, stride, dilation in zip(
        operand.shape, ct.shape, window_dimensions, window_strides, window_dilation, strict=True
    ):
        span = (m - 1) * stride + 1 if m else 0
        config.append(((window - 1) * dilation, n - span, stride - 1))
    return (reduce_window_sum(pad(ct, 0, config), window_dimensions, None, window_dilation),)


def _repeated(ct: Any, times: Shape, shape: Shape) -> Any:
    """Each element so many times along each axis, and zeros behind up to a shape: windows that follow each other."""
    lengths = [k for pair in zip(ct.shape, times, strict=True) for k in pair]
    repeated = broadcast_in_dim(ct, lengths, range(0, 2 * ct.ndim, 2))
    whole = reshape(repeated, [n * k for n, k in zip(ct.shape, times, strict=True)])
    return pad(whole, 0, [(0, n - m, 0) for n, m in zip(shape, whole.shape, strict=True)])


reduce_window_sum_p = _window_reduction("reduce_window_sum", np.add, NUMBER)
def_linear(reduce_window_sum_p, _sum_transpose)

# --------------------------------------------------------------------------------------------------------------------
# Maxima and minima


def reduce_window_max(
    operand: Any,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """The largest element of each window, without padding; NaN if there is one.

    The derivative goes to the element that is the largest; among equal ones, to the first in C order.

    >>> import numpy as np
    >>> from functrans.ops.window_reductions import reduce_window_max
    >>> reduce_window_max(np.array([1, 4, 3, 2]), (2,), (2,))
    array([4, 3])
    """
    return _bind(reduce_window_max_p, operand, window_dimensions, window_strides, window_dilation)


def reduce_window_min(
    operand: Any,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """The smallest element of each window, without padding; NaN if there is one.

    The derivative goes to the element that is the smallest; among equal ones, to the first in C order.

    >>> import numpy as np
    >>> from functrans.ops.window_reductions import reduce_window_min
    >>> reduce_window_min(np.array([1, 4, 3, 2]), (2,), (2,))
    array([1, 2])
    """
    return _bind(reduce_window_min_p, operand, window_dimensions, window_strides, window_dilation)


def _chooser_jvp(extremum: Callable[[Any, Any], Any], is_better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def better(xs: list[Any], ys: list[Any]) -> list[Any]:
        (x, i), (y, j) = xs, ys
        wins = is_better(y, x)
        if x.dtype.kind == "f":
            wins = bitwise_or(wins, bitwise_and(is_nan(y), bitwise_not(is_nan(x))))
        return [extremum(x, y), select(wins, j, i)]

    def jvp(
        t: Any, out: Any, operand: Any, *, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape
    ) -> Any:
        integer = np.int32 if operand.size <= np.iinfo(np.int32).max else np.int64
        places = reshape(iota(integer, operand.size), operand.shape)
        windowing = window_dimensions, window_strides, window_dilation
        _, winners = reduced_windows(better, _slice, [operand, places], windowing)
        taken = taken_along_axis(reshape(t, (t.size,)), reshape(winners, (winners.size,)), 0)
        return reshape(taken, out.shape)

    return jvp


reduce_window_max_p = _window_reduction("reduce_window_max", np.maximum, REAL + "b")
def_jvp(reduce_window_max_p, _chooser_jvp(maximum, gt))
declare_absent(reduce_window_max_p, "transpose", "not linear")

reduce_window_min_p = _window_reduction("reduce_window_min", np.minimum, REAL + "b")
def_jvp(reduce_window_min_p, _chooser_jvp(minimum, lt))
declare_absent(reduce_window_min_p, "transpose", "not linear")
