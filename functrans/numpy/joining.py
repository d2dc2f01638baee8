"""Functions that put arrays together, take them apart, and repeat them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import broadcast_to, same_dtype, strong
from functrans.numpy.registry import as_operand, axis_of, dtype_of, implements, lengths_of, record, stack_arrays
from functrans.numpy.shapes import atleast_1d, atleast_2d, atleast_3d
from functrans.ops.conversion import convert_element_type
from functrans.ops.joining import split as split_array
from functrans.ops.shape import broadcast_in_dim, expand_dims, reshape, rev, squeeze
from functrans.ops.slicing import slice_in_dim

__all__ = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "pad",
    "repeat",
    "split",
    "stack",
    "tile",
    "unstack",
    "vsplit",
    "vstack",
]

# --------------------------------------------------------------------------------------------------------------------
# Joining


def _concatenate(*operands: Any) -> Any:
    *arrays, axis, dtype = operands
    arrays = same_dtype(arrays, dtype)
    if axis is None:
        return lax.concatenate([reshape(x, (prod(x.shape),)) for x in arrays], 0)
    first = arrays[0]
    for x in arrays:
        if x.ndim != first.ndim or any(
            [n != m for d, (n, m) in enumerate(zip(x.shape, first.shape, strict=True)) if d != axis]
        ):
            raise ValueError(
                f"all the input array dimensions except for the concatenation axis must match exactly, "
                f"got shapes {first.shape} and {x.shape} for axis {axis}"
            )
    return lax.concatenate(arrays, axis)


def _pieces(arrays: Any) -> list[Any]:
    pieces = list(arrays)
    if not pieces:
        raise ValueError("need at least one array to concatenate")
    return pieces


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """`numpy.concatenate`: arrays one after the other along an axis, or flat if it is None."""
    pieces = _pieces(arrays)
    if axis is not None:
        ndim = len(lengths_of(pieces[0]))
        if not ndim:
            raise ValueError("zero-dimensional arrays cannot be concatenated")
        axis = axis_of(axis, ndim)
    return record(_concatenate, pieces, axis, dtype_of(dtype))


concat = concatenate


@implements(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """`numpy.stack`: arrays of one shape along a new axis."""
    pieces = _pieces(arrays)
    stacked = record(stack_arrays, pieces, axis_of(axis, len(lengths_of(pieces[0])) + 1))
    return stacked if dtype is None else record(_converted, (stacked,), np.dtype(dtype))


def _converted(x: Any, dtype: np.dtype[Any]) -> Any:
    return convert_element_type(x, dtype)


def _several(result: Any) -> Sequence[Any]:
    return result if isinstance(result, (tuple, list)) else (result,)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """`numpy.vstack`: arrays below each other; vectors count as rows."""
    return concatenate(_several(atleast_2d(*tup)), 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """`numpy.hstack`: arrays beside each other, along the second axis; vectors one after the other."""
    pieces = _several(atleast_1d(*tup))
    return concatenate(pieces, 0 if len(lengths_of(pieces[0])) == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """`numpy.dstack`: arrays behind each other, along the third axis."""
    return concatenate(_several(atleast_3d(*tup)), 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """`numpy.column_stack`: vectors as the columns of a matrix."""
    return concatenate([record(_column, (x,)) for x in tup], 1)


def _column(x: Any) -> Any:
    return strong(x) if x.ndim > 1 else reshape(strong(x), (prod(x.shape), 1))


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """`numpy.append`: values behind an array, along an axis or flat."""
    return concatenate((as_operand(arr), as_operand(values)), axis)


@implements(np.block)
def block(arrays: Any) -> Any:
    """`numpy.block`: nested lists of blocks as one array, the innermost along the last axis."""
    return block_arrays(arrays)


def block_arrays(arrays: Any) -> Any:
    """Nested lists as one array, innermost along the last axis, and so on outwards."""
    depth = _depth(arrays)
    ndim = max(depth, *[len(lengths_of(x)) for x in _leaves(arrays)])
    return record(_block, tuple(_leaves(arrays)), _structure(arrays), ndim, depth)


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(x) for x in arrays}
    if len(depths) != 1:
        raise ValueError("List depths are mismatched.")
    return 1 + depths.pop()


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for x in arrays for leaf in _leaves(x)] if isinstance(arrays, list) else [arrays]


def _structure(arrays: Any) -> Any:
    return tuple([_structure(x) for x in arrays]) if isinstance(arrays, list) else None


def _block(*operands: Any) -> Any:
    *leaves, structure, ndim, depth = operands
    remaining = iter([reshape(x, (1,) * (ndim - x.ndim) + x.shape) for x in same_dtype(leaves)])

    def build(part: Any, axis: int) -> Any:
        return next(remaining) if part is None else lax.concatenate([build(p, axis + 1) for p in part], axis)

    return build(structure, ndim - depth)


# --------------------------------------------------------------------------------------------------------------------
# Splitting


def _split(x: Any, sizes: tuple[int, ...], axis: int) -> Any:
    return split_array(strong(x), sizes, axis)


def _cuts(n: int, indices_or_sections: Any, exact: bool) -> tuple[int, ...]:
    """The lengths of the pieces of an axis of length n; None where they overlap or leave something out."""
    if isinstance(indices_or_sections, (tuple, list, np.ndarray)) and np.ndim(indices_or_sections):
        places = [slice(index(i)).indices(n)[1] for i in indices_or_sections]
        return tuple([max(0, b - a) for a, b in pairwise([0, *places, n])])
    sections = index(indices_or_sections)
    if sections <= 0:
        raise ValueError("number sections must be larger than 0.")
    each, extra = divmod(n, sections)
    if exact and extra:
        raise ValueError("array split does not result in an equal division")
    return (each + 1,) * extra + (each,) * (sections - extra)


def _split_along(ary: Any, indices_or_sections: Any, axis: Any, exact: bool = True) -> list[Any]:
    lengths = lengths_of(ary)
    axis = axis_of(axis, len(lengths))
    sizes = _cuts(lengths[axis], indices_or_sections, exact)
    if sum(sizes) != lengths[axis]:  # indices that do not rise
        places = [0, *[index(i) for i in indices_or_sections], lengths[axis]]
        return [record(_part, (ary,), *slice(a, b).indices(lengths[axis])[:2], axis) for a, b in pairwise(places)]
    return list(record(_split, (ary,), sizes, axis))


def _part(x: Any, start: int, stop: int, axis: int) -> Any:
    return slice_in_dim(strong(x), start, max(start, stop), axis=axis)


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """`numpy.split`: the pieces of an array along an axis: so many of one length, or cut at indices."""
    return _split_along(ary, indices_or_sections, axis)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """`numpy.array_split`: as `split`, where the first pieces may be longer by one."""
    return _split_along(ary, indices_or_sections, axis, exact=False)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`numpy.hsplit`: split along the second axis, a vector along its only one."""
    ndim = len(lengths_of(ary))
    if not ndim:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return _split_along(ary, indices_or_sections, 1 if ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`numpy.vsplit`: split along the first axis of a matrix."""
    if len(lengths_of(ary)) < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return _split_along(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`numpy.dsplit`: split along the third axis."""
    if len(lengths_of(ary)) < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return _split_along(ary, indices_or_sections, 2)


def _unstack(x: Any, axis: int) -> list[Any]:
    return [squeeze(part, (axis,)) for part in split_array(strong(x), (1,) * x.shape[axis], axis)]


@implements(np.unstack)
def unstack(x: Any, /, *, axis: Any = 0) -> tuple[Any, ...]:
    """`numpy.unstack`: the parts of an array along an axis, without it."""
    lengths = lengths_of(x)
    axis = axis_of(axis, len(lengths))
    return tuple(record(_unstack, (x,), axis)) if lengths[axis] else ()


# --------------------------------------------------------------------------------------------------------------------
# Repeating


def _tile(x: Any, reps: tuple[int, ...]) -> Any:
    x = strong(x)
    n = max(x.ndim, len(reps))
    shape, reps = (1,) * (n - x.ndim) + x.shape, (1,) * (n - len(reps)) + reps
    spread = [length for pair in zip(reps, shape, strict=True) for length in pair]
    out = broadcast_in_dim(reshape(x, shape), spread, range(1, 2 * n, 2))
    return reshape(out, [r * length for r, length in zip(reps, shape, strict=True)])


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """`numpy.tile`: an array repeated along each axis."""
    return record(_tile, (A,), tuple([index(r) for r in reps]) if isinstance(reps, (tuple, list)) else (index(reps),))


def _repeat(x: Any, times: int, axis: int) -> Any:
    spread = [*x.shape[: axis + 1], times, *x.shape[axis + 1 :]]
    out = broadcast_in_dim(strong(x), spread, [d for d in range(x.ndim + 1) if d != axis + 1])
    return reshape(out, [n * times if d == axis else n for d, n in enumerate(x.shape)])


def _flat(x: Any) -> Any:
    return reshape(strong(x), (prod(x.shape),))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None, *, total_repeat_length: Any = None) -> Any:
    """`numpy.repeat`: each element several times, along an axis or of all. The counts must be known."""
    if axis is None or (not lengths_of(a) and axis in (0, -1)):
        a, axis = record(_flat, (a,)), 0
    lengths = lengths_of(a)
    axis = axis_of(axis, len(lengths))
    counts = np.asarray(index(repeats) if np.ndim(repeats) == 0 else repeats)
    if counts.ndim == 0 or counts.size == 1:
        return record(_repeat, (a,), int(counts.reshape(())), axis)
    if counts.shape != (lengths[axis],):
        raise ValueError(f"operands could not be broadcast together with shape ({lengths[axis]},) {counts.shape}")
    return record(_taken, (a, np.repeat(np.arange(lengths[axis]), counts)), axis)


