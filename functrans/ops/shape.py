"""Primitives that change the shape, or the order of the elements; broadcast_in_dim with its dual, reduce_sum.

Axes in parameters are never negative. A literal is one number everywhere, so its shape changes without an
equation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.caching import kept
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_linear, def_specialized_impl

__all__ = [
    "broadcast_in_dim",
    "broadcast_in_dim_p",
    "expand_dims",
    "expand_dims_p",
    "moveaxis",
    "ones_for_sums",
    "reduce_sum",
    "reduce_sum_p",
    "reshape",
    "reshape_p",
    "rev",
    "rev_p",
    "squeeze",
    "squeeze_p",
    "sum_as_product",
    "transpose",
    "transpose_p",
]

Shape = tuple[int, ...]


def splat(literal: Literal, shape: Shape) -> Literal:
    """A literal in another shape."""
    return Literal(literal.value, literal.aval.with_shape(shape))


# ------------------------------------------------------------------------------------------------------------
# broadcast_in_dim and reduce_sum, each the other's transpose


def broadcast_in_dim(operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Any:
    """An array of the given shape whose axis `broadcast_dimensions[i]` is axis i of the operand.

    Axes of length 1 are stretched; axes of the result that are not named are new.
    """
    shape, dims = tuple(shape), tuple(broadcast_dimensions)
    if operand.shape == shape and dims == tuple(range(len(shape))):
        return operand
    if type(operand) is Literal:
        return splat(operand, shape)
    return broadcast_in_dim_p.bind(operand, shape=shape, broadcast_dimensions=dims)


def _broadcast_in_dim_abstract(operand: Aval, *, shape: Shape, broadcast_dimensions: Shape) -> Aval:
    fits = len(broadcast_dimensions) == operand.ndim and list(broadcast_dimensions) == sorted(set(broadcast_dimensions))
    if not fits or any([n not in (1, shape[d]) for n, d in zip(operand.shape, broadcast_dimensions, strict=True)]):
        raise TypeError(f"broadcast_in_dim: {operand} does not fit into shape {shape} at axes {broadcast_dimensions}")
    return operand.with_shape(shape)


def _broadcast_in_dim_impl(operand: Aval, *, shape: Shape, broadcast_dimensions: Shape) -> Callable[..., Any]:
    aligned, strides, dtype = [1] * len(shape), [0] * len(shape), operand.dtype
    for i, (n, d) in enumerate(zip(operand.shape, broadcast_dimensions, strict=True)):
        aligned[d] = n
        strides[d] = dtype.itemsize * prod(operand.shape[i + 1 :]) if n == shape[d] else 0

    if dtype.kind == "V":  # of tapes
        return lambda x: np.broadcast_to(np.reshape(x, aligned), shape)

    def run(x: Any) -> Any:
        if not x.flags.c_contiguous:
            return np.broadcast_to(x.reshape(aligned), shape)
        # The same view in a tenth of the time.
        out: Any = np.ndarray(shape, dtype, x, 0, strides)
        out.setflags(False)
        return out

    return run


def _broadcast_in_dim_transpose(ct: Any, operand: Any, *, shape: Shape, broadcast_dimensions: Shape) -> tuple[Any]:
    stretched = [d for n, d in zip(operand.shape, broadcast_dimensions, strict=True) if n == 1 and shape[d] != 1]
    summed = reduce_sum(ct, [d for d in range(len(shape)) if d not in broadcast_dimensions or d in stretched])
    return (reshape(summed, operand.shape),)


def _broadcast_in_dim_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int], *, shape: Shape, broadcast_dimensions: Shape
) -> tuple[Any, int]:
    (operand,), (axis,) = operands, axes
    dims = (0, *[d + 1 for d in broadcast_dimensions])
    return broadcast_in_dim(moveaxis(operand, axis, 0), (size, *shape), dims), 0


broadcast_in_dim_p = Primitive("broadcast_in_dim")
broadcast_in_dim_p.is_view = True
def_abstract(broadcast_in_dim_p, _broadcast_in_dim_abstract)
def_specialized_impl(broadcast_in_dim_p, _broadcast_in_dim_impl)
def_linear(broadcast_in_dim_p, _broadcast_in_dim_transpose)
def_batch(broadcast_in_dim_p, _broadcast_in_dim_batch)


def reduce_sum(operand: Any, axes: Sequence[int]) -> Any:
    """The sum over axes, in the dtype of the operand."""
    axes = tuple(axes)
    return reduce_sum_p.bind(operand, axes=axes) if axes else operand


def _reduce_sum_abstract(operand: Aval, *, axes: Shape) -> Aval:
    if operand.dtype.kind == "b":
        raise TypeError(f"reduce_sum: {operand} must be converted to a number before")
    return Aval(without(operand.shape, axes), operand.dtype)


def _reduce_sum_impl(operand: Aval, *, axes: Shape) -> Callable[..., Any]:
    product = sum_as_product(operand, axes)
    if product is not None:
        return _sum_by_product(operand, product)
    axis = axes if len(axes) != 1 else axes[0]
    return lambda x: np.add.reduce(x, axis, x.dtype)


class SumAsProduct(NamedTuple):
    """A sum over axes that are the first or the last: `ones(n_rows) @ (x as rows @ ones(row))`."""

    n_rows: int
    """How many elements are summed up over the first axes; 1 if those are kept."""
    row: int
    """And over the last ones."""
    kept: Shape
    """The shape of the result."""


_LONGEST_ROW = 1024
"""Longer ones are summed up pairwise by the ufunc, which is as fast then, and rounds less."""
_MOST_ROWS = 131_072
"""For so many there are ones at hand."""


def sum_as_product(operand: Aval, axes: Shape) -> SumAsProduct | None:
    """How `reduce_sum` is taken with ones by BLAS; None if it is `np.add.reduce`, to the bit.

    The ufunc is slow where rows are short, and it adds up rows one by one, so that errors grow with their number
    (65536x9 float32: 730 us and an error of 3e-3, where the product takes 60 us and has 4e-4; 32x64 float64: 1.4 us
    and 0.6).
    """
    first, last = _outer_axes(operand, axes)
    if operand.dtype.char not in "fd" or len(first + last) != len(axes):
        return None
    n_rows, row = prod([operand.shape[d] for d in first]), prod([operand.shape[d] for d in last])
    if operand.size < 2 * n_rows * row or max(n_rows, row) < 2 or n_rows > _MOST_ROWS or row > _LONGEST_ROW:
        return None
    return SumAsProduct(n_rows, row, without(operand.shape, axes)) if operand.size else None


def _outer_axes(operand: Aval, axes: Shape) -> tuple[Shape, Shape]:
    """Those of some axes that are the first of an array, and of the others those that are the last."""
    chosen = sorted(axes)
    n_first = next((d for d in range(len(chosen)) if chosen[d] != d), len(chosen))
    rest = chosen[n_first:]
    last = [d for i, d in enumerate(reversed(rest)) if d == operand.ndim - 1 - i]
    return tuple(chosen[:n_first]), tuple(last)


@kept("ones for sums", 16)
def ones_for_sums(dtype: np.dtype[Any]) -> Any:
    """As many ones as any product for a sum needs."""
    ones = np.ones(_MOST_ROWS, dtype)
    ones.flags.writeable = False
    return ones


def _sum_by_product(operand: Aval, product: SumAsProduct) -> Callable[..., Any]:
    n_rows, row, kept = product
    ones = ones_for_sums(operand.dtype)
    of_rows, of_row = ones[:n_rows], ones[:row]
    if row == 1:
        if operand.ndim == 2:
            return of_rows.dot
        return lambda x: of_rows.dot(x.reshape(n_rows, -1)).reshape(kept)
    if n_rows == 1:
        if operand.ndim == 2:
            return lambda x: x.dot(of_row)
        return lambda x: x.reshape(-1, row).dot(of_row).reshape(kept)
    return lambda x: of_rows.dot(x.reshape(-1, row).dot(of_row).reshape(n_rows, -1)).reshape(kept)


def _reduce_sum_transpose(ct: Any, operand: Any, *, axes: Shape) -> tuple[Any]:
    return (broadcast_in_dim(ct, operand.shape, [d for d in range(operand.ndim) if d not in axes]),)


def _reduce_sum_batch(size: int, operands: Sequence[Any], axes_in: Sequence[int], *, axes: Shape) -> tuple[Any, int]:
    (operand,), (axis,) = operands, axes_in
    return reduce_sum(operand, [d + (d >= axis) for d in axes]), axis - sum([d < axis for d in axes])


reduce_sum_p = Primitive("reduce_sum")
def_abstract(reduce_sum_p, _reduce_sum_abstract)
def_specialized_impl(reduce_sum_p, _reduce_sum_impl)
def_linear(reduce_sum_p, _reduce_sum_transpose)
def_batch(reduce_sum_p, _reduce_sum_batch)


def without(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape without some of its axes."""
    return tuple([n for d, n in enumerate(shape) if d not in axes])


