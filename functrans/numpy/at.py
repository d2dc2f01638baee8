"""Updates of parts of an array that make a new one: `at(x)[index].set(values)` in place of `x[index] = values`.

The array is never written to. An update is a scatter whose windows are the slices of the index; what is indexed by
arrays, or in steps, is put together into index vectors. Where an index may name an element twice, all of its updates
count, and the derivative takes account of all. A mask needs no values where the update fits everywhere: it selects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans import lax
from functrans.core.aval import Aval, aval_of
from functrans.core.jaxpr import Literal
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.numpy.dispatch import record_call
from functrans.numpy.indexing import PROMISE, Indices, check_not_empty, getitem, index_columns, indices_of
from functrans.numpy.promotion import broadcast_to
from functrans.numpy.registry import as_operand, has_tracer
from functrans.numpy.selection import BATCH, NEW, Selection
from functrans.numpy.taking import taken_or_filled
from functrans.ops.windows import gathering, window_sizes

__all__ = ["At", "IndexUpdate", "at"]

_INTP = np.dtype(np.intp)
_MODES = {None: PROMISE, PROMISE: PROMISE, "clip": "clip", "drop": "drop", "fill": "drop"}

# --------------------------------------------------------------------------------------------------------------------
# What the user calls


def at(x: Any) -> At:
    """Parts of an array, to be read or updated: `at(x)[index].set(values)` gives the array with `x[index] = values`.

    `x.at[index]` is the same for a tracer. The array is not written to. Indices are NumPy's, see `IndexUpdate`.

    >>> import functrans as ft
    >>> at(np.zeros(3))[1].set(2.0)
    array([0., 2., 0.])
    >>> ft.grad(lambda x: at(x)[[0, 0, 2]].add(x).sum())(np.ones(3))
    array([2., 2., 2.])
    """
    return At(x if type(x) is Tracer or isinstance(x, np.ndarray) else _array(as_operand(x)))


class At:
    """What `at(x)` and `x.at` give; index it."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> IndexUpdate:
        return IndexUpdate(self.array, index)

    def __repr__(self) -> str:
        return f"at({self.array!r})"