def _taken(x: Any, indices: Any, axis: int) -> Any:
    return take_in_bounds(strong(x), indices, axis)


def take_in_bounds(x: Any, indices: Any, axis: int, mode: str = "promise_in_bounds") -> Any:
    """The parts of an array at indices along an axis; the axes of the indices stand in place of it."""
    sizes = [1 if d == axis else n for d, n in enumerate(x.shape)]
    before = range(axis)
    behind = range(axis + indices.ndim, x.ndim - 1 + indices.ndim)
    numbers = lax.GatherDimensionNumbers((*before, *behind), (axis,), (axis,))
    return lax.gather(x, expand_dims(indices, (indices.ndim,)), numbers, sizes, mode=mode)


def _without(x: Any, kept: Any, axis: int) -> Any:
    return take_in_bounds(strong(x), kept, axis)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """`numpy.delete`: an array without some of its parts along an axis. Which ones must be known."""
    if axis is None:
        arr, axis = record(_flat, (arr,)), 0
    lengths = lengths_of(arr)
    axis = axis_of(axis, len(lengths))
    return record(_without, (arr, np.delete(np.arange(lengths[axis]), obj)), axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """`numpy.insert`: values between the parts of an array along an axis, before one index, which must be known."""
    if axis is None:
        arr, axis = record(_flat, (arr,)), 0
    lengths = lengths_of(arr)
    axis, place = axis_of(axis, len(lengths)), index(obj)
    if not -lengths[axis] <= place <= lengths[axis]:
        raise IndexError(f"index {place} is out of bounds for axis {axis} with size {lengths[axis]}")
    return record(_insert, (arr, values), place % (lengths[axis] + 1) if place >= 0 else place + lengths[axis], axis)


def _insert(x: Any, values: Any, place: int, axis: int) -> Any:
    x, values = strong(x), convert_element_type(values, x.dtype)
    slot = [1 if d == axis else n for d, n in enumerate(x.shape)]
    if values.ndim == x.ndim and values.shape[axis] != 1:
        slot[axis] = values.shape[axis]
    part = broadcast_to(values, tuple(slot))
    return lax.concatenate([slice_in_dim(x, 0, place, axis=axis), part, slice_in_dim(x, place, None, axis=axis)], axis)


# --------------------------------------------------------------------------------------------------------------------
# Padding


def _pad_uniformly(x: Any, value: Any, widths: tuple[tuple[int, int], ...]) -> Any:
    x = strong(x)
    return lax.pad(x, convert_element_type(value, x.dtype), [(low, high, 0) for low, high in widths])


def _pad_constant(x: Any, *rest: Any) -> Any:
    *values, widths = rest
    x = strong(x)
    for d, (low, high) in enumerate(widths):
        for value, config in ((values[2 * d], (low, 0, 0)), (values[2 * d + 1], (0, high, 0))):
            if any(config):
                fill = convert_element_type(value, x.dtype)
                x = lax.pad(x, fill, [config if axis == d else (0, 0, 0) for axis in range(x.ndim)])
    return x


def _pad_mirrored(x: Any, mode: str, widths: tuple[tuple[int, int], ...]) -> Any:
    x = strong(x)
    for d, (low, high) in enumerate(widths):
        if low or high:
            places = np.pad(np.arange(x.shape[d]), (low, high), mode=mode)  # type: ignore[call-overload]
            x = _at_places(x, places, d)
    return x


def _at_places(x: Any, places: np.ndarray[Any, Any], axis: int) -> Any:
    """The parts at places, taken as runs that rise, fall, or stay."""
    parts, start = [], 0
    while start < len(places):
        end = start + 1
        step = 0 if end == len(places) else int(places[end] - places[start])
        if abs(step) <= 1:
            while end < len(places) and places[end] - places[end - 1] == step:
                end += 1
        parts.append(_run(x, int(places[start]), int(places[end - 1]), end - start, axis))
        start = end
    return lax.concatenate(parts, axis)


def _run(x: Any, first: int, last: int, length: int, axis: int) -> Any:
    part = slice_in_dim(x, min(first, last), max(first, last) + 1, axis=axis)
    if first > last:
        return rev(part, (axis,))
    return (
        part
        if first < last or length == 1
        else broadcast_in_dim(part, [length if d == axis else n for d, n in enumerate(x.shape)], range(x.ndim))
    )


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    """`numpy.pad`: more elements around an array: constants, or copies of its own.

    Modes: constant, edge, reflect, symmetric, wrap, empty (zeros). The widths must be known.
    """
    ndim = len(lengths_of(array))
    widths = tuple([(int(low), int(high)) for low, high in np.broadcast_to(np.asarray(pad_width), (ndim, 2))])
    if any([n < 0 for pair in widths for n in pair]):
        raise ValueError("index can't contain negative values")
    if mode in ("constant", "empty"):
        values = kwargs.pop("constant_values", 0)
        _refuse_rest(mode, kwargs)
        if not isinstance(values, (tuple, list)) and getattr(values, "shape", ()) == ():
            return record(_pad_uniformly, (array, values), widths)
        return record(_pad_constant, (array, *_padding_values(values, ndim)), widths)
    if kwargs.pop("reflect_type", "even") != "even" or mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(f"pad: mode {mode!r} (with these options) is not supported inside of a program")
    _refuse_rest(mode, kwargs)
    return record(_pad_mirrored, (array,), mode, widths)


def _refuse_rest(mode: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {set(kwargs)}")


def _padding_values(values: Any, ndim: int) -> list[Any]:
    """The value before and that behind each axis, from a pair, or a pair for each axis."""
    pairs = list(values)
    if not isinstance(pairs[0], (tuple, list, np.ndarray)):
        pairs = [pairs if len(pairs) == 2 else pairs * 2]
    pairs = [list(pair) * 2 if len(pair) == 1 else list(pair) for pair in pairs]
    return [x for pair in (pairs * ndim if len(pairs) == 1 else pairs) for x in pair]
