"""Sorting along an axis: sort, argsort and top_k.

Their derivatives carry the tangents to where the elements have gone, by a gather.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_constant,
    def_general_jvp,
    def_specialized_impl,
)
from functrans.ops.families import align
from functrans.ops.indexing import GatherDimensionNumbers, gather
from functrans.ops.shape import reshape
from functrans.ops.slicing import slice as slice_

__all__ = ["argsort", "argsort_p", "sort", "sort_key_val", "sort_p", "taken_along_axis", "top_k", "top_k_p"]

Take = Callable[[Any, Any], Any]

# --------------------------------------------------------------------------------------------------------------------
# Taking elements along an axis, at indices of the same rank


def taken_along_axis(operand: Any, indices: Any, axis: int, unique: bool = False) -> Any:
    """The elements at the given indices along an axis, as `numpy.take_along_axis` takes them.

    Args:
        operand: the array.
        indices: not negative and inside; as long as the operand along the other axes.
        axis: not negative.
        unique: a promise that none is taken twice.
    """
    if 0 in indices.shape:
        limits = [indices.shape[d] if d == axis else n for d, n in enumerate(operand.shape)]
        return slice_(operand, [0] * operand.ndim, limits)
    others = tuple([d for d in range(operand.ndim) if d != axis])
    numbers = GatherDimensionNumbers((), (axis,), (axis,), others, others)
    vectors = reshape(indices, (*indices.shape, 1))
    ones = (1,) * operand.ndim
    return gather(operand, vectors, numbers, ones, unique_indices=unique, mode="promise_in_bounds")


def _taker(shape: tuple[int, ...], axis: int) -> Take:
    """`taken_along_axis` on arrays, for operands of this shape."""
    if len(shape) == 1:
        return lambda x, indices: x[indices]
    others: list[Any] = list(np.ogrid[tuple([slice(n) for n in shape])])
    before, after = tuple(others[:axis]), tuple(others[axis + 1 :])
    return lambda x, indices: x[(*before, indices, *after)]


# --------------------------------------------------------------------------------------------------------------------
# argsort


def argsort(operand: Any, axis: int = -1, is_stable: bool = True) -> Any:
    """The indices that sort an array along an axis.

    Args:
        operand: an array, or several of one shape: keys, of which each decides where those before it are equal.
        axis: along which to sort.
        is_stable: whether equal elements keep their order.

    >>> import numpy as np
    >>> from functrans.ops.sorting import argsort
    >>> argsort(np.array([3, 1, 2]))
    array([1, 2, 0])
    """
    keys = tuple(operand) if isinstance(operand, (tuple, list)) else (operand,)
    dimension = normalize_axis_index(axis, keys[0].ndim)
    return argsort_p.bind(*keys, dimension=dimension, is_stable=bool(is_stable))


def _argsort_abstract(*keys: Aval, dimension: int, is_stable: bool) -> Aval:
    _check_operands("argsort", keys, dimension)
    return Aval(keys[0].shape, np.dtype(np.intp))


def _argsort_impl(*keys: Aval, dimension: int, is_stable: bool) -> Callable[..., Any]:
    if len(keys) > 1:
        return lambda *xs: np.lexsort(xs[::-1], dimension)
    if not is_stable:
        return lambda x: x.argsort(dimension)
    if keys[0].dtype.kind == "c" or keys[0].dtype.itemsize < 4 or keys[0].size < _FEW:
        return lambda x: x.argsort(dimension, "stable")
    take = _taker(keys[0].shape, dimension)
    front = (slice(None),) * dimension
    before, after = (*front, slice(None, -1)), (*front, slice(1, None))

    def order(x: Any) -> Any:
        # NumPy's other sort takes a fifth of the time, and where no two elements are equal there is just one order.
        found = x.argsort(dimension)
        ascending = take(x, found)
        rises = np.less(ascending[before], ascending[after])  # not where there is a NaN
        return found if rises.all() else x.argsort(dimension, "stable")

    return order


_FEW = 512
"""Up to so many elements NumPy's stable sort is as fast as any."""