# ------------------------------------------------------------------------------------------------------------
# reshape


def reshape(operand: Any, new_sizes: Sequence[int]) -> Any:
    """The same elements, in C order, in another shape."""
    shape = tuple(new_sizes)
    if operand.shape == shape:
        return operand
    if type(operand) is Literal and prod(shape) == operand.aval.size:
        return splat(operand, shape)
    return reshape_p.bind(operand, new_sizes=shape)


def _reshape_abstract(operand: Aval, *, new_sizes: Shape) -> Aval:
    if prod(new_sizes) != operand.size or any([n < 0 for n in new_sizes]):
        raise TypeError(f"reshape: {operand} has {operand.size} elements, shape {new_sizes} has {prod(new_sizes)}")
    return operand.with_shape(new_sizes)


def _reshape_batch(size: int, operands: Sequence[Any], axes: Sequence[int], *, new_sizes: Shape) -> tuple[Any, int]:
    return reshape(moveaxis(operands[0], axes[0], 0), (size, *new_sizes)), 0


reshape_p = Primitive("reshape")
reshape_p.is_view = True
def_abstract(reshape_p, _reshape_abstract)
def_specialized_impl(reshape_p, lambda operand, *, new_sizes: lambda x: x.reshape(new_sizes))
def_linear(reshape_p, lambda ct, operand, *, new_sizes: (reshape(ct, operand.shape),))
def_batch(reshape_p, _reshape_batch)

