"""`numpy.linalg.norm` and its kind, as far as they need no decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import lax
from functrans.errors import MissingRuleError
from functrans.numpy.promotion import like, strong
from functrans.numpy.reductions import sum_arrays
from functrans.numpy.registry import axis_of, implements, lengths_of, record
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import expand_dims, reduce_sum

__all__ = ["matrix_norm", "norm", "vector_norm"]

Axes = tuple[int, ...]


def _inexact(x: Any) -> Any:
    return convert_element_type(x, np.float64) if x.dtype.kind in "iub" else strong(x)


def _euclidean(x: Any, axes: Axes) -> Any:
    if x.dtype.kind == "c":
        squares = lax.add(lax.square(lax.real(x)), lax.square(lax.imag(x)))
    else:
        squares = lax.square(x)
    return lax.sqrt(reduce_sum(squares, axes))


def _vector_norm(x: Any, axes: Axes, order: Any, keepdims: bool) -> Any:
    x = _inexact(x)
    if order is None or order == 2:
        out = _euclidean(x, axes)
    elif order == np.inf:
        out = lax.reduce_max(lax.abs(x), axes)
    elif order == -np.inf:
        out = lax.reduce_min(lax.abs(x), axes)
    elif order == 0:
        out = convert_element_type(sum_arrays(lax.ne(x, like(0, x)), axes), _real_dtype(x))
    elif order == 1:
        out = reduce_sum(lax.abs(x), axes)
    else:
        size = lax.abs(x)
        total = reduce_sum(lax.pow(size, like(order, size)), axes)
        out = lax.pow(total, like(1 / order, total))
    return expand_dims(out, axes) if keepdims else out


def _real_dtype(x: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.empty((), x.dtype).real.dtype
    return dtype


def _matrix_norm(x: Any, axes: Axes, order: Any, keepdims: bool) -> Any:
    x = _inexact(x)
    rows, columns = axes
    if order in (None, "fro", "f"):
        out = _euclidean(x, axes)
    else:
        summed = rows if abs(order) == 1 else columns
        sums = expand_dims(reduce_sum(lax.abs(x), (summed,)), (summed,))
        out = (lax.reduce_max if order > 0 else lax.reduce_min)(sums, axes)
    return expand_dims(out, tuple(sorted(axes))) if keepdims else out


def _recorded(x: Any, axes: Axes, order: Any, keepdims: bool) -> Any:
    if len(axes) == 1:
        if isinstance(order, str):
            raise ValueError(f"Invalid norm order '{order}' for vectors")
        return record(_vector_norm, (x,), axes, order, keepdims)
    if order in (2, -2, "nuc"):
        raise MissingRuleError(
            f"norm(x, ord={order!r}) of a matrix needs its singular values: take them with functrans.numpy.linalg.svd."
        )
    if order not in (None, "fro", "f", 1, -1, np.inf, -np.inf):
        raise ValueError("Invalid norm order for matrices.")
    return record(_matrix_norm, (x,), axes, order, keepdims)


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """`numpy.linalg.norm`: the norm of vectors, or of matrices if their singular values are not needed."""
    ndim = len(lengths_of(x))
    if axis is None:
        axes: Any = tuple(range(ndim))
        if ord is None or (ord in ("f", "fro") and ndim == 2) or (ord == 2 and ndim == 1):
            return record(_vector_norm, (x,), axes, None, bool(keepdims))
    else:
        axes = tuple([axis_of(d, ndim) for d in (axis if isinstance(axis, (tuple, list)) else (axis,))])
    if len(axes) not in (1, 2) or len(set(axes)) != len(axes):
        raise ValueError("Improper number of dimensions to norm.")
    return _recorded(x, axes, ord, bool(keepdims))


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    """`numpy.linalg.vector_norm`: the norm of all elements over axes."""
    ndim = len(lengths_of(x))
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    return record(_vector_norm, (x,), tuple(sorted([axis_of(d, ndim) for d in axes])), ord, bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Any:
    """`numpy.linalg.matrix_norm`: the norm of the matrices on the last two axes."""
    ndim = len(lengths_of(x))
    return _recorded(x, (ndim - 2, ndim - 1), ord, bool(keepdims))