def _argsort_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, dimension: int, is_stable: bool
) -> tuple[Any, int]:
    axis = next(axis for axis in axes if axis is not None)
    keys = align(size, operands, axes, axis)
    return argsort(keys, dimension + (dimension >= axis), is_stable), axis


def _check_operands(name: str, operands: Sequence[Aval], dimension: int) -> None:
    if not operands:
        raise TypeError(f"{name}: it needs at least one operand")
    if any([x.shape != operands[0].shape for x in operands]):
        raise TypeError(f"{name}: operands must have the same shape, got {', '.join(map(str, operands))}")
    if not 0 <= dimension < operands[0].ndim:
        raise TypeError(f"{name}: {operands[0]} has no axis {dimension}")


argsort_p = Primitive("argsort")
def_abstract(argsort_p, _argsort_abstract)
def_specialized_impl(argsort_p, _argsort_impl)
def_constant(argsort_p, 1)
def_batch(argsort_p, _argsort_batch)

# --------------------------------------------------------------------------------------------------------------------
# sort


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """The elements in ascending order along an axis, NaN last, complex numbers by their real part first.

    Args:
        operand: an array; or several of one shape, which are all brought into the order of the first `num_keys`.
        dimension: along which axis to sort.
        is_stable: whether equal elements keep their order.
        num_keys: how many operands are keys, of which each decides where those before it are equal.

    Returns:
        An array; a tuple for several.

    >>> import numpy as np
    >>> from functrans.ops.sorting import sort
    >>> sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    >>> sort((np.array([3, 1, 2]), np.array([10, 20, 30])))
    (array([1, 2, 3]), array([20, 30, 10]))
    """
    several = isinstance(operand, (tuple, list))
    operands = tuple(operand) if several else (operand,)
    if not operands:
        raise TypeError("sort: it needs at least one operand")
    axis = normalize_axis_index(dimension, operands[0].ndim)
    outs = sort_p.bind(*operands, dimension=axis, is_stable=bool(is_stable), num_keys=num_keys)
    return tuple(outs) if several else outs[0]


def sort_key_val(keys: Any, values: Any, dimension: int = -1, is_stable: bool = True) -> tuple[Any, Any]:
    """Keys in ascending order along an axis, and values brought into their order.

    >>> import numpy as np
    >>> from functrans.ops.sorting import sort_key_val
    >>> sort_key_val(np.array([3, 1, 2]), np.array([10, 20, 30]))
    (array([1, 2, 3]), array([20, 30, 10]))
    """
    sorted_keys, sorted_values = sort((keys, values), dimension, is_stable)
    return sorted_keys, sorted_values


def _sort_abstract(*operands: Aval, dimension: int, is_stable: bool, num_keys: int) -> tuple[Aval, ...]:
    _check_operands("sort", operands, dimension)
    if not 1 <= num_keys <= len(operands):
        raise TypeError(f"sort: num_keys is {num_keys}, with {len(operands)} operands")
    return tuple([x.strong for x in operands])


def _sort_impl(*operands: Aval, dimension: int, is_stable: bool, num_keys: int) -> Callable[..., Any]:
    if len(operands) == 1:
        # Equal integers cannot be told apart, and NumPy's other sort is faster (equal floats are 0.0 and -0.0).
        kind: Any = "stable" if is_stable and operands[0].inexact else None

        def sort_one(x: Any) -> tuple[Any]:
            out = x.copy()
            out.sort(dimension, kind)
            return (out,)

        return sort_one
    find = _argsort_impl(*operands[:num_keys], dimension=dimension, is_stable=is_stable)
    take = _taker(operands[0].shape, dimension)

    def sort_all(*xs: Any) -> tuple[Any, ...]:
        order = find(*xs[:num_keys])
        return tuple([take(x, order) for x in xs])

    return sort_all


def _sort_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, dimension: int, is_stable: bool, num_keys: int
) -> tuple[list[Any], list[Any]]:
    order = argsort(primals[:num_keys], dimension, is_stable)
    outs = [taken_along_axis(x, order, dimension, unique=True) for x in primals]
    return outs, [None if t is None else taken_along_axis(t, order, dimension, unique=True) for t in tangents]