class IndexUpdate:
    """A part of an array, `x.at[index]`. Each method gives a new array, but `get`, which gives the part.

    Values are broadcast to the shape of `x[index]`; the result has the dtype of `x`. All methods take

    - `mode`: what happens to indices that are outside. None, or "promise_in_bounds": `IndexError`, which traced indices
      raise when the program runs. "drop" (or "fill"): they are left away. "clip": they are moved inside.
    - `unique_indices`: a promise that no element is named twice, which can be faster.
    - `indices_are_sorted`: for JAX's signature.

    They raise

    - `IndexError` for an index that NumPy does not take, too;
    - `ValueError` if the values do not fit the shape of the part;
    - `TypeError` if they cannot be converted to the array's dtype ("same_kind", Python's scalars only by kind);
    - `NonConcreteBooleanIndexError` for a mask without values, if the update depends on how many elements it selects.
      An update that fits everywhere, such as a number, works with any mask.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"at({self.array!r})[{self.index!r}]"

    def get(
        self,
        *,
        fill_value: Any = None,
        mode: str | None = None,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
    ) -> Any:
        """`x[index]`. With `fill_value`, or mode "fill", that stands for what is outside (by default NaN, or the least
        integer); with mode "clip" indices are moved inside.

        >>> at(np.array([1.0, 2.0]))[[1, 5]].get(fill_value=0.0)
        array([2., 0.])
        """
        mode = "drop" if mode is None and fill_value is not None else _mode(mode)
        if mode != PROMISE:
            return taken_or_filled(self.array, _dynamic(self.index), "fill" if mode == "drop" else mode, fill_value)
        if not _is_recorded((self.array, self.index)):
            return np.array(self.array[self.index])[()]
        return getitem(self.array, self.index)

    def set(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] = values`. Of several values for one element the last stays."""
        return _update("set", self, values, unique_indices, mode)

    def add(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] += values`, all of them for an element that is named more than once."""
        return _update("add", self, values, unique_indices, mode)

    def subtract(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] -= values`, all of them for an element that is named more than once."""
        return _update("subtract", self, values, unique_indices, mode)

    def multiply(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] *= values`, by all of them for an element that is named more than once."""
        return _update("multiply", self, values, unique_indices, mode)

    mul = multiply

    def divide(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] /= values`, by their product for an element that is named more than once."""
        return _update("divide", self, values, unique_indices, mode)

    def power(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with `x[index] **= values`, to their product for an element that is named more than once."""
        return _update("power", self, values, unique_indices, mode)

    def min(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with the least of element and values; those that are equally small share the derivative."""
        return _update("min", self, values, unique_indices, mode)

    def max(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | None = None
    ) -> Any:
        """The array with the greatest of element and values; those that are equally large share the derivative."""
        return _update("max", self, values, unique_indices, mode)

    def apply(
        self,
        function: Callable[[Any], Any],
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Any:
        """The array with `x[index] = function(x[index])`, where the function works element by element.

        It is applied once to each element, even to those that are named more than once (JAX applies it repeatedly);
        with a mask that has no values yet to all elements, of which those are taken that the mask selects.
        """
        x, mask = self.array, _whole_mask(self.index, self.array.shape)
        if type(mask) is Tracer and mask.recording.unknown_input(mask.atom) is not None:
            values = _checked(function(x), x, "apply")
            return record_call(_chosen, (x, mask, values))
        loose = _mode(mode) != PROMISE
        part = self.get(mode="clip" if loose else None)
        return self.set(function(part), mode=mode, unique_indices=unique_indices)


# --------------------------------------------------------------------------------------------------------------------
# From the arguments to a program


def _update(op: str, place: IndexUpdate, values: Any, unique: bool, mode: str | None) -> Any:
    x, index = place.array, place.index
    mode = _mode(mode)
    if op == "divide" and x.dtype.kind not in "fc":
        raise TypeError(f"divide: the quotients are no {x.dtype.name}, which the array {aval_of(x)} holds")
    values = _checked(as_operand(values), x, op)
    if mode != PROMISE:
        index = _dynamic(index)
    elif not _is_recorded((x, values, index)):
        return _with_numpy(op, x, index, values)
    mask = _whole_mask(index, x.shape)
    if mask is not None and _fits(values.shape, x.shape[mask.ndim :]):
        return record_call(_where, (x, mask, values), (op,))
    indices = indices_of(index, x.shape, checked=mode == PROMISE)
    if op in ("multiply", "divide", "power"):
        unique = unique or _are_distinct(indices, x.shape)
    static = (op, indices.key, indices.counted, bool(unique), mode, type(values) is Tracer)
    return record_call(_scattered, (x, *indices.arrays, values), static)


def _mode(mode: Any) -> str:
    if mode not in _MODES:
        raise ValueError(f'unknown mode {mode!r}: use "promise_in_bounds" (the default), "drop", "fill" or "clip"')
    return _MODES[mode]


def _is_recorded(operands: tuple[Any, ...]) -> bool:
    return staging_open() or has_tracer(operands)


def _array(x: Any) -> Any:
    return x if type(x) is Tracer else np.asarray(x)


def _dynamic(index: Any) -> Any:
    """The index with its numbers as arrays, which may be outside."""
    if isinstance(index, tuple):
        return tuple([_dynamic(item) for item in index])
    is_number = isinstance(index, (int, np.integer)) and not isinstance(index, bool)
    return np.asarray(index) if is_number else index


def _checked(values: Any, x: Any, op: str) -> Any:
    """The values, which the array's dtype can hold; if they are not traced, in this dtype.

    Raises:
        TypeError: if that would lose more than digits.
        OverflowError: if it cannot hold a Python integer.
    """
    aval, dtype = aval_of(values), x.dtype
    if aval.weak:
        fits = _KINDS.index(aval.dtype.kind) <= _KINDS.index(dtype.kind)
    else:
        fits = np.can_cast(aval.dtype, dtype, "same_kind")
    if not fits:
        raise TypeError(
            f"{op}: values {aval} cannot be cast to {dtype.name}, the dtype of the array {aval_of(x)}, "
            "according to the rule 'same_kind'. Convert the array, or the values, with astype"
        )
    if type(values) is Tracer:
        return values
    # A scalar stays one, so that the recording can make a literal of it.
    return values.astype(dtype, copy=False) if isinstance(values, np.ndarray) else dtype.type(values)


_KINDS = "biufc"


def _whole_mask(index: Any, shape: tuple[int, ...]) -> Any:
    """The mask, if the index is one mask of the first axes of an array of this shape; else None."""
    if isinstance(index, tuple) and len(index) == 1:
        index = index[0]
    if isinstance(index, list):
        index = as_operand(index)
    if (type(index) is Tracer or isinstance(index, np.ndarray)) and index.dtype.kind == "b" and index.ndim:
        return index if index.shape == shape[: index.ndim] else None
    return None


def _fits(values: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether values of a shape can be broadcast to another one."""
    extra = max(len(values) - len(shape), 0)
    pairs = zip(values[extra:][::-1], shape[::-1], strict=False)
    return all([n == 1 for n in values[:extra]]) and all([n in (1, m) for n, m in pairs])


def _are_distinct(indices: Indices, shape: tuple[int, ...]) -> bool:
    """Whether concrete index arrays are known not to name an element twice."""
    if any([type(array) is Tracer for array in indices.arrays]) or not indices.arrays:
        return False
    if indices.counted is not None:
        if not all(indices.counted):
            return False
        return bool(np.unique(indices.arrays[0]).size == prod(Selection.of(shape, indices.key).batch or ()))
    vectors = indices.arrays[0].reshape(-1, indices.arrays[0].shape[-1])
    return len(np.unique(vectors, axis=0)) == len(vectors)


# --------------------------------------------------------------------------------------------------------------------
# On plain arrays


def _with_numpy(op: str, x: np.ndarray[Any, Any], index: Any, values: Any) -> np.ndarray[Any, Any]:
    out = np.array(x)
    if op == "set":
        out[index] = values
    elif op in ("divide", "power"):
        products = np.ones_like(out)
        np.multiply.at(products, index, values)
        return np.asarray(np.divide(out, products) if op == "divide" else np.power(out, products))
    else:
        _UFUNCS[op].at(out, index, values)
    return out


_UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}

# --------------------------------------------------------------------------------------------------------------------
# The programs

_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda x, v: v,
    "add": lax.add,
    "subtract": lax.sub,
    "multiply": lax.mul,
    "divide": lax.div,
    "power": lax.pow,
    "min": lax.min,
    "max": lax.max,
}


def _where(x: Any, mask: Any, values: Any, op: str) -> Any:
    """An update of the elements that a mask of the first axes selects."""
    values = _without_leading(lax.convert_element_type(values, x.dtype), x.ndim - mask.ndim)
    values = broadcast_to(values, x.shape[mask.ndim :])
    values = lax.broadcast_in_dim(values, x.shape, range(mask.ndim, x.ndim))
    mask = lax.broadcast_in_dim(mask, x.shape, range(mask.ndim))
    one, base = Literal(1, x.aval.strong), x
    if op in ("divide", "power"):  # where nothing is selected there must be no infinite derivative either
        values = lax.select(mask, values, one)
    if op == "power":
        base = lax.select(mask, x, one)
    return lax.select(mask, _COMBINE[op](base, values), x)


def _chosen(x: Any, mask: Any, values: Any) -> Any:
    """Values in the shape of the array where a mask of its first axes is True, else the array."""
    values = broadcast_to(lax.convert_element_type(values, x.dtype), x.shape)
    return lax.select(lax.broadcast_in_dim(mask, x.shape, range(mask.ndim)), values, x)


def _without_leading(values: Any, ndim: int) -> Any:
    """Values without axes of length 1 in front that are too many."""
    extra = values.ndim - ndim
    return lax.squeeze(values, range(extra)) if extra > 0 and values.shape[:extra] == (1,) * extra else values


class _Target(NamedTuple):
    """Where an update goes, in the terms of scatter.

    Attributes:
        batch: the shape of the array of index vectors, without its last axis.
        arrays_at: where the axes of the index arrays are in it.
        steps_at: for each axis that is taken in steps, where it is in it.
        indexed: the axes of the array that the index vectors have components for.
        numbers: the dimension numbers.
    """

    batch: tuple[int, ...]
    arrays_at: range
    steps_at: dict[int, int]
    indexed: tuple[int, ...]
    numbers: lax.ScatterDimensionNumbers


def _target(selection: Selection) -> _Target:
    batch: list[int] = []
    arrays_at = range(0)
    steps_at: dict[int, int] = {}
    window_dims: list[int] = []
    window_axes: list[int] = []
    position = 0
    for part in selection.layout:
        if part == NEW:
            continue
        if part == BATCH:
            arrays_at = range(len(batch), len(batch) + len(selection.batch or ()))
            batch.extend(selection.batch or ())
            position += len(arrays_at)
            continue
        axis = int(part)
        entry: Any = selection.axes[axis]
        if entry.step == 1:
            window_axes.append(axis)
            window_dims.append(position)
        else:
            steps_at[axis] = len(batch)
            batch.append(entry.length)
        position += 1
    inserted = tuple([d for d in range(len(selection.axes)) if d not in window_axes])
    partial = [d for d in window_axes if selection.axes[d].length != selection.merged[d]]  # type: ignore[union-attr]
    indexed = tuple(sorted([*inserted, *partial]))
    return _Target(
        tuple(batch),
        arrays_at,
        steps_at,
        indexed,
        lax.ScatterDimensionNumbers(tuple(window_dims), inserted, indexed),
    )


def _scattered(x: Any, *operands: Any) -> Any:
    """An update of what an index names."""
    *arrays, values, op, key, counted, unique, mode, with_derivative = operands
    selection = Selection.of(x.shape, key)
    updates = _fitted(lax.convert_element_type(values, x.dtype), selection)
    if mode != "drop":
        check_not_empty(selection)
    if 0 in updates.shape or 0 in x.shape:
        return x
    merged, target = lax.reshape(x, selection.merged), _target(selection)
    if not target.indexed:
        return lax.reshape(_COMBINE[op](merged, lax.reshape(updates, merged.shape)), x.shape)
    if not target.batch and not arrays and (op != "add" and op != "subtract"):
        return lax.reshape(_replaced_box(op, merged, selection, updates), x.shape)
    vectors = _vectors(arrays, counted, selection, target)
    distinct = mode != "clip" and (unique or selection.distinct)
    params = {"unique_indices": distinct, "mode": mode}
    if not distinct and op in ("multiply", "divide", "power"):
        scatter_products = _scatter_all_products if with_derivative and x.aval.inexact else lax.scatter_mul
        ones = Literal(1, merged.aval.strong)
        products = scatter_products(ones, vectors, updates, target.numbers, **params)
        return lax.reshape(_COMBINE[op](merged, products), x.shape)
    return lax.reshape(_combined(op, merged, vectors, updates, target.numbers, params), x.shape)


def _combined(
    op: str, x: Any, vectors: Any, updates: Any, numbers: lax.ScatterDimensionNumbers, params: dict[str, Any]
) -> Any:
    if op == "set":
        return lax.scatter(x, vectors, updates, numbers, **params)
    if op in ("add", "subtract"):
        return lax.scatter_add(x, vectors, updates if op == "add" else lax.neg(updates), numbers, **params)
    if not params["unique_indices"]:
        return (lax.scatter_min if op == "min" else lax.scatter_max)(x, vectors, updates, numbers, **params)
    sizes = window_sizes(x.shape, updates.shape, numbers)
    part = lax.gather(x, vectors, gathering(numbers), sizes, **params)
    return lax.scatter(x, vectors, _COMBINE[op](part, updates), numbers, **params)


def _fitted(values: Any, selection: Selection) -> Any:
    """The values in the shape of what is selected, without its new axes."""
    values = _without_leading(values, len(selection.shape))
    if not _fits(values.shape, selection.shape):
        raise ValueError(f"could not broadcast input array from shape {values.shape} into shape {selection.shape}")
    return lax.squeeze(broadcast_to(values, selection.shape), selection.new_axes)


def _replaced_box(op: str, x: Any, selection: Selection, updates: Any) -> Any:
    """The array with one box of it replaced."""
    entries: Sequence[Any] = selection.axes
    starts, sizes = [entry.start for entry in entries], [entry.length for entry in entries]
    updates = lax.reshape(updates, sizes)
    if op != "set":
        box = lax.slice(x, starts, [start + size for start, size in zip(starts, sizes, strict=True)])
        updates = _COMBINE[op](box, updates)
    return lax.dynamic_update_slice(x, updates, starts)


def _vectors(arrays: Sequence[Any], counted: Any, selection: Selection, target: _Target) -> Any:
    """The index vectors of a scatter."""
    lengths = [selection.merged[d] for d in selection.array_axes]
    columns = dict(zip(selection.array_axes, index_columns(arrays, counted, lengths), strict=True))
    batch, rank = target.batch, len(target.batch)
    if counted is None and target.indexed == selection.array_axes and len(target.arrays_at) == rank:
        return arrays[0]
    components = []
    for d in target.indexed:
        entry: Any = selection.axes[d]
        if d in columns:
            column = broadcast_to(columns[d], selection.batch or ())
            component = lax.broadcast_in_dim(column, batch, target.arrays_at)
        elif d in target.steps_at:
            component = _steps(entry, batch, target.steps_at[d])
        else:
            component = Literal(entry.start, Aval(batch, _INTP))
        components.append(lax.expand_dims(component, (rank,)))
    return lax.concatenate(components, rank)


def _steps(entry: Any, shape: tuple[int, ...], axis: int) -> Any:
    numbers = lax.broadcasted_iota(_INTP, shape, axis)
    return lax.add(lax.mul(numbers, entry.step), entry.start)


def _scatter_all_products(
    ones: Any, vectors: Any, updates: Any, numbers: lax.ScatterDimensionNumbers, *, mode: str, unique_indices: bool
) -> Any:
    """For each element the product of all updates that go to it, as `scatter_mul` of ones gives it.

    Unlike there, everything is differentiable. The updates are sorted by where they go, and those of one place, which
    are next to each other now, multiplied in a number of rounds that is the logarithm of how many updates there are.
    The last of a place has its product, and stays when all are scattered in this order.
    """
    window_dims = numbers.update_window_dims
    batch_dims = [d for d in range(updates.ndim) if d not in window_dims]
    windows = [updates.shape[d] for d in window_dims]
    n, k = prod(vectors.shape[:-1]), vectors.shape[-1]
    vectors = lax.reshape(vectors, (n, k))
    if mode == "clip":
        limits = [ones.shape[d] - size for d, size in enumerate(window_sizes(ones.shape, updates.shape, numbers))]
        vectors = _clipped(vectors, [limits[d] for d in numbers.scatter_dims_to_operand_dims])
    flat = lax.reshape(lax.transpose(updates, [*batch_dims, *window_dims]), (n, *windows))
    columns = [lax.reshape(lax.slice_in_dim(vectors, i, i + 1, axis=1), (n,)) for i in range(k)]
    *columns, order = lax.sort([*columns, lax.iota(_INTP, n)], 0, True, k)
    flat = _rows(flat, order)
    distance = 1
    while distance < n:
        flat = _multiplied_by_earlier(flat, columns, distance)
        distance *= 2
    vectors = lax.concatenate([lax.expand_dims(column, (1,)) for column in columns], 1)
    by_row = lax.ScatterDimensionNumbers(tuple(range(1, flat.ndim)), *numbers[1:])
    return lax.scatter(ones, vectors, flat, by_row, mode=mode)


def _clipped(vectors: Any, limits: Sequence[int]) -> Any:
    columns = []
    for i, limit in enumerate(limits):
        column = lax.slice_in_dim(vectors, i, i + 1, axis=1)
        low, high = (Literal(value, column.aval) for value in (0, limit))
        columns.append(lax.min(lax.max(column, low), high))
    return lax.concatenate(columns, 1)


def _rows(x: Any, order: Any) -> Any:
    numbers = gathering(lax.ScatterDimensionNumbers(tuple(range(1, x.ndim)), (0,), (0,)))
    return lax.gather(x, lax.expand_dims(order, (1,)), numbers, (1, *x.shape[1:]), unique_indices=True, mode=PROMISE)


def _multiplied_by_earlier(flat: Any, columns: Sequence[Any], distance: int) -> Any:
    """Each row times the one so many rows before, if that goes to the same place."""
    n = flat.shape[0]
    same = None
    for column in columns:
        equal = lax.eq(lax.slice_in_dim(column, distance, n), lax.slice_in_dim(column, 0, n - distance))
        same = equal if same is None else lax.bitwise_and(same, equal)
    late, early = lax.slice_in_dim(flat, distance, n), lax.slice_in_dim(flat, 0, n - distance)
    same = lax.broadcast_in_dim(same, late.shape, (0,))
    # Selected before it is multiplied: what belongs to another place has no part in the derivative.
    factor = lax.select(same, early, Literal(1, early.aval.strong))
    return lax.concatenate([lax.slice_in_dim(flat, 0, distance), lax.mul(late, factor)], 0)
