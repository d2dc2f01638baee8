"""gather and scatter_add, each the other's transpose: reading windows of an array, and adding to them.

What the indices mean is in `windows.py`. The other scatters are in `scatter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    def_abstract,
    def_batch,
    def_general_jvp,
    def_jvp,
    def_multilinear,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.ops.elementwise import neg
from functrans.ops.families import NUMBER, align
from functrans.ops.shape import moveaxis
from functrans.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    Windows,
    canonical,
    check_windows,
    gathering,
    scattering,
    signed,
    window_sizes,
    windows_shape,
)

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "gather",
    "gather_p",
    "scatter_add",
    "scatter_add_p",
    "scatter_sub",
]

Shape = tuple[int, ...]

# ------------------------------------------------------------------------------------------------------------
# gather


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Any:
    """Windows of an array, boxes of one size, whose places are the vectors along the indices' last axis.

    Args:
        operand: the array.
        start_indices: integers; the result has a window for each vector.
        dimension_numbers: which axis is which.
        slice_sizes: the size of the windows along each axis of the operand.
        unique_indices: a promise that no two windows overlap, which makes the derivative faster.
        indices_are_sorted: a promise that the index vectors are sorted.
        mode: what happens to windows that are not wholly inside; by default they are filled.
        fill_value: with what; by default NaN, the least signed integer, the largest unsigned one, or True.

    Raises:
        TypeError: if sizes and axes do not fit.
        IndexError: when it is computed with mode "promise_in_bounds" and a window is not inside.

    >>> import numpy as np
    >>> rows = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    >>> gather(np.arange(6).reshape(3, 2), np.array([[2], [0]]), rows, (1, 2))
    array([[4, 5],
           [0, 1]])
    """
    mode = GatherScatterMode.from_any(mode)
    return gather_p.bind(
        operand,
        start_indices,
        dimension_numbers=canonical(dimension_numbers),
        slice_sizes=tuple(slice_sizes),
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
        mode=mode,
        fill_value=_fill_value(operand.dtype, fill_value) if mode is GatherScatterMode.FILL_OR_DROP else None,
    )


def _fill_value(dtype: np.dtype[Any], value: Any) -> Any:
    if value is None:
        value = {"b": True, "f": np.nan, "c": np.nan}.get(dtype.kind)
    if value is None:
        info = np.iinfo(dtype)
        value = info.min if dtype.kind == "i" else info.max
    return dtype.type(value).item()


def _gather_abstract(
    operand: Aval,
    indices: Aval,
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Shape,
    **params: Any,
) -> Aval:
    check_windows("gather", operand, indices, dimension_numbers, slice_sizes)
    return operand.with_shape(windows_shape(indices.shape, dimension_numbers, slice_sizes))


def _gather_impl(
    operand: Aval,
    indices: Aval,
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Shape,
    mode: GatherScatterMode,
    fill_value: Any,
    **params: Any,
) -> Callable[..., Any]:
    windows = Windows(operand, indices, dimension_numbers, slice_sizes, mode)
    dtype = operand.dtype
    if prod(windows.shape) == 0 and prod(indices.shape) == 0:
        return lambda x, indices: np.empty(windows.shape, dtype)
    if windows.single:
        return _gather_single(windows, dtype, fill_value)
    if windows.axis is not None:
        return _gather_along_axis(windows, windows.axis, fill_value)
    return _gather_general(windows, fill_value)


def _gather_single(windows: Windows, dtype: np.dtype[Any], fill_value: Any) -> Callable[..., Any]:
    def run(x: Any, indices: Any) -> Any:
        place = windows.single_place(indices)
        if place is None:
            return np.full(windows.shape, fill_value, dtype)
        window = x[place]
        return window.copy() if type(window) is np.ndarray else window

    return run


def _gather_along_axis(windows: Windows, axis: int, fill_value: Any) -> Callable[..., Any]:
    before = tuple(range(axis))
    n_batch, rank = len(windows.batch), len(windows.shape)
    # The result of `take` has the batch axes in the place of the axis that was indexed.
    in_mesh = (*before, *range(axis + n_batch, rank))
    order = [*range(axis, axis + n_batch), *in_mesh]
    perm = tuple([order[d] for d in windows.from_mesh])
    perm_or_none = None if perm == tuple(range(rank)) else perm
    mode = windows.mode

    def run(x: Any, indices: Any) -> Any:
        outside = None
        if mode is GatherScatterMode.FILL_OR_DROP:
            starts, outside = windows.starts(indices)
            out = x.take(starts[..., 0], axis)
        elif mode is GatherScatterMode.CLIP:
            out = x.take(signed(indices)[..., 0], axis, None, "clip")
        else:
            starts = signed(indices)
            windows.check_negative(starts)
            out = x.take(starts[..., 0], axis)
        if outside is not None:
            out[(slice(None),) * axis + (outside,)] = fill_value
        return out if perm_or_none is None else out.transpose(perm_or_none)

    return run


def _gather_general(windows: Windows, fill_value: Any) -> Callable[..., Any]:
    mesh = windows.mesh
    perm = tuple([mesh.to_mesh[d] for d in windows.from_mesh])

    def run(x: Any, indices: Any) -> Any:
        starts, outside = windows.starts(indices)
        out = mesh.view(x)[mesh.arrays(starts)]
        if outside is not None:
            out[outside] = fill_value
        return out.transpose(perm)

    return run


def _gather_transpose(
    ct: Any,
    operand: Any,
    indices: Any,
    *,
    dimension_numbers: GatherDimensionNumbers,
    unique_indices: bool,
    indices_are_sorted: bool,
    mode: GatherScatterMode,
    **params: Any,
) -> Any:
    numbers = scattering(dimension_numbers)
    promises: dict[str, Any] = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
    return scatter_add(zeros_like(operand), indices, ct, numbers, mode=mode, **promises)


def _gather_jvp(t: Any, out: Any, operand: Any, indices: Any, **params: Any) -> Any:
    if params["mode"] is GatherScatterMode.FILL_OR_DROP:
        params["fill_value"] = _fill_value(t.dtype, 0)
    return gather_p.bind(t, indices, **params)


def _gather_batch(
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Shape,
    unique_indices: bool,
    indices_are_sorted: bool,
    **params: Any,
) -> tuple[Any, int]:
    (operand, indices), (axis, indices_axis) = operands, axes
    operand = operand if axis is None else moveaxis(operand, axis, 0)
    indices = indices if indices_axis is None else moveaxis(indices, indices_axis, 0)
    numbers, n_operand = dimension_numbers, int(axis is not None)
    offset = shifted(numbers.offset_dims)
    batching = shifted(numbers.operand_batching_dims, n_operand)
    index_batching = shifted(numbers.start_indices_batching_dims, int(indices_axis is not None))
    if indices_axis is None:
        offset, slice_sizes = (0, *offset), (size, *slice_sizes)
    elif axis is None:
        unique_indices = indices_are_sorted = False  # one array is read by all
    else:
        batching, index_batching = (0, *batching), (0, *index_batching)
        slice_sizes = (min(1, size), *slice_sizes)
    numbers = GatherDimensionNumbers(
        offset,
        shifted(numbers.collapsed_slice_dims, n_operand),
        shifted(numbers.start_index_map, n_operand),
        batching,
        index_batching,
    )
    return gather_p.bind(
        operand,
        indices,
        dimension_numbers=numbers,
        slice_sizes=slice_sizes,
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
        **params,
    ), 0


def shifted(axes: Shape, by: int = 1) -> Shape:
    """Axes after so many have been put in front."""
    return tuple([d + by for d in axes])


def _fills(inputs: Sequence[Any], params: Mapping[str, Any]) -> bool:
    return params["mode"] is GatherScatterMode.FILL_OR_DROP


gather_p = Primitive("gather")
gather_p.places_zeros = _fills
def_abstract(gather_p, _gather_abstract)
def_specialized_impl(gather_p, _gather_impl)
def_multilinear(gather_p, _gather_transpose, None)
def_jvp(gather_p, _gather_jvp, None)
def_batch(gather_p, _gather_batch)

# ------------------------------------------------------------------------------------------------------------
# scatter_add


def scatter_add(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """The array with updates added to windows of it, whose places are the indices' vectors (last axis).

    Where windows overlap, all are added, one after the other.

    Args:
        operand: the array.
        scatter_indices: integers.
        updates: a window for each index vector, of the operand's dtype.
        dimension_numbers: which axis is which.
        indices_are_sorted: a promise that the index vectors are sorted.
        unique_indices: a promise that no two windows overlap, which is faster. If some do, the
            result is wrong.
        mode: what happens to windows that are not wholly inside; by default they are left away.

    Raises:
        TypeError: if shapes, axes or dtypes do not fit.
        IndexError: when it is computed with mode "promise_in_bounds" and a window is not inside.

    >>> import numpy as np
    >>> elements = ScatterDimensionNumbers((), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter_add(np.zeros(3), np.array([[2], [0], [2]]), np.array([1.0, 2.0, 3.0]), elements)
    array([2., 0., 4.])
    """
    return bind_scatter(
        scatter_add_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def scatter_sub(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """As `scatter_add`, but the updates are subtracted."""
    return scatter_add(
        operand,
        scatter_indices,
        neg(updates),
        dimension_numbers,
        mode=mode,
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
    )


def bind_scatter(
    primitive: Primitive,
    operand: Any,
    indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: str | GatherScatterMode | None,
) -> Any:
    """Apply a primitive of the scatter family, its parameters made canonical."""
    return primitive.bind(
        operand,
        indices,
        updates,
        dimension_numbers=canonical(dimension_numbers),
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
        mode=GatherScatterMode.from_any(mode),
    )


def scatter_primitive(name: str, ufunc: np.ufunc | None, kinds: str) -> Primitive:
    """A primitive of the scatter family: its type, its value and its batching rule.

    Args:
        name: its name.
        ufunc: what combines an element with an update; None if the update takes its place.
        kinds: the kinds of dtype that it takes.
    """
    primitive = Primitive(name)

    def abstract(
        operand: Aval,
        indices: Aval,
        updates: Aval,
        *,
        dimension_numbers: ScatterDimensionNumbers,
        **params: Any,
    ) -> Aval:
        numbers = dimension_numbers
        n_windows = len(numbers.inserted_window_dims) + len(numbers.operand_batching_dims)
        fits = len(numbers.update_window_dims) == operand.ndim - n_windows
        if not fits or any([not 0 <= d < updates.ndim for d in numbers.update_window_dims]):
            raise TypeError(f"{name}: operand {operand} and updates {updates} have not the axes of {numbers}")
        sizes = window_sizes(operand.shape, updates.shape, numbers)
        check_windows(name, operand, indices, gathering(numbers), sizes)
        shape = windows_shape(indices.shape, gathering(numbers), sizes)
        if updates.shape != shape or updates.dtype != operand.dtype:
            raise TypeError(
                f"{name}: for operand {operand} and indices {indices} the updates must be "
                f"{Aval(shape, operand.dtype)}, got {updates}"
            )
        if operand.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {operand.dtype.name}")
        return Aval(operand.shape, operand.dtype)

    def implementation(operand: Aval, indices: Aval, updates: Aval, **params: Any) -> Callable[..., Any]:
        return scatter_implementation(ufunc, operand, indices, updates, **params)

    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, implementation)
    def_batch(primitive, lambda *args, **params: _scatter_batch(primitive, *args, **params))
    return primitive


def scatter_implementation(
    ufunc: np.ufunc | None,
    operand: Aval,
    indices: Aval,
    updates: Aval,
    *,
    dimension_numbers: ScatterDimensionNumbers,
    unique_indices: bool,
    mode: GatherScatterMode,
    **params: Any,
) -> Callable[..., Any]:
    """A function of operand, indices and updates."""
    sizes = window_sizes(operand.shape, updates.shape, dimension_numbers)
    windows = Windows(operand, indices, gathering(dimension_numbers), sizes, mode)
    if prod(windows.shape) == 0 and prod(indices.shape) == 0:
        return lambda x, indices, updates: np.array(x)
    if windows.single:
        return _scatter_single(windows, ufunc)
    pairs = _PAIRS.get(operand.dtype)
    if ufunc is np.add and pairs is not None and not unique_indices and _are_whole_rows(windows):
        return _add_pairs(operand, indices, updates, pairs, dimension_numbers, mode)
    return _scatter_general(windows, ufunc, unique_indices)


_PAIRS: dict[Any, np.dtype[Any]] = {
    np.dtype(np.float32): np.dtype(np.complex64),
    np.dtype(np.float64): np.dtype(np.complex128),
}


def _are_whole_rows(windows: Windows) -> bool:
    """Whether all windows have rows, of an even length, as long as the operand's, which are rows of the updates too."""
    last = len(windows.sizes) - 1
    return (
        last in windows.window_axes
        and last not in windows.mapped
        and windows.sizes[last] == windows.operand_shape[last]
        and windows.sizes[last] % 2 == 0
        and windows.to_mesh[-1] == len(windows.shape) - 1
    )


def _add_pairs(
    operand: Aval,
    indices: Aval,
    updates: Aval,
    pairs: np.dtype[Any],
    dimension_numbers: ScatterDimensionNumbers,
    mode: GatherScatterMode,
) -> Callable[..., Any]:
    """Two floats are added at a time, as the parts of a complex number: half as many positions, and the same bits."""
    halved, halved_updates = [Aval((*x.shape[:-1], x.shape[-1] // 2), pairs) for x in (operand, updates)]
    sizes = window_sizes(halved.shape, halved_updates.shape, dimension_numbers)
    run = _scatter_general(Windows(halved, indices, gathering(dimension_numbers), sizes, mode), np.add, False)
    dtype = operand.dtype

    def run_on_pairs(x: Any, indices: Any, updates: Any) -> Any:
        x, updates = np.ascontiguousarray(x), np.ascontiguousarray(updates)
        return run(x.view(pairs), indices, updates.view(pairs)).view(dtype)

    return run_on_pairs


def _scatter_single(windows: Windows, ufunc: np.ufunc | None) -> Callable[..., Any]:
    def run(x: Any, indices: Any, updates: Any) -> Any:
        out = np.array(x)
        place = windows.single_place(indices)
        if place is not None:
            out[place] = updates if ufunc is None else ufunc(out[place], updates)
        return out

    return run


def _scatter_general(windows: Windows, ufunc: np.ufunc | None, unique_indices: bool) -> Callable[..., Any]:
    mesh = windows.mesh
    # `ufunc.at` on positions in the flat array is faster than on rows, and gives the same bits. Windows that
    # do not overlap are faster as a whole. Of two updates the last one must stay, and NumPy assigns in order
    # for a single axis of indices.
    in_order = len(windows.batch) == 1 and not mesh.has_moving
    direct = (in_order or unique_indices) if ufunc is None else (unique_indices and not windows.is_elements)

    def run(x: Any, indices: Any, updates: Any) -> Any:
        out = np.array(x, order="C")
        starts, outside = windows.starts(indices)
        updates = updates.transpose(windows.to_mesh)
        if direct and outside is None:
            view, index = mesh.view(out), mesh.arrays(np.ascontiguousarray(starts))
            updates = updates.transpose(mesh.from_mesh)
            view[index] = updates if ufunc is None else ufunc(view[index], updates)
            return out
        positions, elements = windows.flat.positions(starts), out.reshape(-1)
        if outside is not None:
            positions, updates = positions[~outside], updates[~outside]
        if ufunc is None:
            elements[positions.reshape(-1)] = updates.reshape(-1)
        else:
            ufunc.at(elements, positions.reshape(-1), updates.reshape(-1))
        return out

    return run


def _scatter_batch(
    primitive: Primitive,
    size: int,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    dimension_numbers: ScatterDimensionNumbers,
    **params: Any,
) -> tuple[Any, int]:
    indices, indices_axis = operands[1], axes[1]
    operand, updates = align(size, [operands[0], operands[2]], [axes[0], axes[2]], 0)
    numbers = dimension_numbers
    window, batching = shifted(numbers.update_window_dims), shifted(numbers.operand_batching_dims)
    index_batching = numbers.scatter_indices_batching_dims
    if indices_axis is None:
        window = (0, *window)
    else:
        indices = moveaxis(indices, indices_axis, 0)
        batching, index_batching = (0, *batching), (0, *shifted(index_batching))
    numbers = ScatterDimensionNumbers(
        window,
        shifted(numbers.inserted_window_dims),
        shifted(numbers.scatter_dims_to_operand_dims),
        batching,
        index_batching,
    )
    return primitive.bind(operand, indices, updates, dimension_numbers=numbers, **params), 0


def inverse_gather(operand: Any, indices: Any, updates: Any, params: dict[str, Any]) -> Any:
    """What an array has in the places where a scatter with these parameters writes; zero outside."""
    numbers = params["dimension_numbers"]
    return gather(
        operand,
        indices,
        gathering(numbers),
        window_sizes(operand.shape, updates.shape, numbers),
        unique_indices=params["unique_indices"],
        indices_are_sorted=params["indices_are_sorted"],
        mode=params["mode"],
        fill_value=0,
    )


def _scatter_add_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    out = scatter_add_p.bind(*primals, **params)
    (operand, indices, _), (t_operand, _, t_updates) = primals, tangents
    if t_updates is None:
        return out, t_operand
    t_operand = zeros_like(operand) if t_operand is None else t_operand
    return out, scatter_add_p.bind(t_operand, indices, t_updates, **params)


def _scatter_add_transpose(ct: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> tuple[Any, None, Any]:
    ct_updates = inverse_gather(ct, indices, updates, params) if type(updates) is UndefinedPrimal else None
    return ct, None, ct_updates


scatter_add_p = scatter_primitive("scatter_add", np.add, NUMBER)
scatter_add_p.places_zeros = among_zeros
def_general_jvp(scatter_add_p, _scatter_add_jvp)
def_transpose(scatter_add_p, _scatter_add_transpose)
