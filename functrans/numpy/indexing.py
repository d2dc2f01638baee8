"""Indexing a tracer, by NumPy's rules.

`getitem` turns an index into a key (see `selection.py`) and the arrays in it. The arrays are operands: what they
hold is never part of the program. Numbers and slices are, so `x[0]` and `x[1]` are different programs.

Of the index arrays, those with values (plain arrays) are checked and made positive at once. Those that are traced are
checked when the program runs, and negative ones are counted from the end by the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index as as_index
from typing import Any, NamedTuple, NoReturn

import numpy as np

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.tracer import Tracer, concrete
from functrans.errors import NonConcreteBooleanIndexError, user_location
from functrans.numpy.dispatch import record_call, record_unary
from functrans.numpy.promotion import broadcast_to
from functrans.numpy.registry import as_operand
from functrans.numpy.selection import BATCH, NEW, Integer, Key, Range, Selection

__all__ = [
    "PROMISE",
    "Indices",
    "check_not_empty",
    "count_from_end",
    "getitem",
    "index_columns",
    "indices_of",
    "known_array",
    "select_items",
]

PROMISE = "promise_in_bounds"
_INTP = np.dtype(np.intp)

# --------------------------------------------------------------------------------------------------------------------
# What the user calls


def getitem(x: Any, index: Any) -> Any:
    """`x[index]` for a tracer: all that NumPy takes for an index of an array, with NumPy's result.

    Args:
        x: a tracer (or an array, if there is a tracer in the index).
        index: ints, slices, Ellipsis, None, integer arrays, boolean arrays, or a tuple of them. Traced integers are
            fine, also unknown ones; traced booleans must have a value, since the shape of the result depends on it.

    Raises:
        IndexError: as NumPy does; for traced indices when the program runs.
        NonConcreteBooleanIndexError: for a boolean tracer without a value.
    """
    kind = type(index)
    if kind is int:
        return record_unary(_part, x, (index,)) if type(x) is Tracer else record_call(_part, (x,), (index,))
    key: Key | None = None
    if kind is tuple:
        key = _plain_key(index)
    elif kind is slice:
        key = _plain_key((index,))
    if key is not None:
        return record_unary(_part, x, key) if type(x) is Tracer else record_call(_part, (x,), key)
    if kind is Tracer and index.dtype.kind in "iu":
        return record_call(_items, (x, index), ((("array", index.shape),), (False,), PROMISE, None))
    return select_items(x, indices_of(index, x.shape))


def _plain_key(items: tuple[Any, ...]) -> Key | None:
    """The key of an index of ints, slices of ints, None and Ellipsis; else None. This is the way of most indices."""
    key: list[Any] = []
    for item in items:
        kind = type(item)
        if kind is int or item is None or item is Ellipsis:
            key.append(item)
        elif kind is slice:
            start, stop, step = item.start, item.stop, item.step
            for bound in (start, stop, step):
                if bound is not None and type(bound) is not int:
                    return None
            key.append((start, stop, step))
        else:
            return None
    return tuple(key)


# --------------------------------------------------------------------------------------------------------------------
# From an index to a key and arrays


class Indices(NamedTuple):
    """An index, taken apart for an array of a given shape.

    Attributes:
        key: see `selection.py`.
        arrays: the index arrays, in order. If `counted` is None they are put together: it is one array of vectors.
        counted: for each whether its elements are known to be counted from the front, and inside.
    """

    key: Key
    arrays: tuple[Any, ...]
    counted: tuple[bool, ...] | None


def indices_of(index: Any, shape: tuple[int, ...], checked: bool = True) -> Indices:
    """Take an index apart.

    Args:
        index: whatever is between the brackets.
        shape: that of the array which it is for.
        checked: whether the values of index arrays must be inside.

    Raises:
        IndexError, NonConcreteBooleanIndexError: see `getitem`.
    """
    arrays: list[Any] = []
    items = index if isinstance(index, tuple) else (index,)
    plain = _plain_key(items)
    if plain is not None:
        return Indices(plain, (), ())
    key = tuple([_item(item, arrays) for item in items])
    selection = Selection.of(shape, key)
    kinds = [item[0] for item in key if type(item) is tuple and item[0] in ("array", "mask")]
    counted = []
    for i, (kind, axis) in enumerate(zip(kinds, selection.array_axes, strict=True)):
        n, original = selection.merged[axis], selection.original[axis]
        if checked and kind == "array" and type(arrays[i]) is not Tracer:
            arrays[i] = _inside(arrays[i], n, original, shape)
        counted.append(kind == "mask" or (checked and type(arrays[i]) is not Tracer))
    if len(arrays) > 1 and all(counted):
        return Indices(key, (_stacked(arrays, selection.batch),), None)
    return Indices(key, tuple(arrays), tuple(counted))


_INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid "
    "indices"
)
_NOT_INTEGER = "arrays used as indices must be of integer (or boolean) type"


def _item(item: Any, arrays: list[Any]) -> Any:
    """One item of the key. If it is an array, that is put at the end of `arrays`."""
    kind = type(item)
    if kind is int or item is None or item is Ellipsis:
        return item
    if kind is slice:
        return tuple([bound if bound is None else _bound(bound) for bound in (item.start, item.stop, item.step)])
    if kind is bool or kind is np.bool_:
        return "bool", bool(item)
    if kind is Tracer or isinstance(item, np.ndarray):
        return _array_item(item, arrays)
    if isinstance(item, (list, tuple, range)):
        return _sequence_item(item, arrays)
    try:
        return as_index(item)
    except TypeError:
        pass
    if not hasattr(item, "__array__") or isinstance(item, np.generic):
        raise IndexError(f"{_INVALID}, not {item!r:.40}")
    return _array_item(np.asarray(item), arrays)


def _bound(bound: Any) -> int:
    if type(bound) is not Tracer and not hasattr(bound, "__index__"):
        raise TypeError(f"slice indices must be integers or None or have an __index__ method, not {bound!r:.40}")
    return as_index(bound)


def _sequence_item(item: Sequence[Any], arrays: list[Any]) -> Any:
    array = as_operand(item)
    if type(array) is not Tracer:
        array = np.asarray(array)
        if array.size == 0:
            array = array.astype(_INTP)
    if array.dtype.kind not in "biu":
        raise IndexError(f"{_INVALID}, not {item!r:.40}")
    return _array_item(array, arrays)


def _array_item(array: Any, arrays: list[Any]) -> Any:
    if array.dtype.kind == "b":
        mask = known_array(array, "a boolean index")
        if not mask.ndim:
            return "bool", bool(mask)
        positions = np.flatnonzero(mask)
        arrays.append(positions)
        return "mask", mask.shape, len(positions)
    if array.dtype.kind not in "iu":
        raise IndexError(f"{_NOT_INTEGER}, not {array.dtype.name}")
    arrays.append(array if type(array) is Tracer else np.asarray(array))
    return "array", array.shape


def known_array(x: Any, what: str) -> np.ndarray[Any, Any]:
    """The value of an array or tracer on which the shape of a result depends.

    Raises:
        NonConcreteBooleanIndexError: if it has none yet.
    """
    if type(x) is not Tracer:
        return np.asarray(x)
    if not x.recording.closed:
        unknown = x.recording.unknown_input(x.atom)
        if unknown is not None:
            _raise_unknown(x, what, unknown)
    return np.asarray(concrete(x))


def _raise_unknown(x: Tracer, what: str, unknown: str) -> NoReturn:
    raise NonConcreteBooleanIndexError(
        f"the shape of a result at {user_location()} depends on the values of {what}, a tracer {x.aval}; it depends on "
        f"{unknown}, which has no value while the program is recorded. Keep the shape: functrans.numpy.where(mask, x, "
        "0) instead of x[mask], functrans.numpy.at(x)[mask].set(0) for an update; or leave jit away: under grad "
        "alone the values are known."
    )


def _inside(array: Any, n: int, axis: int, shape: tuple[int, ...]) -> Any:
    """Concrete indices, counted from the front.

    Raises:
        IndexError: if one is out of bounds.
    """
    if array.dtype == _INTP and (
        not array.size or np.maximum.reduce(array.view(np.uintp), None) < n
    ):  # negative ones are huge
        return array
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < -n or high >= n:
            raise IndexError(
                f"index {low if low < -n else high} is out of bounds for axis {axis} with size {n} "
                f"(the indexed array has shape {shape})"
            )
    array = array.astype(_INTP, copy=False)
    return np.where(array < 0, array + n, array)


def _stacked(arrays: Sequence[Any], batch: tuple[int, ...] | None) -> Any:
    """Concrete index arrays as one array of index vectors."""
    vectors = np.empty((*(batch or ()), len(arrays)), _INTP)
    for i, array in enumerate(arrays):
        vectors[..., i] = array
    return vectors


# --------------------------------------------------------------------------------------------------------------------
# The programs


def select_items(x: Any, indices: Indices, mode: str = PROMISE, fill_value: Any = None) -> Any:
    """Record what an index selects.

    Args:
        x: the array.
        indices: the index.
        mode: what happens to indices that are outside, see `functrans.lax.GatherScatterMode`.
        fill_value: what takes the place of what is outside, as the bytes of an element.
    """
    if not indices.arrays and mode == PROMISE:
        return record_call(_part_of_key, (x,), (indices.key,))
    return record_call(_items, (x, *indices.arrays), (indices.key, indices.counted, mode, fill_value))


def _part(x: Any, *key: Any) -> Any:
    """What an index without arrays selects."""
    return _part_of_key(x, key)


def _part_of_key(x: Any, key: Key) -> Any:
    selection = Selection.of(x.shape, key)
    return _with_new_axes(_only_batch(_cut(x, selection), selection), selection)


def _items(x: Any, *operands: Any) -> Any:
    """What an index with arrays selects."""
    *arrays, key, counted, mode, fill_value = operands
    selection = Selection.of(x.shape, key)
    fill = None if fill_value is None else np.frombuffer(fill_value, x.dtype)[0]
    if mode != "fill":
        check_not_empty(selection)
    if prod(selection.shape) == 0:
        return Literal(0, Aval(selection.shape, x.dtype))
    if any([selection.merged[d] == 0 for d in selection.array_axes]):  # so mode is "fill"
        return Literal(fill, Aval(selection.shape, x.dtype))
    cut = _cut(x, selection)
    if not selection.array_axes:
        return _with_new_axes(_only_batch(cut, selection), selection)
    kept = [d for d, entry in enumerate(selection.axes) if type(entry) is not Integer]
    indexed = tuple([kept.index(d) for d in selection.array_axes])
    vectors = index_vectors(arrays, counted, [cut.shape[d] for d in indexed], selection.batch or ())
    numbers = lax.GatherDimensionNumbers(_offset_dims(selection), tuple(sorted(indexed)), indexed)
    sizes = tuple([1 if d in indexed else n for d, n in enumerate(cut.shape)])
    taken = lax.gather(cut, vectors, numbers, sizes, mode=mode, fill_value=fill, unique_indices=selection.distinct)
    return _with_new_axes(taken, selection)


def check_not_empty(selection: Selection) -> None:
    """Raise `IndexError` if there is an index for an axis without elements."""
    for d in selection.array_axes:
        if selection.merged[d] == 0 and prod(selection.batch or ()) > 0:
            raise IndexError(f"index is out of bounds for axis {selection.original[d]} with size 0")


def _cut(x: Any, selection: Selection) -> Any:
    """The ranges and numbers of the index applied; axes that are indexed by arrays are left whole."""
    x = lax.reshape(x, selection.merged)
    starts, limits, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    reversed_axes, dropped = [], []
    for d, entry in enumerate(selection.axes):
        if type(entry) is Integer:
            starts[d], limits[d] = entry.start, entry.start + 1
            dropped.append(d)
        elif type(entry) is Range:
            starts[d] = entry.lowest
            limits[d] = entry.lowest + (entry.length - 1) * abs(entry.step) + 1 if entry.length else entry.lowest
            steps[d] = abs(entry.step)
            if entry.step < 0:
                reversed_axes.append(d)
    return lax.squeeze(lax.rev(lax.slice(x, starts, limits, steps), reversed_axes), dropped)


def _offset_dims(selection: Selection) -> tuple[int, ...]:
    """Where the axes that no array indexes are in the result without its new axes."""
    dims, position = [], 0
    for part in selection.layout:
        if part == BATCH:
            position += len(selection.batch or ())
        elif part != NEW:
            dims.append(position)
            position += 1
    return tuple(dims)


def _only_batch(x: Any, selection: Selection) -> Any:
    """The array with the axes that come from indices True and False alone."""
    if selection.batch is None:
        return x
    dims = _offset_dims(selection)
    lengths, batch = iter(x.shape), iter(selection.batch)
    shape = [next(lengths) if d in dims else next(batch) for d in range(len(dims) + len(selection.batch))]
    return lax.broadcast_in_dim(x, shape, dims)


def _with_new_axes(x: Any, selection: Selection) -> Any:
    return lax.expand_dims(x, selection.new_axes)


def index_vectors(
    arrays: Sequence[Any], counted: Sequence[bool] | None, lengths: Sequence[int], batch: tuple[int, ...]
) -> Any:
    """The index vectors for a gather, along a new last axis, of index arrays for axes of these lengths."""
    if counted is None:
        return arrays[0]
    columns = [broadcast_to(column, batch) for column in index_columns(arrays, counted, lengths)]
    return lax.concatenate([lax.expand_dims(column, (len(batch),)) for column in columns], len(batch))


def index_columns(arrays: Sequence[Any], counted: Sequence[bool] | None, lengths: Sequence[int]) -> list[Any]:
    """The components of the index vectors, each in the shape of its array, counted from the front."""
    if counted is None:
        last = arrays[0].ndim - 1
        return [lax.index_in_dim(arrays[0], i, last, keepdims=False) for i in range(len(lengths))]
    columns = []
    for array, is_counted, n in zip(arrays, counted, lengths, strict=True):
        column = lax.convert_element_type(array, _INTP)
        columns.append(column if is_counted or array.dtype.kind == "u" else count_from_end(column, n))
    return columns


def count_from_end(indices: Any, n: int) -> Any:
    """Indices along an axis of length n, the negative ones counted from its end."""
    # n times the sign, by its bits: a selection takes twice as long.
    last_bit = 8 * indices.dtype.itemsize - 1
    shift, length = (Literal(value, Aval(indices.shape, indices.dtype)) for value in (last_bit, n))
    return lax.add(indices, lax.bitwise_and(lax.shift_right_arithmetic(indices, shift), length))
