"""Reductions over axes: products, maxima, minima, their places, and bitwise combinations.

The sum is in `shape.py`, next to the broadcast whose transpose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    declare_absent,
    def_abstract,
    def_batch,
    def_constant,
    def_jvp,
    def_specialized_impl,
    zeros_like,
)
from functrans.ops.comparison import eq, select
from functrans.ops.conversion import convert_element_type
from functrans.ops.cumulative import cumprod, shifted
from functrans.ops.elementwise import div, mul
from functrans.ops.families import ANY, NUMBER
from functrans.ops.shape import broadcast_in_dim, reduce_sum, reshape, transpose, without

__all__ = [
    "argmax",
    "argmax_p",
    "argmin",
    "argmin_p",
    "reduce_and",
    "reduce_and_p",
    "reduce_max",
    "reduce_max_p",
    "reduce_min",
    "reduce_min_p",
    "reduce_or",
    "reduce_or_p",
    "reduce_prod",
    "reduce_prod_p",
    "reduce_xor",
    "reduce_xor_p",
]

Axes = tuple[int, ...]

# --------------------------------------------------------------------------------------------------------------------
# What they have in common


def _reduction(name: str, ufunc: np.ufunc, kinds: str) -> Primitive:
    """A primitive that reduces axes by a ufunc, in the dtype of the operand."""

    def abstract(operand: Aval, *, axes: Axes) -> Aval:
        if any([not 0 <= d < operand.ndim for d in axes]) or len(set(axes)) != len(axes):
            raise TypeError(f"{name}: {operand} has no axes {axes}, or one of them is named twice")
        if operand.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {operand}")
        if ufunc.identity is None and any([operand.shape[d] == 0 for d in axes]):
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
        return Aval(without(operand.shape, axes), operand.dtype)

    def implementation(operand: Aval, *, axes: Axes) -> Callable[..., Any]:
        reduce, dtype = ufunc.reduce, operand.dtype
        row = prod([operand.shape[d] for d in axes])
        are_last = axes == tuple(range(operand.ndim - len(axes), operand.ndim))
        if are_last and 1 < row <= _SHORT[dtype.kind == "f"] and operand.size >= _MANY_ROWS * row:
            # NumPy takes short rows one by one: row by row of the transpose it is up to ten times as fast.
            kept = without(operand.shape, axes)
            flat = len(kept) == 1

            def reduce_columns(x: Any) -> Any:
                out = reduce(np.ascontiguousarray(x.reshape(-1, row).transpose()), 0, dtype)
                return out if flat else out.reshape(kept)

            return reduce_columns
        axis: Any = axes if len(axes) != 1 else axes[0]
        return lambda x: reduce(x, axis, dtype)

    def batch(size: int, operands: Sequence[Any], axes_in: Sequence[int], *, axes: Axes) -> tuple[Any, int]:
        (operand,), (axis,) = operands, axes_in
        out = primitive.bind(operand, axes=tuple([d + (d >= axis) for d in axes]))
        return out, axis - sum([d < axis for d in axes])

    primitive = Primitive(name)
    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, implementation)
    def_batch(primitive, batch)
    return primitive


_SHORT = 16, 48
"""Up to this length a row is short: of others, and of real floats."""
_MANY_ROWS = 32
"""For fewer rows another call costs as much as it saves."""


def _reduce(primitive: Primitive, operand: Any, axes: Sequence[int]) -> Any:
    axes = tuple(sorted(normalize_axis_tuple(axes, operand.ndim, "axes")))
    return primitive.bind(operand, axes=axes) if axes else operand


def _spread(x: Any, shape: tuple[int, ...], axes: Axes) -> Any:
    """A reduced array, the same all along the axes that it was reduced over."""
    return broadcast_in_dim(x, shape, [d for d in range(len(shape)) if d not in axes])


# --------------------------------------------------------------------------------------------------------------------
# reduce_prod


def reduce_prod(operand: Any, axes: Sequence[int]) -> Any:
    """The product over axes, in the dtype of the operand; 1 if there are no elements.

    Its derivative divides by nothing, and is right where there are zeros.

    Raises:
        TypeError: for booleans.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_prod
    >>> reduce_prod(np.array([[1, 2], [3, 4]]), (0,))
    array([3, 8])
    """
    return _reduce(reduce_prod_p, operand, axes)


def _reduce_prod_jvp(t: Any, out: Any, operand: Any, *, axes: Axes) -> Any:
    x, t = _in_front(operand, axes), _in_front(t, axes)
    if x.shape[0] > 1:
        # Each tangent is multiplied by all elements before its own, and by all behind it.
        before = cumprod(shifted(x, 0, 1))
        behind = cumprod(shifted(x, 0, 1, reverse=True), reverse=True)
        t = mul(t, mul(before, behind))
    return reduce_sum(t, (0,))


def _in_front(x: Any, axes: Axes) -> Any:
    """The array with these axes joined to one, which is the first."""
    kept = [d for d in range(x.ndim) if d not in axes]
    moved = transpose(x, [*axes, *kept])
    return reshape(moved, (prod([x.shape[d] for d in axes]), *[x.shape[d] for d in kept]))


reduce_prod_p = _reduction("reduce_prod", np.multiply, NUMBER)
def_jvp(reduce_prod_p, _reduce_prod_jvp)
declare_absent(reduce_prod_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# reduce_max and reduce_min


def reduce_max(operand: Any, axes: Sequence[int]) -> Any:
    """The maximum over axes; NaN if there is one, complex numbers by their real part first.

    The derivative is shared equally among all elements that are the maximum.

    Raises:
        ValueError: if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_max
    >>> reduce_max(np.array([[1, 2], [3, 0]]), (1,))
    array([2, 3])
    """
    return _reduce(reduce_max_p, operand, axes)


def reduce_min(operand: Any, axes: Sequence[int]) -> Any:
    """The minimum over axes; NaN if there is one, complex numbers by their real part first.

    The derivative is shared equally among all elements that are the minimum.

    Raises:
        ValueError: if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_min
    >>> reduce_min(np.array([[1, 2], [3, 0]]), (1,))
    array([1, 0])
    """
    return _reduce(reduce_min_p, operand, axes)


def _chooser_jvp(t: Any, out: Any, operand: Any, *, axes: Axes) -> Any:
    winners = eq(operand, _spread(out, operand.shape, axes))
    count = reduce_sum(convert_element_type(winners, t.dtype), axes)
    return div(reduce_sum(select(winners, t, zeros_like(t)), axes), count)


reduce_max_p = _reduction("reduce_max", np.maximum, ANY)
def_jvp(reduce_max_p, _chooser_jvp)
declare_absent(reduce_max_p, "transpose", "not linear")

reduce_min_p = _reduction("reduce_min", np.minimum, ANY)
def_jvp(reduce_min_p, _chooser_jvp)
declare_absent(reduce_min_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# reduce_and, reduce_or and reduce_xor


def reduce_and(operand: Any, axes: Sequence[int]) -> Any:
    """The bitwise `and` over axes of booleans or integers; all ones if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_and
    >>> reduce_and(np.array([[True, True], [True, False]]), (1,))
    array([ True, False])
    """
    return _reduce(reduce_and_p, operand, axes)


def reduce_or(operand: Any, axes: Sequence[int]) -> Any:
    """The bitwise `or` over axes of booleans or integers; zero if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_or
    >>> reduce_or(np.array([[5, 2], [1, 1]]), (1,))
    array([7, 1])
    """
    return _reduce(reduce_or_p, operand, axes)


def reduce_xor(operand: Any, axes: Sequence[int]) -> Any:
    """The bitwise `xor` over axes of booleans or integers; zero if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import reduce_xor
    >>> reduce_xor(np.array([[5, 1], [1, 1]]), (1,))
    array([4, 0])
    """
    return _reduce(reduce_xor_p, operand, axes)


reduce_and_p = _reduction("reduce_and", np.bitwise_and, "biu")
def_constant(reduce_and_p, 1)

reduce_or_p = _reduction("reduce_or", np.bitwise_or, "biu")
def_constant(reduce_or_p, 1)

reduce_xor_p = _reduction("reduce_xor", np.bitwise_xor, "biu")
def_constant(reduce_xor_p, 1)

# --------------------------------------------------------------------------------------------------------------------
# argmax and argmin


def argmax(operand: Any, axis: int, index_dtype: Any) -> Any:
    """The index of the first maximum along an axis; of the first NaN if there is one.

    Raises:
        ValueError: if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import argmax
    >>> argmax(np.array([[1, 2], [3, 3]]), 1, np.int32)
    array([1, 0], dtype=int32)
    """
    axis = normalize_axis_index(axis, operand.ndim)
    return argmax_p.bind(operand, axes=(axis,), index_dtype=np.dtype(index_dtype))


def argmin(operand: Any, axis: int, index_dtype: Any) -> Any:
    """The index of the first minimum along an axis; of the first NaN if there is one.

    Raises:
        ValueError: if there are no elements.

    >>> import numpy as np
    >>> from functrans.ops.reductions import argmin
    >>> argmin(np.array([[1, 2], [3, 3]]), 1, np.int32)
    array([0, 0], dtype=int32)
    """
    axis = normalize_axis_index(axis, operand.ndim)
    return argmin_p.bind(operand, axes=(axis,), index_dtype=np.dtype(index_dtype))


def _place(name: str, find: Callable[..., Any]) -> Primitive:
    """A primitive that gives the place of an element along an axis."""

    def abstract(operand: Aval, *, axes: Axes, index_dtype: np.dtype[Any]) -> Aval:
        if len(axes) != 1 or not 0 <= axes[0] < operand.ndim:
            raise TypeError(f"{name}: it takes one axis of {operand}, got {axes}")
        if index_dtype.kind not in "iu":
            raise TypeError(f"{name}: the indices must be integers, got {index_dtype.name} for {operand}")
        if operand.shape[axes[0]] == 0:
            raise ValueError(f"attempt to get {name} of an empty sequence")
        return Aval(without(operand.shape, axes), index_dtype)

    def implementation(operand: Aval, *, axes: Axes, index_dtype: np.dtype[Any]) -> Callable[..., Any]:
        (axis,) = axes
        if index_dtype == np.intp:
            return lambda x: find(x, axis)
        return lambda x: find(x, axis).astype(index_dtype)

    def batch(
        size: int, operands: Sequence[Any], axes_in: Sequence[int], *, axes: Axes, index_dtype: np.dtype[Any]
    ) -> tuple[Any, int]:
        (operand,), (axis,), (along,) = operands, axes_in, axes
        out = primitive.bind(operand, axes=(along + (along >= axis),), index_dtype=index_dtype)
        return out, axis - (along < axis)

    primitive = Primitive(name)
    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, implementation)
    def_constant(primitive, 1)
    def_batch(primitive, batch)
    return primitive


argmax_p = _place("argmax", np.ndarray.argmax)
argmin_p = _place("argmin", np.ndarray.argmin)
