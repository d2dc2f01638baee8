"""dot_general, the product of two arrays summed over any of their axes, and its common forms.

All that can be decided beforehand is decided when the implementation is made for two shapes: which NumPy call
computes the product, and how its operands are looked at as matrices. In the end there is one call of
`ndarray.dot`, which reaches BLAS with the least overhead that NumPy has (4x4: 0.5 us; `np.dot` 0.8, `@` 1.2), or of
`np.matmul` where there are batch axes, or a plain multiplication where nothing is summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_multilinear, def_specialized_impl
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import transpose

__all__ = [
    "DotDimensionNumbers",
    "batch_matmul",
    "batched_dot",
    "dot",
    "dot_cotangents",
    "dot_general",
    "dot_general_p",
    "dot_product",
]

Axes = tuple[int, ...]
DotDimensionNumbers = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]
"""((axes of lhs, axes of rhs) that are summed over, (axes of lhs, axes of rhs) that are matched, as batches)."""
Product = Callable[[Any, Any], Any]

# --------------------------------------------------------------------------------------------------------------------
# The functions


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The product of two arrays, summed over some axes and matched over others.

    Args:
        lhs, rhs: arrays of one dtype.
        dimension_numbers: `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`, four sequences of axes.
            Contracting axes are paired and summed over, batch axes are paired and kept.
        precision: for JAX's signature; NumPy knows one precision.
        preferred_element_type: the dtype of the result, in which the sums are taken too, unless it is smaller than
            that of the operands.

    Returns:
        An array with the batch axes, then the other axes of `lhs`, then the other axes of `rhs`. An empty sum is zero.
        Booleans are combined by `and` and `or`, as in `numpy.matmul`.

    Raises:
        TypeError: if the dtypes differ, or axes that are paired.

    >>> import numpy as np
    >>> from functrans.ops.linear_algebra import dot_general
    >>> dot_general(np.ones((5, 2, 3)), np.ones((5, 3, 4)), (((2,), (1,)), ((0,), (0,)))).shape
    (5, 2, 4)
    """
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    dims = (
        (_axes(lhs_contract, lhs.ndim), _axes(rhs_contract, rhs.ndim)),
        (_axes(lhs_batch, lhs.ndim), _axes(rhs_batch, rhs.ndim)),
    )
    if preferred_element_type is None:
        return dot_general_p.bind(lhs, rhs, dimension_numbers=dims)
    dtype = np.result_type(lhs.dtype, preferred_element_type)
    product = dot_general_p.bind(
        convert_element_type(lhs, dtype), convert_element_type(rhs, dtype), dimension_numbers=dims
    )
    return convert_element_type(product, preferred_element_type)