def _sort_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    dimension: int,
    is_stable: bool,
    num_keys: int,
) -> tuple[Any, list[int]]:
    axis = next(axis for axis in axes if axis is not None)
    stacks = align(size, operands, axes, axis)
    outs = sort_p.bind(*stacks, dimension=dimension + (dimension >= axis), is_stable=is_stable, num_keys=num_keys)
    return outs, [axis] * len(outs)


sort_p = Primitive("sort", multiple_results=True)
def_abstract(sort_p, _sort_abstract)
def_specialized_impl(sort_p, _sort_impl)
def_general_jvp(sort_p, _sort_jvp)
declare_absent(sort_p, "transpose", "not linear")
def_batch(sort_p, _sort_batch)

# --------------------------------------------------------------------------------------------------------------------
# top_k


def top_k(operand: Any, k: int, *, axis: int = -1) -> tuple[Any, Any]:
    """The k largest elements along an axis in descending order, and their indices.

    NaN counts as the largest; of equal elements the first comes first.

    Raises:
        TypeError: if there are fewer than k, or k is negative.

    >>> import numpy as np
    >>> from functrans.ops.sorting import top_k
    >>> top_k(np.array([3.0, 1.0, 4.0, 1.0]), 2)
    (array([4., 3.]), array([2, 0]))
    """
    values, indices = top_k_p.bind(operand, k=int(k), axis=normalize_axis_index(axis, operand.ndim))
    return values, indices


def _top_k_abstract(operand: Aval, *, k: int, axis: int) -> tuple[Aval, Aval]:
    _check_operands("top_k", (operand,), axis)
    if not 0 <= k <= operand.shape[axis]:
        raise TypeError(f"top_k: k is {k}, and {operand} has {operand.shape[axis]} elements along axis {axis}")
    shape = (*operand.shape[:axis], k, *operand.shape[axis + 1 :])
    return Aval(shape, operand.dtype), Aval(shape, np.dtype(np.intp))


def _top_k_impl(operand: Aval, *, k: int, axis: int) -> Callable[..., Any]:
    n = operand.shape[axis]
    whole = (slice(None),) * axis
    flipped, first = (*whole, slice(None, None, -1)), (*whole, slice(k))
    take = _taker(operand.shape, axis)

    def sort_all(x: Any) -> tuple[Any, Any]:
        # Descending is ascending from behind, and so is the order of equal elements.
        ascending = x[flipped].argsort(axis, "stable")
        indices = n - 1 - ascending[flipped][first]
        return take(x, indices), indices

    if not 0 < k <= n // 4 or operand.size < _FEW or operand.dtype.kind not in "iuf":
        return sort_all
    largest, at_least = (*whole, slice(n - k, None)), (*whole, slice(n - k, n - k + 1))
    take_found = _taker((*operand.shape[:axis], k, *operand.shape[axis + 1 :]), axis)

    def select(x: Any) -> tuple[Any, Any]:
        # The k largest in any order. They are the only ones that are as large as the least of them, unless others are
        # equal to it, or there is a NaN.
        found = x.argpartition(n - k, axis)
        bound = take(x, found[at_least])
        if np.count_nonzero(x >= bound) != found.size // n * k:
            return sort_all(x)
        indices = found[largest]
        indices.sort(axis)
        values = take(x, indices)
        descending = (k - 1 - values[flipped].argsort(axis, "stable"))[flipped]
        return take_found(values, descending), take_found(indices, descending)

    return select


def _top_k_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, k: int, axis: int
) -> tuple[tuple[Any, Any], list[Any]]:
    values, indices = top_k_p.bind(*primals, k=k, axis=axis)
    return (values, indices), [taken_along_axis(tangents[0], indices, axis, unique=True), None]


def _top_k_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int], *, k: int, axis: int
) -> tuple[Any, list[int]]:
    return top_k_p.bind(operands[0], k=k, axis=axis + (axis >= axes[0])), [axes[0]] * 2


top_k_p = Primitive("top_k", multiple_results=True)
def_abstract(top_k_p, _top_k_abstract)
def_specialized_impl(top_k_p, _top_k_impl)
def_general_jvp(top_k_p, _top_k_jvp)
declare_absent(top_k_p, "transpose", "not linear")
def_batch(top_k_p, _top_k_batch)
