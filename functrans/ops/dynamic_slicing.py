"""dynamic_slice and dynamic_update_slice: a slice whose place is computed, read or replaced.

Starts are clamped so that the slice lies inside of the array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    def_abstract,
    def_batch,
    def_general_jvp,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.ops.comparison import lt, select
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add
from functrans.ops.families import align
from functrans.ops.indexing import gather
from functrans.ops.joining import concatenate
from functrans.ops.scatter import scatter
from functrans.ops.shape import expand_dims, moveaxis, squeeze
from functrans.ops.slicing import index_in_dim
from functrans.ops.windows import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers

__all__ = [
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_slice_p",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "dynamic_update_slice_p",
]

Shape = tuple[int, ...]
Place = Callable[[Sequence[Any]], tuple[Any, ...]]

# ------------------------------------------------------------------------------------------------------------
# What both have in common: the starts


def _canonical_starts(
    operand: Any, start_indices: Any, allow_negative: bool | Sequence[bool]
) -> tuple[list[Any], tuple[bool, ...]]:
    """The starts as scalars, and whether each counts from the end where it is negative."""
    if hasattr(start_indices, "ndim"):
        if start_indices.ndim != 1:
            raise TypeError(f"starts must be scalars or an array of one axis, got shape {start_indices.shape}")
        n = start_indices.shape[0]
        start_indices = [index_in_dim(start_indices, i, keepdims=False) for i in range(n)]
    starts = list(start_indices)
    allow = (allow_negative,) * len(starts) if isinstance(allow_negative, bool) else tuple(allow_negative)
    for i, start in enumerate(starts):
        if isinstance(start, (int, np.integer)) and not isinstance(start, bool):
            starts[i] = Literal(int(start), Aval((), np.dtype(np.int64)))
    return starts, allow


def _check(name: str, operand: Aval, starts: Sequence[Aval], sizes: Shape, allow: Sequence[bool]) -> None:
    if not len(starts) == operand.ndim == len(sizes) == len(allow):
        raise TypeError(
            f"{name}: {operand} needs {operand.ndim} starts and sizes, got {len(starts)} starts and sizes {sizes}"
        )
    if any([start.shape or start.dtype.kind not in "iu" for start in starts]):
        raise TypeError(f"{name}: starts must be integer scalars, got {', '.join(map(str, starts))}")
    if any([not 0 <= size <= n for size, n in zip(sizes, operand.shape, strict=True)]):
        raise TypeError(f"{name}: a slice of sizes {sizes} does not fit into {operand}")


def _place(shape: Shape, sizes: Shape, allow: Sequence[bool]) -> Place:
    """A function from the starts to NumPy's index of the slice."""
    whole = tuple([slice(None) for _ in shape])
    moving = [
        (d, size, n - size, n if from_end else 0)
        for d, (n, size, from_end) in enumerate(zip(shape, sizes, allow, strict=True))
        if size != n
    ]

    def place(starts: Sequence[Any]) -> tuple[Any, ...]:
        index = list(whole)
        for d, size, limit, n in moving:
            start = int(starts[d])
            if start < 0:
                start += n
            start = 0 if start < 0 else limit if start > limit else start
            index[d] = slice(start, start + size)
        return tuple(index)

    return place


def _index_vectors(
    size: int, starts: Sequence[Any], axes: Sequence[int | None], shape: Shape, allow: Sequence[bool]
) -> Any:
    """The starts of a batch of slices as one array of index vectors, none counting from the end."""
    columns = []
    for start, n, from_end in zip(align(size, starts, axes, 0), shape, allow, strict=True):
        column = convert_element_type(start, np.int64)
        if from_end and start.dtype.kind == "i":
            column = select(lt(column, _splat(0, size)), add(column, _splat(n, size)), column)
        columns.append(expand_dims(column, (1,)))
    return concatenate(columns, 1)


def _splat(value: int, size: int) -> Literal:
    return Literal(value, Aval((size,), np.dtype(np.int64)))


_ZERO = Literal(0, Aval((), np.dtype(np.int64)))

# ------------------------------------------------------------------------------------------------------------
# dynamic_slice


