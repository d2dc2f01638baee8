"""Functions that change the shape, or the order of axes and elements."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import dtypes, lax
from functrans.numpy.promotion import broadcast_to as broadcast_operand
from functrans.numpy.promotion import filled, like, strong
from functrans.numpy.registry import axes_of, axis_of, implements, lengths_of, record, reduced_axes, shape_of
from functrans.ops.joining import concatenate as join
from functrans.ops.shape import expand_dims as expand
from functrans.ops.shape import reshape as reshape_array
from functrans.ops.shape import rev
from functrans.ops.shape import squeeze as squeeze_array
from functrans.ops.shape import transpose as permute
from functrans.ops.slicing import slice_in_dim

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "diag",
    "diagflat",
    "diag_indices_from",
    "diagonal",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "permute_dims",
    "ravel",
    "reshape",
    "resize",
    "result_type",
    "roll",
    "rollaxis",
    "rot90",
    "shape",
    "size",
    "squeeze",
    "swapaxes",
    "transpose",
    "tril",
    "tril_indices_from",
    "triu",
    "triu_indices_from",
]

broadcast_shapes = np.broadcast_shapes


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """`numpy.shape`: the lengths of the axes."""
    return lengths_of(a)


@implements(np.ndim)
def ndim(a: Any) -> int:
    """`numpy.ndim`: the number of axes."""
    return len(lengths_of(a))


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """`numpy.size`: the number of elements, or the length of an axis."""
    lengths = lengths_of(a)
    return prod([lengths[d] for d in axes_of(axis, len(lengths))])


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """`numpy.result_type`: the dtype that arrays, dtypes and Python scalars have together."""
    dtype: np.dtype[Any] = dtypes.result_type(*arrays_and_dtypes)
    return dtype


# --------------------------------------------------------------------------------------------------------------------
# Reshaping


def _reshape(x: Any, new_shape: tuple[int, ...]) -> Any:
    return reshape_array(strong(x), new_shape)


def reshape_to(x: Any, new_shape: tuple[int, ...]) -> Any:
    """The composition of `reshape`; one length may be -1."""
    return _reshape(x, completed_shape(x.shape, new_shape))


def _reshape_fortran(x: Any, new_shape: tuple[int, ...]) -> Any:
    backwards = permute(strong(x), range(x.ndim)[::-1])
    return permute(reshape_array(backwards, new_shape[::-1]), range(len(new_shape))[::-1])


def _order_function(order: Any) -> Any:
    if order not in ("C", "F", "A", "K", None):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return _reshape_fortran if order == "F" else _reshape


@implements(np.reshape)
def reshape(a: Any, /, shape: Any, order: Any = "C", *, copy: Any = None) -> Any:
    """`numpy.reshape`: the same elements in another shape; one length may be -1, and is then computed.

    Raises:
        ValueError: if the number of elements differs.
    """
    old, new = lengths_of(a), shape_of(shape)
    return record(_order_function(order), (a,), completed_shape(old, new))


def completed_shape(old: Sequence[int], new: tuple[int, ...]) -> tuple[int, ...]:
    """A new shape with the length -1 computed.

    Raises:
        ValueError: if the number of elements is not that of the old one.
    """
    total = prod(old)
    unknown = [d for d, n in enumerate(new) if n == -1]
    if len(unknown) > 1:
        raise ValueError("can only specify one unknown dimension")
    if unknown:
        rest = prod([n for n in new if n != -1])
        if rest == 0 or total % rest:
            raise ValueError(f"cannot reshape array of size {total} into shape {new}")
        new = tuple([total // rest if n == -1 else n for n in new])
    if prod(new) != total or builtins.any([n < 0 for n in new]):
        raise ValueError(f"cannot reshape array of size {total} into shape {new}")
    return new


@implements(np.ravel)
def ravel(a: Any, order: Any = "C") -> Any:
    """`numpy.ravel`: all elements along one axis."""
    return record(_order_function(order), (a,), (prod(lengths_of(a)),))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """`numpy.resize`: as many elements as the new shape has, repeated from the start where a has fewer."""
    return record(_resize, (a,), shape_of(new_shape))


def _resize(x: Any, new_shape: tuple[int, ...]) -> Any:
    total = prod(new_shape)
    flat = reshape_array(strong(x), (prod(x.shape),))
    if not flat.shape[0]:
        return filled(0, new_shape, x.dtype)
    repeats = -(-total // flat.shape[0])
    return reshape_array(slice_in_dim(join([flat] * builtins.max(repeats, 1), 0), 0, total), new_shape)


# --------------------------------------------------------------------------------------------------------------------
# Axes


def _transpose(x: Any, permutation: tuple[int, ...]) -> Any:
    return permute(strong(x), permutation)


def transposed(a: Any, permutation: tuple[int, ...]) -> Any:
    """Record the axes of a in another order."""
    return record(_transpose, (a,), permutation)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """`numpy.transpose`: the axes in another order, by default reversed."""
    n = len(lengths_of(a))
    if axes is None:
        return transposed(a, tuple(range(n))[::-1])
    axes = tuple([axis_of(d, n) for d in axes])
    if sorted(axes) != list(range(n)):
        raise ValueError("axes don't match array")
    return transposed(a, axes)


permute_dims = transpose


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """`numpy.matrix_transpose`: the last two axes exchanged."""
    n = len(lengths_of(x))
    if n < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {n}")
    return transposed(x, (*range(n - 2), n - 1, n - 2))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    """`numpy.swapaxes`: two axes exchanged."""
    n = len(lengths_of(a))
    axes = list(range(n))
    i, j = axis_of(axis1, n), axis_of(axis2, n)
    axes[i], axes[j] = axes[j], axes[i]
    return transposed(a, tuple(axes))


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """`numpy.moveaxis`: some axes at other places, the others in their order."""
    n = len(lengths_of(a))
    sources = np.lib.array_utils.normalize_axis_tuple(source, n, "source")
    destinations = np.lib.array_utils.normalize_axis_tuple(destination, n, "destination")
    if len(sources) != len(destinations):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [d for d in range(n) if d not in sources]
    for to, d in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, d)
    return transposed(a, tuple(order))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Any:
    """`numpy.rollaxis`: an axis before another."""
    n = len(lengths_of(a))
    axis, start = axis_of(axis, n), index(start)
    start = start + n if start < 0 else start
    if not 0 <= start <= n:
        raise np.exceptions.AxisError(f"'start' arg requires {-n} <= start < {n + 1}, but {start} was passed in")
    axes = [d for d in range(n) if d != axis]
    axes.insert(start - (axis < start), axis)
    return transposed(a, tuple(axes))


def _expand_dims(x: Any, axes: tuple[int, ...]) -> Any:
    return expand(strong(x), axes)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """`numpy.expand_dims`: with new axes of length 1, at these places of the result."""
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    return record(_expand_dims, (a,), axes_of(axis, len(lengths_of(a)) + count))


def _squeeze(x: Any, axes: tuple[int, ...]) -> Any:
    return squeeze_array(strong(x), axes)


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """`numpy.squeeze`: without axes of length 1, all or some."""
    lengths = lengths_of(a)
    axes = reduced_axes(axis, len(lengths))
    if axis is None:
        axes = tuple([d for d in axes if lengths[d] == 1])
    elif builtins.any([lengths[d] != 1 for d in axes]):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return record(_squeeze, (a,), axes)


def _at_least(x: Any, new_shape: tuple[int, ...]) -> Any:
    return reshape_array(strong(x), new_shape)


def _each(arys: Sequence[Any], new_shape: Any) -> Any:
    results = [record(_at_least, (x,), new_shape(tuple(lengths_of(x)))) for x in arys]
    return results[0] if len(results) == 1 else tuple(results)


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """`numpy.atleast_1d`: each with an axis at least."""
    return _each(arys, lambda s: s or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """`numpy.atleast_2d`: each with two axes at least, new ones in front."""
    return _each(arys, lambda s: (1,) * (2 - len(s)) + s)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """`numpy.atleast_3d`: each with three axes at least."""
    return _each(arys, lambda s: s if len(s) > 2 else (1, *s, 1)[-3:] if len(s) == 1 else (*s, 1) if s else (1, 1, 1))


# --------------------------------------------------------------------------------------------------------------------
# Broadcasting


def _broadcast_to(x: Any, new_shape: tuple[int, ...]) -> Any:
    return broadcast_operand(strong(x), new_shape)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    """`numpy.broadcast_to`: the array in a larger shape, its axes aligned with the last ones."""
    return record(_broadcast_to, (array,), shape_of(shape))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any) -> Any:
    """`numpy.broadcast_arrays`: all in their common shape."""
    common = np.broadcast_shapes(*[lengths_of(x) for x in args])
    return tuple([record(_broadcast_to, (x,), common) for x in args])


# --------------------------------------------------------------------------------------------------------------------
# Order of elements


def _flip(x: Any, axes: tuple[int, ...]) -> Any:
    return rev(strong(x), axes)


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """`numpy.flip`: in reverse order along axes, by default all."""
    return record(_flip, (m,), axes_of(axis, len(lengths_of(m))))


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """`numpy.fliplr`: in reverse order along the second axis."""
    if len(lengths_of(m)) < 2:
        raise ValueError("Input must be >= 2-d.")
    return record(_flip, (m,), (1,))


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """`numpy.flipud`: in reverse order along the first axis."""
    if len(lengths_of(m)) < 1:
        raise ValueError("Input must be >= 1-d.")
    return record(_flip, (m,), (0,))


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """`numpy.rot90`: turned k times by 90 degrees, from the first of two axes to the second."""
    n = len(lengths_of(m))
    first, second = (axis_of(d, n) for d in axes)
    if first == second:
        raise ValueError("Axes must be different.")
    return record(_rot90, (m,), index(k) % 4, first, second)


def _rot90(x: Any, turns: int, first: int, second: int) -> Any:
    x = strong(x)
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    if turns == 2:
        return rev(x, (first, second))
    if turns == 1:
        return permute(rev(x, (second,)), order)
    return rev(permute(x, order), (second,)) if turns else x


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """`numpy.roll`: shifted along axes, what leaves at the end comes in at the start. The shifts are static."""
    lengths = tuple(lengths_of(a))
    shifts = np.asarray([index(s) for s in shift] if isinstance(shift, (tuple, list)) else index(shift))
    if axis is None:
        total = prod(lengths)
        return record(_roll_flat, (a,), int(shifts.sum()) % total if total else 0)
    axes = np.lib.array_utils.normalize_axis_tuple(axis, len(lengths), allow_duplicate=True)
    moves = [0] * len(lengths)
    for s, d in np.broadcast(shifts, np.asarray(axes)):
        moves[d] += int(s)
    return record(_roll, (a,), tuple([s % n if n else 0 for s, n in zip(moves, lengths, strict=True)]))


def _roll(x: Any, shifts: tuple[int, ...]) -> Any:
    x = strong(x)
    for d, s in enumerate(shifts):
        if s:
            cut = x.shape[d] - s
            x = join([slice_in_dim(x, cut, None, axis=d), slice_in_dim(x, 0, cut, axis=d)], d)
    return x


def _roll_flat(x: Any, shift: int) -> Any:
    return reshape_array(_roll(reshape_array(strong(x), (prod(x.shape),)), (shift,)), x.shape)


# --------------------------------------------------------------------------------------------------------------------
# Diagonals


def diagonal_of(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    """The diagonal of each matrix on two axes, as a last axis: every (n + 1)-th element of the joined axes."""
    rest = [d for d in range(x.ndim) if d not in (axis1, axis2)]
    x = permute(strong(x), [*rest, axis1, axis2])
    *outer, n, m = x.shape
    length = builtins.max(0, builtins.min(n, m - offset) if offset >= 0 else builtins.min(n + offset, m))
    start = builtins.min(offset if offset >= 0 else -offset * m, n * m)
    limit = start + (length - 1) * (m + 1) + 1 if length else start
    return slice_in_dim(reshape_array(x, (*outer, n * m)), start, limit, m + 1, len(outer))


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """`numpy.diagonal`: the diagonal of the matrices on two axes, as the last axis."""
    return _diagonal(a, offset, axis1, axis2)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """`numpy.linalg.diagonal`: the diagonal of the matrices on the last two axes."""
    return _diagonal(x, offset, -2, -1)


def _diagonal(a: Any, offset: Any, axis1: Any, axis2: Any) -> Any:
    n = len(lengths_of(a))
    if n < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    axis1, axis2 = axis_of(axis1, n), axis_of(axis2, n)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    return record(diagonal_of, (a,), index(offset), axis1, axis2)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """`numpy.diag`: the diagonal of a matrix, or the matrix with a diagonal."""
    n = len(lengths_of(v))
    if n not in (1, 2):
        raise ValueError("Input must be 1- or 2-d.")
    return record(_diag, (v,), index(k)) if n == 1 else _diagonal(v, k, 0, 1)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """`numpy.diagflat`: the matrix with all elements on a diagonal."""
    return record(_diag, (v,), index(k))


def _diag(x: Any, offset: int) -> Any:
    # Behind each element as many zeros as the next one is away, in the matrix row by row.
    x = reshape_array(strong(x), (prod(x.shape),))
    length = x.shape[0]
    n = length + abs(offset)
    if not length:
        return filled(0, (n, n), x.dtype)
    start = offset if offset >= 0 else -offset * n
    used = start + (length - 1) * (n + 1) + 1
    return reshape_array(lax.pad(x, 0, [(start, n * n - used, n)]), (n, n))


def triangle(rows: int, columns: int, offset: int) -> Any:
    """Whether an element of a matrix is at or below a diagonal."""
    i = lax.broadcasted_iota(np.int64, (rows, columns), 0)
    j = lax.broadcasted_iota(np.int64, (rows, columns), 1)
    return lax.ge(lax.add(i, offset), j)


def _triangular(x: Any, offset: int, lower: int) -> Any:
    x = strong(x)
    mask = triangle(x.shape[-2], x.shape[-1], offset if lower else offset - 1)
    mask = broadcast_operand(mask, x.shape)
    zero = like(0, x)
    return lax.select(mask, x, zero) if lower else lax.select(mask, zero, x)


def _checked_triangular(m: Any, k: Any, lower: int) -> Any:
    lengths = lengths_of(m)
    if not lengths:
        raise ValueError("tril and triu need an array of at least one dimension")
    if len(lengths) == 1:
        m = broadcast_to(m, (lengths[0], lengths[0]))
    return record(_triangular, (m,), index(k), lower)


def _matrix_lengths(arr: Any) -> tuple[int, int]:
    lengths = lengths_of(arr)
    if len(lengths) != 2:
        raise ValueError("input array must be 2-d")
    return lengths


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """`numpy.tril_indices_from`: the indices of the elements at and below a diagonal."""
    n, m = _matrix_lengths(arr)
    return np.tril_indices(n, index(k), m)


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """`numpy.triu_indices_from`: the indices of the elements at and above a diagonal."""
    n, m = _matrix_lengths(arr)
    return np.triu_indices(n, index(k), m)


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    """`numpy.diag_indices_from`: the indices of the elements on the main diagonal."""
    lengths = lengths_of(arr)
    if len(lengths) < 2 or len(set(lengths)) != 1:
        raise ValueError("All dimensions of input must be of equal length, and there must be two at least")
    return np.diag_indices(lengths[0], len(lengths))


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """`numpy.tril`: zero above a diagonal."""
    return _checked_triangular(m, k, 1)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """`numpy.triu`: zero below a diagonal."""
    return _checked_triangular(m, k, 0)