def dot(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The product of vectors and matrices: the last axis of `lhs` is summed with the first of `rhs`.

    With `dimension_numbers` it is `dot_general`.

    Raises:
        TypeError: if an operand has neither one axis nor two, or if the axes or dtypes differ.
    """
    if dimension_numbers is None:
        if not (1 <= lhs.ndim <= 2 and 1 <= rhs.ndim <= 2):
            raise TypeError(f"dot: operands must have one or two axes, got shapes {lhs.shape} and {rhs.shape}")
        dimension_numbers = (((lhs.ndim - 1,), (0,)), ((), ()))
    return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: Any = None) -> Any:
    """The products of two stacks of matrices, which are on the last two axes; all axes before are matched.

    Raises:
        TypeError: if the operands have not the same number of axes, at least two, or shapes or dtypes do not fit.
    """
    if lhs.ndim != rhs.ndim or lhs.ndim < 2:
        raise TypeError(
            "batch_matmul: operands must have the same number of axes, at least two, "
            f"got shapes {lhs.shape} and {rhs.shape}"
        )
    batch = tuple(range(lhs.ndim - 2))
    return dot_general(lhs, rhs, (((lhs.ndim - 1,), (rhs.ndim - 2,)), (batch, batch)), precision)


def _axes(axes: Sequence[int], ndim: int) -> Axes:
    return tuple([int(d) + ndim if -ndim <= d < 0 else int(d) for d in axes])


def _rest(ndim: int, *axes: Sequence[int]) -> Axes:
    """The axes that are in none of the lists."""
    return tuple([d for d in range(ndim) if not any([d in some for some in axes])])


def _pick(values: Sequence[int], places: Sequence[int]) -> Axes:
    return tuple([values[i] for i in places])


# --------------------------------------------------------------------------------------------------------------------
# dot_general: its type


def _dot_general_abstract(lhs: Aval, rhs: Aval, *, dimension_numbers: DotDimensionNumbers) -> Aval:
    contract, batch = dimension_numbers
    problem = (
        "the operands must have the same dtype"
        if lhs.dtype != rhs.dtype
        else _problem_with_axes(lhs, rhs, contract, "contracting")
        or _problem_with_axes(lhs, rhs, batch, "batch")
        or _problem_with_repeats(lhs, contract[0] + batch[0])
        or _problem_with_repeats(rhs, contract[1] + batch[1])
    )
    if problem:
        raise TypeError(f"dot_general: {problem}, got {lhs} and {rhs} with dimension_numbers {dimension_numbers}")
    kept = _rest(lhs.ndim, contract[0], batch[0]), _rest(rhs.ndim, contract[1], batch[1])
    shape = _pick(lhs.shape, batch[0]) + _pick(lhs.shape, kept[0]) + _pick(rhs.shape, kept[1])
    return Aval(shape, lhs.dtype)


def _problem_with_axes(lhs: Aval, rhs: Aval, axes: tuple[Axes, Axes], what: str) -> str | None:
    if len(axes[0]) != len(axes[1]):
        return f"as many {what} axes must be named for one operand as for the other"
    if any([not 0 <= d < x.ndim for x, some in zip((lhs, rhs), axes, strict=True) for d in some]):
        return f"a {what} axis is out of bounds"
    if _pick(lhs.shape, axes[0]) != _pick(rhs.shape, axes[1]):
        return f"paired {what} axes must have the same length"
    return None


def _problem_with_repeats(operand: Aval, axes: Axes) -> str | None:
    return f"an axis of {operand} is named twice" if len(set(axes)) != len(axes) else None


# --------------------------------------------------------------------------------------------------------------------
# dot_general: its value


def dot_product(lhs: Aval, rhs: Aval, *, dimension_numbers: DotDimensionNumbers) -> Product:
    """The function of arrays of two avals that computes their product."""
    contract, batch = dimension_numbers
    contract = _best_order(lhs, rhs, contract)
    kept = _rest(lhs.ndim, contract[0], batch[0]), _rest(rhs.ndim, contract[1], batch[1])
    if not contract[0]:
        return _outer_product(lhs, rhs, batch, kept)
    if batch[0]:
        return _batched_product(lhs, rhs, batch, kept, contract)
    return _matrix_product(lhs, rhs, kept, contract)


def _best_order(lhs: Aval, rhs: Aval, contract: tuple[Axes, Axes]) -> tuple[Axes, Axes]:
    """The pairs of contracting axes in the order of the larger operand's axes, so that it need not be copied."""
    larger = 0 if lhs.size >= rhs.size else 1
    order = sorted(range(len(contract[0])), key=lambda i: contract[larger][i])
    return _pick(contract[0], order), _pick(contract[1], order)


def _outer_product(lhs: Aval, rhs: Aval, batch: tuple[Axes, Axes], kept: tuple[Axes, Axes]) -> Product:
    """Nothing is summed: a multiplication, with axes of length 1 where the other operand has its own."""
    left = _layout(lhs, batch[0] + kept[0], (*_pick(lhs.shape, batch[0] + kept[0]), *[1] * len(kept[1])))
    right = _layout(
        rhs, batch[1] + kept[1], (*_pick(rhs.shape, batch[1]), *[1] * len(kept[0]), *_pick(rhs.shape, kept[1]))
    )
    return _composed(np.multiply, left, right)


def _matrix_product(lhs: Aval, rhs: Aval, kept: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> Product:
    """Without batch axes: one product of two matrices, or vectors where all axes of an operand are summed over."""
    multiply: Product = np.ndarray.dot
    left = _as_matrix(lhs, kept[0], contract[0])
    if lhs.dtype.kind == "b":
        multiply = np.matmul  # ndarray.dot has no fast loop for booleans (15 us against 6 at 64x64)
    elif lhs.dtype.kind in "iu" and kept[0] and kept[1] and rhs.size >= _COPIED_INTEGERS:
        right = _as_matrix(rhs, kept[1], contract[1])
        return _shaped(_composed(_integer_product, left, right), lhs, rhs, kept)
    right = _as_matrix(rhs, contract[1], kept[1])
    return _shaped(_composed(multiply, left, right), lhs, rhs, kept)


_COPIED_INTEGERS = 1024
"""From this size on the second factor of an integer product is copied."""


def _integer_product(left: Any, right: Any) -> Any:
    # There is no BLAS for integers, and NumPy's loop wants both factors contiguous along the sum (7.4 ms against 24
    # at 256x256). The result is exact in any order.
    return left.dot(np.ascontiguousarray(right).transpose())


def _shaped(product: Product, lhs: Aval, rhs: Aval, kept: tuple[Axes, Axes]) -> Product:
    """The product of matrices, with the axes back that were joined."""
    if len(kept[0]) <= 1 and len(kept[1]) <= 1:
        return product
    shape = _pick(lhs.shape, kept[0]) + _pick(rhs.shape, kept[1])
    return lambda x, y: product(x, y).reshape(shape)


def _batched_product(
    lhs: Aval, rhs: Aval, batch: tuple[Axes, Axes], kept: tuple[Axes, Axes], contract: tuple[Axes, Axes]
) -> Product:
    """With batch axes: a product of stacks of matrices."""
    sizes = _pick(lhs.shape, batch[0])
    rows, columns = _pick(lhs.shape, kept[0]), _pick(rhs.shape, kept[1])
    summed = prod(_pick(lhs.shape, contract[0]))
    if not rows and not columns and lhs.dtype.kind != "c":  # vecdot conjugates
        left = _layout(lhs, batch[0] + contract[0], (*sizes, summed))
        return _composed(np.vecdot, left, _layout(rhs, batch[1] + contract[1], (*sizes, summed)))
    left = _layout(lhs, batch[0] + kept[0] + contract[0], (*sizes, prod(rows), summed))
    right = _layout(rhs, batch[1] + contract[1] + kept[1], (*sizes, summed, prod(columns)))
    product = _composed(np.matmul, left, right)
    if len(rows) == 1 and len(columns) == 1:
        return product
    shape = sizes + rows + columns
    return lambda x, y: product(x, y).reshape(shape)


# How an operand is looked at. None: as it is.

View = Callable[[Any], Any] | None


def _as_matrix(operand: Aval, rows: Axes, columns: Axes) -> View:
    """The operand as a matrix, or as a vector if there are no rows or no columns."""
    shape = tuple([prod(_pick(operand.shape, axes)) for axes in (rows, columns) if axes])
    if rows and columns and columns + rows == tuple(range(operand.ndim)):
        # Its transpose needs no copy, and BLAS takes it in any case.
        if operand.ndim == 2:
            return np.ndarray.transpose
        flipped = shape[::-1]
        return lambda x: x.reshape(flipped).transpose()
    return _layout(operand, rows + columns, shape)


def _layout(operand: Aval, permutation: Axes, shape: tuple[int, ...]) -> View:
    """The operand with its axes in another order, then in another shape."""
    moved = permutation != tuple(range(operand.ndim))
    if _pick(operand.shape, permutation) == shape:
        return (lambda x: x.transpose(permutation)) if moved else None
    if moved:
        return lambda x: x.transpose(permutation).reshape(shape)
    return lambda x: x.reshape(shape)


def _composed(function: Product, left: View, right: View) -> Product:
    if left is None and right is None:
        return function
    if left is None:
        return lambda x, y: function(x, right(y))  # type: ignore[misc]
    if right is None:
        return lambda x, y: function(left(x), y)
    return lambda x, y: function(left(x), right(y))


# --------------------------------------------------------------------------------------------------------------------
# dot_general: its transpose, in each operand


def _dot_general_transpose_lhs(
    ct: Any, lhs: Any, rhs: Any, *, dimension_numbers: DotDimensionNumbers, product: Callable[..., Any] = dot_general
) -> Any:
    (contract, rhs_contract), (batch, rhs_batch) = dimension_numbers
    n_batch, kept = len(batch), _rest(lhs.ndim, contract, batch)
    rhs_kept = _rest(rhs.ndim, rhs_contract, rhs_batch)
    ct_kept = tuple(range(n_batch, n_batch + len(kept)))
    ct_summed = tuple(range(n_batch + len(kept), ct.ndim))
    axes = (ct_kept, ct_summed), (rhs_contract, rhs_kept, rhs_batch)
    return _cotangent(ct, rhs, kept, contract, batch, *axes, product)


def _dot_general_transpose_rhs(
    ct: Any, lhs: Any, rhs: Any, *, dimension_numbers: DotDimensionNumbers, product: Callable[..., Any] = dot_general
) -> Any:
    (lhs_contract, contract), (lhs_batch, batch) = dimension_numbers
    n_batch, kept = len(batch), _rest(rhs.ndim, contract, batch)
    lhs_kept = _rest(lhs.ndim, lhs_contract, lhs_batch)
    ct_summed = tuple(range(n_batch, n_batch + len(lhs_kept)))
    ct_kept = tuple(range(n_batch + len(lhs_kept), ct.ndim))
    axes = (ct_kept, ct_summed), (lhs_contract, lhs_kept, lhs_batch)
    return _cotangent(ct, lhs, kept, contract, batch, *axes, product)


def _cotangent(
    ct: Any,
    other: Any,
    kept: Axes,
    contract: Axes,
    batch: Axes,
    ct_axes: tuple[Axes, Axes],
    other_axes: tuple[Axes, Axes, Axes],
    product: Callable[..., Any],
) -> Any:
    """The product of ct and the other operand, its axes where the operand has them: kept, contracting and batch.

    Of the two orders of the factors the one is taken that leaves the fewer axes to be moved: for `x @ W` the
    cotangent of W is `x.T @ ct`, not the transpose of `ct.T @ x`.
    """
    _, ct_summed = ct_axes
    other_contract, other_kept, other_batch = other_axes
    ct_batch = tuple(range(len(batch)))
    # The contracting axes come out in the order in which the other operand has theirs.
    order = sorted(range(len(contract)), key=lambda i: other_contract[i])
    come_out = _pick(contract, order)
    if batch + come_out + kept == tuple(range(len(batch + contract + kept))):
        return product(other, ct, ((other_kept, ct_summed), (other_batch, ct_batch)))
    out = product(ct, other, ((ct_summed, other_kept), (ct_batch, other_batch)))
    axes = batch + kept + come_out
    return transpose(out, [axes.index(d) for d in range(len(axes))])


dot_cotangents = (_dot_general_transpose_lhs, _dot_general_transpose_rhs)
"""The transpose rules in each operand; they can be given another `product` than `dot_general`."""

# --------------------------------------------------------------------------------------------------------------------
# dot_general: batched, and the primitive


def _dot_general_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, dimension_numbers: DotDimensionNumbers
) -> tuple[Any, int]:
    (lhs, rhs), (dims, out_axis) = operands, batched_dot(operands, axes, dimension_numbers)
    return dot_general(lhs, rhs, dims), out_axis


def batched_dot(
    operands: Sequence[Any], axes: Sequence[int | None], dimension_numbers: DotDimensionNumbers
) -> tuple[DotDimensionNumbers, int]:
    """The dimension numbers of a product of operands of which some are stacked, and the batch axis of the result."""
    (lhs, rhs), (lhs_axis, rhs_axis) = operands, axes
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    lhs_contract, lhs_batch = _shifted(lhs_contract, lhs_axis), _shifted(lhs_batch, lhs_axis)
    rhs_contract, rhs_batch = _shifted(rhs_contract, rhs_axis), _shifted(rhs_batch, rhs_axis)
    if lhs_axis is not None and rhs_axis is not None:
        lhs_batch, rhs_batch = (lhs_axis, *lhs_batch), (rhs_axis, *rhs_batch)
        out_axis = 0
    else:  # an axis more that is kept
        lhs_kept = _rest(lhs.ndim, lhs_contract, lhs_batch)
        rhs_kept = _rest(rhs.ndim, rhs_contract, rhs_batch)
        place = lhs_kept.index(lhs_axis) if lhs_axis is not None else len(lhs_kept) + rhs_kept.index(rhs_axis or 0)
        out_axis = len(lhs_batch) + place
    return ((lhs_contract, rhs_contract), (lhs_batch, rhs_batch)), out_axis


def _shifted(axes: Axes, new: int | None) -> Axes:
    """Axes of an operand, after it has got a new one."""
    return axes if new is None else tuple([d + (d >= new) for d in axes])


dot_general_p = Primitive("dot_general")
def_abstract(dot_general_p, _dot_general_abstract)
def_specialized_impl(dot_general_p, dot_product)
def_multilinear(dot_general_p, *dot_cotangents)
def_batch(dot_general_p, _dot_general_batch)
