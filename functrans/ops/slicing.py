"""slice and pad, each the other's transpose."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    def_abstract,
    def_batch,
    def_linear,
    def_specialized_impl,
)
from functrans.ops.comparison import select
from functrans.ops.families import align, matched
from functrans.ops.shape import broadcast_in_dim, moveaxis, reduce_sum, splat, squeeze

__all__ = ["index_in_dim", "pad", "pad_p", "slice", "slice_in_dim", "slice_p"]

Shape = tuple[int, ...]
PaddingConfig = tuple[tuple[int, int, int], ...]

# ------------------------------------------------------------------------------------------------------------
# slice


def slice(
    operand: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> Any:
    """The elements from a start up to a limit along each axis, in steps of a positive stride.

    Raises:
        TypeError: unless `0 <= start <= limit <= length` on each axis.

    >>> import numpy as np
    >>> slice(np.arange(10), (1,), (8,), (3,))
    array([1, 4, 7])
    """
    starts, limits = tuple(start_indices), tuple(limit_indices)
    steps = (1,) * len(starts) if strides is None else tuple(strides)
    if limits == operand.shape and not any(starts) and len(starts) == len(limits) and steps == (1,) * len(starts):
        return operand
    if type(operand) is Literal:
        aval = _slice_abstract(operand.aval, start_indices=starts, limit_indices=limits, strides=steps)
        return splat(operand, aval.shape)
    return slice_p.bind(operand, start_indices=starts, limit_indices=limits, strides=steps)


def slice_in_dim(operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0) -> Any:
    """`slice` along one axis; negative indices count from its end, and None is the end itself.

    >>> import numpy as np
    >>> slice_in_dim(np.arange(5), 1, -1)
    array([1, 2, 3])
    """
    axis = axis + operand.ndim if axis < 0 else axis
    n = operand.shape[axis]
    starts, limits, strides = [0] * operand.ndim, list(operand.shape), [1] * operand.ndim
    starts[axis], limits[axis] = _position(start_index, n, 0), _position(limit_index, n, n)
    strides[axis] = stride
    return slice(operand, starts, limits, strides)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The part of an array at an index along an axis, which is kept with length 1 or dropped.

    Raises:
        IndexError: if the index is out of bounds.

    >>> import numpy as np
    >>> index_in_dim(np.arange(6).reshape(2, 3), -1, axis=1, keepdims=False)
    array([2, 5])
    """
    axis = axis + operand.ndim if axis < 0 else axis
    n = operand.shape[axis]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {n}")
    start = index + n if index < 0 else index
    part = slice_in_dim(operand, start, start + 1, axis=axis)
    return part if keepdims else squeeze(part, (axis,))


def _position(index: int | None, n: int, default: int) -> int:
    if index is None:
        return default
    return index + n if index < 0 else index


def _slice_abstract(operand: Aval, *, start_indices: Shape, limit_indices: Shape, strides: Shape) -> Aval:
    if not len(start_indices) == len(limit_indices) == len(strides) == operand.ndim:
        raise TypeError(
            f"slice: {operand} needs {operand.ndim} start indices, limit indices and strides, got "
            f"{start_indices}, {limit_indices} and {strides}"
        )
    shape = []
    for n, start, limit, stride in zip(operand.shape, start_indices, limit_indices, strides, strict=True):
        if not 0 <= start <= limit <= n or stride < 1:
            raise TypeError(
                f"slice: {operand} has no slice from {start_indices} to {limit_indices} with strides {strides}"
            )
        shape.append((limit - start + stride - 1) // stride)
    return operand.with_shape(tuple(shape))


def _slice_impl(operand: Aval, *, start_indices: Shape, limit_indices: Shape, strides: Shape) -> Callable[..., Any]:
    index = tuple(map(builtins.slice, start_indices, limit_indices, strides))
    return lambda x: x[index]


def _slice_transpose(
    ct: Any, operand: Any, *, start_indices: Shape, limit_indices: Shape, strides: Shape
) -> tuple[Any]:
    config = []
    for n, m, start, stride in zip(operand.shape, ct.shape, start_indices, strides, strict=True):
        end = start + (m - 1) * stride + 1 if m else start
        config.append((start, n - end, stride - 1))
    return (pad(ct, 0, config),)


def _slice_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int],
    *,
    start_indices: Shape,
    limit_indices: Shape,
    strides: Shape,
) -> tuple[Any, int]:
    x = moveaxis(operands[0], axes[0], 0)
    return slice(x, (0, *start_indices), (size, *limit_indices), (1, *strides)), 0


slice_p = Primitive("slice")
slice_p.is_view = True
def_abstract(slice_p, _slice_abstract)
def_specialized_impl(slice_p, _slice_impl)
def_linear(slice_p, _slice_transpose)
def_batch(slice_p, _slice_batch)