def dynamic_slice(
    operand: Any,
    start_indices: Any,
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Any:
    """A slice of given sizes that starts at computed indices, which are clamped so that it lies inside.

    Args:
        operand: the array.
        start_indices: an integer scalar for each axis, or an array of them.
        slice_sizes: the shape of the result.
        allow_negative_indices: whether negative starts count from the end (before they are clamped), for
            all axes or for each.

    Raises:
        TypeError: if the starts are not integers, or a size is larger than its axis.

    >>> import numpy as np
    >>> dynamic_slice(np.arange(5), [3], (3,)), dynamic_slice(np.arange(5), [-4], (2,))
    (array([2, 3, 4]), array([1, 2]))
    """
    starts, allow = _canonical_starts(operand, start_indices, allow_negative_indices)
    return dynamic_slice_p.bind(operand, *starts, slice_sizes=tuple(slice_sizes), allow_negative_indices=allow)


def dynamic_slice_in_dim(
    operand: Any, start_index: Any, slice_size: int, axis: int = 0, *, allow_negative_indices: bool = True
) -> Any:
    """`dynamic_slice` along one axis.

    >>> import numpy as np
    >>> dynamic_slice_in_dim(np.arange(5), 1, 2)
    array([1, 2])
    """
    axis = axis + operand.ndim if axis < 0 else axis
    sizes = (*operand.shape[:axis], slice_size, *operand.shape[axis + 1 :])
    starts = _starts_in_dim(operand, start_index, axis)
    return dynamic_slice(operand, starts, sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: Any, index: Any, axis: int = 0, keepdims: bool = True, *, allow_negative_indices: bool = True
) -> Any:
    """The part of an array at a computed index along an axis, which is kept with length 1 or dropped.

    >>> import numpy as np
    >>> dynamic_index_in_dim(np.arange(5), 1, keepdims=False)
    array(1)
    """
    axis = axis + operand.ndim if axis < 0 else axis
    part = dynamic_slice_in_dim(operand, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return part if keepdims else squeeze(part, (axis,))


def _starts_in_dim(operand: Any, start: Any, axis: int) -> list[Any]:
    return [start if d == axis else 0 for d in range(operand.ndim)]


def _dynamic_slice_abstract(
    operand: Aval, *starts: Aval, slice_sizes: Shape, allow_negative_indices: tuple[bool, ...]
) -> Aval:
    _check("dynamic_slice", operand, starts, slice_sizes, allow_negative_indices)
    return operand.with_shape(slice_sizes)


def _dynamic_slice_impl(
    operand: Aval, *starts: Aval, slice_sizes: Shape, allow_negative_indices: tuple[bool, ...]
) -> Callable[..., Any]:
    place = _place(operand.shape, slice_sizes, allow_negative_indices)
    return lambda x, *starts: x[place(starts)]


def _dynamic_slice_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    return dynamic_slice_p.bind(*primals, **params), dynamic_slice_p.bind(tangents[0], *primals[1:], **params)


def _dynamic_slice_transpose(
    ct: Any, operand: Any, *starts: Any, slice_sizes: Shape, allow_negative_indices: tuple[bool, ...]
) -> list[Any]:
    zeros = zeros_like(operand)
    whole = dynamic_update_slice_p.bind(zeros, ct, *starts, allow_negative_indices=allow_negative_indices)
    return [whole] + [None] * len(starts)


def _dynamic_slice_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    slice_sizes: Shape,
    allow_negative_indices: tuple[bool, ...],
) -> tuple[Any, int]:
    operand, *starts = operands
    axis = axes[0]
    if not any([a is not None for a in axes[1:]]):
        x = moveaxis(operand, axis, 0)  # type: ignore[arg-type]
        return dynamic_slice_p.bind(
            x,
            _ZERO,
            *starts,
            slice_sizes=(size, *slice_sizes),
            allow_negative_indices=(False, *allow_negative_indices),
        ), 0
    shape = operand.shape if axis is None else (*operand.shape[:axis], *operand.shape[axis + 1 :])
    vectors = _index_vectors(size, starts, axes[1:], shape, allow_negative_indices)
    window_dims = tuple(range(1, 1 + len(shape)))
    if axis is None:
        numbers = GatherDimensionNumbers(window_dims, (), tuple(range(len(shape))))
    else:
        operand, slice_sizes = moveaxis(operand, axis, 0), (min(1, size), *slice_sizes)
        numbers = GatherDimensionNumbers(window_dims, (), window_dims, (0,), (0,))
    return gather(
        operand, vectors, numbers, slice_sizes, mode=GatherScatterMode.CLIP, unique_indices=axis is not None
    ), 0


dynamic_slice_p = Primitive("dynamic_slice")
dynamic_slice_p.is_view = True
def_abstract(dynamic_slice_p, _dynamic_slice_abstract)
def_specialized_impl(dynamic_slice_p, _dynamic_slice_impl)
def_general_jvp(dynamic_slice_p, _dynamic_slice_jvp)
def_transpose(dynamic_slice_p, _dynamic_slice_transpose)
def_batch(dynamic_slice_p, _dynamic_slice_batch)

# ------------------------------------------------------------------------------------------------------------
# dynamic_update_slice


def dynamic_update_slice(
    operand: Any,
    update: Any,
    start_indices: Any,
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Any:
    """The array with the slice that starts at computed indices replaced. Starts are as in `dynamic_slice`.

    Raises:
        TypeError: if the starts are not integers, or the update is larger than the array or of another dtype.

    >>> import numpy as np
    >>> dynamic_update_slice(np.zeros(4), np.ones(2), [1])
    array([0., 1., 1., 0.])
    """
    starts, allow = _canonical_starts(operand, start_indices, allow_negative_indices)
    return dynamic_update_slice_p.bind(operand, update, *starts, allow_negative_indices=allow)


def dynamic_update_slice_in_dim(
    operand: Any, update: Any, start_index: Any, axis: int, *, allow_negative_indices: bool = True
) -> Any:
    """`dynamic_update_slice` along one axis.

    >>> import numpy as np
    >>> dynamic_update_slice_in_dim(np.zeros(4), np.ones(2), -2, axis=0)
    array([0., 0., 1., 1.])
    """
    axis = axis + operand.ndim if axis < 0 else axis
    starts = _starts_in_dim(operand, start_index, axis)
    return dynamic_update_slice(operand, update, starts, allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: Any, update: Any, index: Any, axis: int, *, allow_negative_indices: bool = True
) -> Any:
    """The array with the part at a computed index along an axis replaced. The update may lack that axis.

    >>> import numpy as np
    >>> dynamic_update_index_in_dim(np.zeros((2, 2)), np.ones(2), 1, axis=0)
    array([[0., 0.],
           [1., 1.]])
    """
    axis = axis + operand.ndim if axis < 0 else axis
    if update.ndim != operand.ndim:
        update = expand_dims(update, (axis,))
    return dynamic_update_slice_in_dim(operand, update, index, axis, allow_negative_indices=allow_negative_indices)


def _dynamic_update_slice_abstract(
    operand: Aval, update: Aval, *starts: Aval, allow_negative_indices: tuple[bool, ...]
) -> Aval:
    if update.dtype != operand.dtype or update.ndim != operand.ndim:
        raise TypeError(f"dynamic_update_slice: {update} cannot replace a slice of {operand}")
    _check("dynamic_update_slice", operand, starts, update.shape, allow_negative_indices)
    return operand.strong


def _dynamic_update_slice_impl(
    operand: Aval, update: Aval, *starts: Aval, allow_negative_indices: tuple[bool, ...]
) -> Callable[..., Any]:
    place = _place(operand.shape, update.shape, allow_negative_indices)

    def run(x: Any, update: Any, *starts: Any) -> Any:
        out = np.array(x)
        out[place(starts)] = update
        return out

    return run


def _dynamic_update_slice_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    filled = [zeros_like(x) if t is None else t for x, t in zip(primals[:2], tangents[:2], strict=True)]
    return (
        dynamic_update_slice_p.bind(*primals, **params),
        dynamic_update_slice_p.bind(*filled, *primals[2:], **params),
    )


def _dynamic_update_slice_transpose(
    ct: Any, operand: Any, update: Any, *starts: Any, allow_negative_indices: tuple[bool, ...]
) -> list[Any]:
    allow, cts = allow_negative_indices, [None, None]
    if type(operand) is UndefinedPrimal:
        cts[0] = dynamic_update_slice_p.bind(ct, zeros_like(update), *starts, allow_negative_indices=allow)
    if type(update) is UndefinedPrimal:
        cts[1] = dynamic_slice_p.bind(ct, *starts, slice_sizes=update.shape, allow_negative_indices=allow)
    return cts + [None] * len(starts)


def _dynamic_update_slice_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    allow_negative_indices: tuple[bool, ...],
) -> tuple[Any, int]:
    starts = operands[2:]
    operand, update = align(size, operands[:2], axes[:2], 0)
    if not any([a is not None for a in axes[2:]]):
        return dynamic_update_slice_p.bind(
            operand, update, _ZERO, *starts, allow_negative_indices=(False, *allow_negative_indices)
        ), 0
    vectors = _index_vectors(size, starts, axes[2:], operand.shape[1:], allow_negative_indices)
    window_dims = tuple(range(1, operand.ndim))
    numbers = ScatterDimensionNumbers(window_dims, (), window_dims, (0,), (0,))
    return scatter(
        operand,
        vectors,
        update,
        numbers,
        mode=GatherScatterMode.CLIP,
        unique_indices=True,
        indices_are_sorted=True,
    ), 0


dynamic_update_slice_p = Primitive("dynamic_update_slice")
dynamic_update_slice_p.places_zeros = among_zeros
def_abstract(dynamic_update_slice_p, _dynamic_update_slice_abstract)
def_specialized_impl(dynamic_update_slice_p, _dynamic_update_slice_impl)
def_general_jvp(dynamic_update_slice_p, _dynamic_update_slice_jvp)
def_transpose(dynamic_update_slice_p, _dynamic_update_slice_transpose)
def_batch(dynamic_update_slice_p, _dynamic_update_slice_batch)
