"""Products of arrays that are summed over axes: dot, matmul, tensordot, einsum and their kind."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.errors import MissingRuleError
from functrans.numpy.einsum import einsum
from functrans.numpy.promotion import broadcast_arrays, broadcast_to, loop_dtypes, same_dtype, strong
from functrans.numpy.reductions import sum_arrays
from functrans.numpy.registry import axis_of, implements, lengths_of, record
from functrans.numpy.shapes import diagonal_of
from functrans.ops.conversion import convert_element_type
from functrans.ops.linear_algebra import dot_general
from functrans.ops.shape import expand_dims, moveaxis, reshape
from functrans.ops.slicing import slice_in_dim

__all__ = ["cross", "dot", "inner", "kron", "matmul_arrays", "outer", "tensordot", "trace", "vdot"]

# --------------------------------------------------------------------------------------------------------------------
# matmul and its family: generalised ufuncs


def matmul_arrays(x: Any, y: Any, dtype: Any = None) -> Any:
    """`x @ y`: stacks of matrices on the last two axes, the axes before broadcast; a vector counts as a matrix."""
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: operands must have one axis at least, got shapes {x.shape} and {y.shape}")
    contract = y.ndim - 2 if y.ndim > 1 else 0
    if x.shape[-1] != y.shape[contract]:
        raise ValueError(f"matmul: the last axis of shape {x.shape} and axis {contract} of shape {y.shape} differ")
    x, y = _converted(np.matmul, x, y, dtype)
    if y.ndim <= 2 or x.ndim == 1:
        return dot_general(x, y, (((x.ndim - 1,), (contract,)), ((), ())))
    if x.ndim == 2:
        return moveaxis(dot_general(x, y, (((1,), (contract,)), ((), ()))), 0, y.ndim - 2)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = broadcast_to(x, batch + x.shape[-2:]), broadcast_to(y, batch + y.shape[-2:])
    n = len(batch)
    return dot_general(x, y, (((n + 1,), (n,)), (tuple(range(n)), tuple(range(n)))))


def _converted(ufunc: np.ufunc, x: Any, y: Any, dtype: Any) -> list[Any]:
    dtypes = loop_dtypes(ufunc, (x.aval, y.aval), dtype)
    return [convert_element_type(operand, d) for operand, d in zip((x, y), dtypes, strict=False)]


def vecdot_arrays(x: Any, y: Any, dtype: Any = None) -> Any:
    """The product of vectors on the last axes, the first one conjugated; the axes before are broadcast."""
    if not x.ndim or not y.ndim or x.shape[-1] != y.shape[-1]:
        raise ValueError(f"vecdot: the last axes of shapes {x.shape} and {y.shape} differ")
    x, y = broadcast_arrays(*_converted(np.vecdot, x, y, dtype))
    n = x.ndim - 1
    return dot_general(_conjugated(x), y, (((n,), (n,)), (tuple(range(n)), tuple(range(n)))))


def matvec_arrays(x: Any, y: Any, dtype: Any = None) -> Any:
    """Matrices on the last two axes times vectors on the last axis."""
    if x.ndim < 2 or not y.ndim:
        raise ValueError(f"matvec: it needs matrices and vectors, got shapes {x.shape} and {y.shape}")
    if y.ndim == 1:
        return matmul_arrays(x, y, dtype)
    out = matmul_arrays(x, expand_dims(y, (y.ndim,)), dtype)
    return reshape(out, out.shape[:-1])


def vecmat_arrays(x: Any, y: Any, dtype: Any = None) -> Any:
    """Vectors on the last axis, conjugated, times matrices on the last two axes."""
    if y.ndim < 2 or not x.ndim:
        raise ValueError(f"vecmat: it needs vectors and matrices, got shapes {x.shape} and {y.shape}")
    out = matmul_arrays(expand_dims(_conjugated(x), (x.ndim - 1,)), y, dtype)
    return reshape(out, (*out.shape[:-2], out.shape[-1]))


def _conjugated(x: Any) -> Any:
    return lax.conj(x) if x.dtype.kind == "c" else x


PRODUCT_UFUNCS: dict[np.ufunc, Any] = {
    np.matmul: matmul_arrays, np.vecdot: vecdot_arrays, np.matvec: matvec_arrays, np.vecmat: vecmat_arrays,
}  # fmt: skip
"""The generalised ufuncs, on operands of any dtypes."""


@implements(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, dtype: Any = None) -> Any:
    """`numpy.vecdot`: the product of vectors on one axis, the first one conjugated."""
    return record(_vecdot_along, (x1, x2), index(axis), *([] if dtype is None else [np.dtype(dtype)]))


def _vecdot_along(x: Any, y: Any, axis: int, dtype: Any = None) -> Any:
    if axis != -1:
        x, y = broadcast_arrays(x, y)
        axis = axis_of(axis, x.ndim)
        x, y = moveaxis(x, axis, x.ndim - 1), moveaxis(y, axis, y.ndim - 1)
    return vecdot_arrays(x, y, dtype)


# --------------------------------------------------------------------------------------------------------------------
# dot, tensordot and the like


def _dot(x: Any, y: Any) -> Any:
    x, y = same_dtype((x, y))
    if not x.ndim or not y.ndim:
        return _product(*broadcast_arrays(x, y))
    contract = y.ndim - 2 if y.ndim > 1 else 0
    if x.shape[-1] != y.shape[contract]:
        raise ValueError(
            f"shapes {x.shape} and {y.shape} not aligned: {x.shape[-1]} (dim {x.ndim - 1}) != "
            f"{y.shape[contract]} (dim {contract})"
        )
    return dot_general(x, y, (((x.ndim - 1,), (contract,)), ((), ())))


def _product(x: Any, y: Any) -> Any:
    return lax.bitwise_and(x, y) if x.dtype.kind == "b" else lax.mul(x, y)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """`numpy.dot`: the last axis of a summed with the last but one of b; a plain product for scalars."""
    return record(_dot, (a, b))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """`numpy.vdot`: the product of all elements, those of a conjugated, summed."""
    return record(_vdot, (a, b))


def _vdot(x: Any, y: Any) -> Any:
    x, y = (reshape(operand, (prod(operand.shape),)) for operand in same_dtype((x, y)))
    return _dot(_conjugated(x), y)


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """`numpy.inner`: summed over the last axis of both."""
    return record(_inner, (a, b))


def _inner(x: Any, y: Any) -> Any:
    x, y = same_dtype((x, y))
    if not x.ndim or not y.ndim:
        return _product(*broadcast_arrays(x, y))
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"shapes {x.shape} and {y.shape} not aligned: the last axes differ")
    return dot_general(x, y, (((x.ndim - 1,), (y.ndim - 1,)), ((), ())))


@implements(np.outer, np.linalg.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """`numpy.outer`: the product of each element of a with each of b."""
    return record(_outer, (a, b))


def _outer(x: Any, y: Any) -> Any:
    x, y = same_dtype((x, y))
    return _product(*broadcast_arrays(reshape(x, (prod(x.shape), 1)), reshape(y, (1, prod(y.shape)))))


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """`numpy.tensordot`: summed over pairs of axes, the last of a and the first of b if just their number is given."""
    a_ndim, b_ndim = len(lengths_of(a)), len(lengths_of(b))
    if isinstance(axes, (tuple, list)):
        pair = [[d] if not isinstance(d, (tuple, list)) else list(d) for d in axes]
        a_axes, b_axes = tuple([axis_of(d, a_ndim) for d in pair[0]]), tuple([axis_of(d, b_ndim) for d in pair[1]])
    else:
        n = index(axes)
        a_axes, b_axes = tuple(range(a_ndim - n, a_ndim)), tuple(range(n))
    if [lengths_of(a)[d] for d in a_axes] != [lengths_of(b)[d] for d in b_axes]:
        raise ValueError("shape-mismatch for sum")
    return record(_tensordot, (a, b), a_axes, b_axes)


def _tensordot(x: Any, y: Any, x_axes: tuple[int, ...], y_axes: tuple[int, ...]) -> Any:
    x, y = same_dtype((x, y))
    return dot_general(x, y, ((x_axes, y_axes), ((), ())))


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """`numpy.kron`: the Kronecker product, a block of b for each element of a."""
    return record(_kron, (a, b))


def _kron(x: Any, y: Any) -> Any:
    x, y = same_dtype((x, y))
    n = max(x.ndim, y.ndim)
    xs, ys = (1,) * (n - x.ndim) + x.shape, (1,) * (n - y.ndim) + y.shape
    spread = expand_dims(reshape(x, xs), range(1, 2 * n, 2)), expand_dims(reshape(y, ys), range(0, 2 * n, 2))
    return reshape(_product(*broadcast_arrays(*spread)), [i * j for i, j in zip(xs, ys, strict=True)])


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    """`numpy.cross`: the vector product of vectors of three components on an axis."""
    if axis is not None:
        axisa = axisb = axisc = axis
    sa, sb = lengths_of(a), lengths_of(b)
    axisa, axisb = axis_of(axisa, len(sa)), axis_of(axisb, len(sb))
    if sa[axisa] != 3 or sb[axisb] != 3:
        raise ValueError(f"cross: both vectors must have 3 components, got {sa[axisa]} and {sb[axisb]}")
    return record(_cross, (a, b), axisa, axisb, axis_of(axisc, max(len(sa), len(sb))))


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """`numpy.linalg.cross`: the vector product along an axis."""
    return cross(x1, x2, axis=axis)


def _cross(x: Any, y: Any, axisa: int, axisb: int, axisc: int) -> Any:
    x, y = same_dtype((x, y))
    x, y = broadcast_arrays(moveaxis(x, axisa, x.ndim - 1), moveaxis(y, axisb, y.ndim - 1))
    last = x.ndim - 1
    xs, ys = ([slice_in_dim(v, i, i + 1, axis=last) for i in range(3)] for v in (x, y))
    parts = [lax.sub(lax.mul(xs[i], ys[j]), lax.mul(xs[j], ys[i])) for i, j in ((1, 2), (2, 0), (0, 1))]
    return moveaxis(lax.concatenate(parts, last), last, axisc)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """`numpy.trace`: the sum of the diagonal of the matrices on two axes."""
    return _trace(a, offset, axis1, axis2, dtype)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """`numpy.linalg.trace`: the sum of the diagonal of the matrices on the last two axes."""
    return _trace(x, offset, -2, -1, dtype)


def _trace(a: Any, offset: Any, axis1: Any, axis2: Any, dtype: Any) -> Any:
    n = len(lengths_of(a))
    if n < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    static = () if dtype is None else (np.dtype(dtype),)
    return record(_diagonal_sum, (a,), index(offset), axis_of(axis1, n), axis_of(axis2, n), *static)


def _diagonal_sum(x: Any, offset: int, axis1: int, axis2: int, dtype: Any = None) -> Any:
    diagonal = diagonal_of(x, offset, axis1, axis2)
    return sum_arrays(diagonal, (diagonal.ndim - 1,), dtype)


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """`numpy.linalg.matmul`: the product of stacks of matrices."""
    return record(matmul_arrays, (x1, x2))


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """`numpy.linalg.multi_dot`: the product of matrices, in the order that costs least; vectors at the ends."""
    arrays = list(arrays)
    labels = [[i, i + 1] for i in range(len(arrays))]
    for place, label in ((0, 1), (-1, 0)):
        if len(lengths_of(arrays[place])) == 1:
            labels[place] = [labels[place][label]]
    counts = [label for pair in labels for label in pair]
    output = [label for label in counts if counts.count(label) == 1]
    return einsum(*[part for pair in zip(arrays, labels, strict=True) for part in pair], output)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """`numpy.linalg.matrix_power`: a square matrix times itself, n times."""
    lengths, n = lengths_of(a), index(n)
    if len(lengths) < 2 or lengths[-1] != lengths[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if n < 0:
        raise MissingRuleError("matrix_power with a negative power: take the inverse of the matrix before")
    return record(_matrix_power, (a,), n)


def _matrix_power(x: Any, n: int) -> Any:
    x = strong(x)
    size = x.shape[-1]
    i, j = (lax.broadcasted_iota(np.int64, (size, size), d) for d in (0, 1))
    product = None
    while n:
        if n & 1:
            product = x if product is None else matmul_arrays(product, x)
        n >>= 1
        x = matmul_arrays(x, x) if n else x
    if product is None:
        return broadcast_to(convert_element_type(lax.eq(i, j), x.dtype), x.shape)
    return product