# ------------------------------------------------------------------------------------------------------------
# squeeze and expand_dims, each the other's transpose


def squeeze(array: Any, dimensions: Sequence[int]) -> Any:
    """The array without some of its axes, each of which must have length 1.

    Raises:
        TypeError: if one of them has another length, or does not exist.

    >>> import numpy as np
    >>> squeeze(np.ones((1, 3, 1)), (0,)).shape
    (3, 1)
    """
    dims = canonical_axes(dimensions, array.ndim)
    if not dims:
        return array
    if type(array) is Literal:
        return splat(array, without(array.shape, dims))
    return squeeze_p.bind(array, dimensions=dims)


def expand_dims(array: Any, dimensions: Sequence[int]) -> Any:
    """The array with new axes of length 1, which are the axes `dimensions` of the result.

    >>> import numpy as np
    >>> expand_dims(np.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
    dims = canonical_axes(dimensions, array.ndim + len(tuple(dimensions)))
    if not dims:
        return array
    if type(array) is Literal:
        return splat(array, _expanded(array.shape, dims))
    return expand_dims_p.bind(array, dimensions=dims)


def canonical_axes(axes: Sequence[int], ndim: int) -> Shape:
    """Axes in rising order, counted from the front."""
    return tuple(sorted([d + ndim if d < 0 else d for d in axes]))


def _expanded(shape: Shape, dimensions: Shape) -> Shape:
    lengths = iter(shape)
    return tuple([1 if d in dimensions else next(lengths) for d in range(len(shape) + len(dimensions))])


def _are_axes(dimensions: Shape, ndim: int) -> bool:
    return len(set(dimensions)) == len(dimensions) and all([0 <= d < ndim for d in dimensions])


def _squeeze_abstract(array: Aval, *, dimensions: Shape) -> Aval:
    if not _are_axes(dimensions, array.ndim) or any([array.shape[d] != 1 for d in dimensions]):
        raise TypeError(f"squeeze: not all of the axes {dimensions} of {array} have length 1")
    return array.with_shape(without(array.shape, dimensions))


def _squeeze_impl(array: Aval, *, dimensions: Shape) -> Callable[..., Any]:
    shape = without(array.shape, dimensions)
    return lambda x: x.reshape(shape)


def _squeeze_batch(size: int, operands: Sequence[Any], axes: Sequence[int], *, dimensions: Shape) -> tuple[Any, int]:
    (array,), (axis,) = operands, axes
    return squeeze(array, [d + (d >= axis) for d in dimensions]), axis - sum([d < axis for d in dimensions])


squeeze_p = Primitive("squeeze")
squeeze_p.is_view = True
def_abstract(squeeze_p, _squeeze_abstract)
def_specialized_impl(squeeze_p, _squeeze_impl)
def_linear(squeeze_p, lambda ct, array, *, dimensions: (expand_dims(ct, dimensions),))
def_batch(squeeze_p, _squeeze_batch)


def _expand_dims_abstract(array: Aval, *, dimensions: Shape) -> Aval:
    if not _are_axes(dimensions, array.ndim + len(dimensions)):
        raise TypeError(f"expand_dims: {array} cannot get the new axes {dimensions}")
    return array.with_shape(_expanded(array.shape, dimensions))


def _expand_dims_impl(array: Aval, *, dimensions: Shape) -> Callable[..., Any]:
    shape = _expanded(array.shape, dimensions)
    return lambda x: x.reshape(shape)


def _expand_dims_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int], *, dimensions: Shape
) -> tuple[Any, int]:
    return expand_dims(moveaxis(operands[0], axes[0], 0), [d + 1 for d in dimensions]), 0


expand_dims_p = Primitive("expand_dims")
expand_dims_p.is_view = True
def_abstract(expand_dims_p, _expand_dims_abstract)
def_specialized_impl(expand_dims_p, _expand_dims_impl)
def_linear(expand_dims_p, lambda ct, array, *, dimensions: (squeeze(ct, dimensions),))
def_batch(expand_dims_p, _expand_dims_batch)

# ------------------------------------------------------------------------------------------------------------
# transpose


def transpose(operand: Any, permutation: Sequence[int]) -> Any:
    """The axes in another order: axis i of the result is axis `permutation[i]` of the operand."""
    permutation = tuple(permutation)
    if permutation == tuple(range(len(permutation))) and len(permutation) == operand.ndim:
        return operand
    if type(operand) is Literal and len(permutation) == operand.ndim:
        return splat(operand, tuple([operand.shape[d] for d in permutation]))
    return transpose_p.bind(operand, permutation=permutation)


def moveaxis(operand: Any, source: int, destination: int) -> Any:
    """The axes in the same order but for one, which is moved."""
    rest = [d for d in range(operand.ndim) if d != source]
    return transpose(operand, [*rest[:destination], source, *rest[destination:]])


def _transpose_abstract(operand: Aval, *, permutation: Shape) -> Aval:
    if sorted(permutation) != list(range(operand.ndim)):
        raise TypeError(f"transpose: {permutation} is not a permutation of the axes of {operand}")
    return operand.with_shape(tuple([operand.shape[d] for d in permutation]))


def _transpose_transpose(ct: Any, operand: Any, *, permutation: Shape) -> tuple[Any]:
    return (transpose(ct, [permutation.index(d) for d in range(len(permutation))]),)


def _transpose_batch(size: int, operands: Sequence[Any], axes: Sequence[int], *, permutation: Shape) -> tuple[Any, int]:
    (operand,), (axis,) = operands, axes
    return transpose(operand, [axis, *[d + (d >= axis) for d in permutation]]), 0


transpose_p = Primitive("transpose")
transpose_p.is_view = True
def_abstract(transpose_p, _transpose_abstract)
def_specialized_impl(transpose_p, lambda operand, *, permutation: lambda x: x.transpose(permutation))
def_linear(transpose_p, _transpose_transpose)
def_batch(transpose_p, _transpose_batch)

# ------------------------------------------------------------------------------------------------------------
# rev


def rev(operand: Any, dimensions: Sequence[int]) -> Any:
    """The elements in reverse order along some axes.

    >>> import numpy as np
    >>> rev(np.arange(3), (0,))
    array([2, 1, 0])
    """
    dims = canonical_axes(dimensions, operand.ndim)
    return rev_p.bind(operand, dimensions=dims) if dims and type(operand) is not Literal else operand


def _rev_abstract(operand: Aval, *, dimensions: Shape) -> Aval:
    if not _are_axes(dimensions, operand.ndim):
        raise TypeError(f"rev: {operand} does not have all of the axes {dimensions}, each once")
    return operand


def _rev_impl(operand: Aval, *, dimensions: Shape) -> Callable[..., Any]:
    index = tuple([slice(None, None, -1 if d in dimensions else 1) for d in range(operand.ndim)])
    return lambda x: x[index]


def _rev_batch(size: int, operands: Sequence[Any], axes: Sequence[int], *, dimensions: Shape) -> tuple[Any, int]:
    return rev(operands[0], [d + (d >= axes[0]) for d in dimensions]), axes[0]


rev_p = Primitive("rev")
rev_p.is_view = True
def_abstract(rev_p, _rev_abstract)
def_specialized_impl(rev_p, _rev_impl)
def_linear(rev_p, lambda ct, operand, *, dimensions: (rev(ct, dimensions),))
def_batch(rev_p, _rev_batch)