# ------------------------------------------------------------------------------------------------------------
# pad


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """The array with a scalar put around and between its elements.

    Args:
        operand: the array.
        padding_value: a scalar of its dtype.
        padding_config: for each axis how many to put before it, behind it, and between each two elements. The
            first two may be negative: so many are then taken away (with what was put in between).

    Raises:
        TypeError: if dtypes differ, or more is taken away than is there.

    >>> import numpy as np
    >>> pad(np.array([1, 2, 3]), 0, [(1, -1, 1)])
    array([0, 1, 0, 2, 0])
    """
    config = tuple([tuple(dim) for dim in padding_config])
    value = padding_value if hasattr(padding_value, "dtype") else Literal(padding_value, Aval((), operand.dtype))
    if len(config) == operand.ndim and not any([any(dim) for dim in config]) and value.dtype == operand.dtype:
        return operand
    return pad_p.bind(operand, value, padding_config=config)


def _pad_abstract(operand: Aval, padding_value: Aval, *, padding_config: PaddingConfig) -> Aval:
    if padding_value.shape or padding_value.dtype != operand.dtype:
        raise TypeError(f"pad: {operand} is padded by a scalar of its dtype, got {padding_value}")
    if len(padding_config) != operand.ndim or any([interior < 0 for _, _, interior in padding_config]):
        raise TypeError(f"pad: {padding_config} does not say (low, high, interior >= 0) for each axis of {operand}")
    shape = tuple(
        [
            low + _dilated(n, interior) + high
            for n, (low, high, interior) in zip(operand.shape, padding_config, strict=True)
        ]
    )
    if any([n < 0 for n in shape]):
        raise TypeError(f"pad: {padding_config} takes away more than {operand} has")
    return Aval(shape, operand.dtype)


def _dilated(n: int, interior: int) -> int:
    return n + max(n - 1, 0) * interior


def _pad_impl(operand: Aval, padding_value: Aval, *, padding_config: PaddingConfig) -> Callable[..., Any]:
    shape = _pad_abstract(operand, padding_value, padding_config=padding_config).shape
    places = [
        _kept(n, m, low, interior + 1)
        for n, m, (low, _, interior) in zip(operand.shape, shape, padding_config, strict=True)
    ]
    source = tuple([kept for kept, _ in places])
    target = tuple([place for _, place in places])
    crops = any([low < 0 or high < 0 for low, high, _ in padding_config])
    dtype = operand.dtype
    zero = dtype.type(0).tobytes()  # compared as bytes: -0.0 is another value

    def run(x: Any, value: Any) -> Any:
        if value.tobytes() == zero:
            out = np.zeros(shape, dtype)
        else:
            out = np.empty(shape, dtype)
            out.fill(value)
        out[target] = x[source] if crops else x
        return out

    return run


def _kept(n: int, m: int, low: int, step: int) -> tuple[builtins.slice, builtins.slice]:
    """Which of the n elements of an axis remain among the m of the padded one, and where they are there."""
    first = max(0, -(low // step))  # the first i with low + i * step >= 0
    last = min(n, (m - 1 - low) // step + 1)  # behind the last i with low + i * step < m
    if last <= first:
        return builtins.slice(0, 0), builtins.slice(0, 0)
    start = low + first * step
    return builtins.slice(first, last), builtins.slice(start, start + (last - first - 1) * step + 1, step)


def _pad_transpose(ct: Any, operand: Any, padding_value: Any, *, padding_config: PaddingConfig) -> tuple[Any, Any]:
    ct_operand = ct_value = None
    if type(operand) is UndefinedPrimal:
        # What was taken away by negative padding gets zero; the rest is where the padding put it.
        restored = pad(ct, 0, [(max(-low, 0), max(-high, 0), 0) for low, high, _ in padding_config])
        starts = [max(low, 0) for low, _, _ in padding_config]
        limits = [n - max(high, 0) for n, (_, high, _) in zip(restored.shape, padding_config, strict=True)]
        ct_operand = slice(restored, starts, limits, [interior + 1 for _, _, interior in padding_config])
    if type(padding_value) is UndefinedPrimal:
        # Selected, instead of subtracting what the operand gets: that would give other bits, and NaN for inf.
        inside = _inside(operand.shape, padding_config)
        ct_value = reduce_sum(select(inside, *matched(0, ct)), range(ct.ndim))
    return ct_operand, ct_value


def _inside(shape: Shape, config: PaddingConfig) -> Any:
    """Where the operand's elements are in the padded array."""
    boolean = np.dtype(bool)
    return pad(Literal(True, Aval(shape, boolean)), Literal(False, Aval((), boolean)), config)


def _pad_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, padding_config: PaddingConfig
) -> tuple[Any, int]:
    value = operands[1]
    x = align(size, operands[:1], axes[:1], 0)[0]
    config = ((0, 0, 0), *padding_config)
    if axes[1] is None:
        return pad(x, value, config), 0
    padded = pad(x, 0, config)
    values = broadcast_in_dim(value, padded.shape, (0,))
    return select(_inside(x.shape, config), padded, values), 0


pad_p = Primitive("pad")
pad_p.places_zeros = among_zeros
def_abstract(pad_p, _pad_abstract)
def_specialized_impl(pad_p, _pad_impl)
def_linear(pad_p, _pad_transpose)
def_batch(pad_p, _pad_batch)
