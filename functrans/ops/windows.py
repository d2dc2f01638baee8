"""Where the windows of gather and scatter lie, in NumPy's terms.

Both work on windows of an operand, boxes of one size whose places are given by an array of index vectors.
An axis of the operand is of one of three kinds: the windows extend along it, or it is collapsed (the windows
have length 1 along it, and no axis for it), or it is a batching axis, shared with an axis of the indices.

`Windows` turns that into index arrays, made as far as possible before the indices are known.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.core.aval import Aval

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "Windows",
    "canonical",
    "check_windows",
    "gathering",
    "scattering",
    "signed",
    "window_sizes",
    "windows_shape",
]

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]


class GatherScatterMode(Enum):
    """What happens to a window that is not wholly inside the operand."""

    CLIP = auto()
    """It is moved inside."""
    FILL_OR_DROP = auto()
    """Gathered, it is filled with one value; scattered, it is left away. Negative indices are outside too."""
    PROMISE_IN_BOUNDS = auto()
    """There is none; if there is, computing raises `IndexError`. Negative indices are outside too."""

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode for "clip", "fill" or "drop" (the same, and the default), or "promise_in_bounds"."""
        if isinstance(mode, GatherScatterMode):
            return mode
        names = {
            "clip": "CLIP",
            None: "FILL_OR_DROP",
            "fill": "FILL_OR_DROP",
            "drop": "FILL_OR_DROP",
            "promise_in_bounds": "PROMISE_IN_BOUNDS",
        }
        if mode not in names:
            raise ValueError(f'unknown mode {mode!r}: use "clip", "fill", "drop" or "promise_in_bounds"')
        return GatherScatterMode[names[mode]]


class GatherDimensionNumbers(NamedTuple):
    """Which axis is which in a gather.

    Attributes:
        offset_dims: the axes of the result along which the windows extend.
        collapsed_slice_dims: the axes of the operand, of length 1 in the windows, that are missing there.
        start_index_map: for each component of an index vector, which axis of the operand it is an index of.
        operand_batching_dims: batch axes of the operand: window i of the batch is taken from part i.
        start_indices_batching_dims: the axes of the indices that belong to them.
    """

    offset_dims: Shape
    collapsed_slice_dims: Shape
    start_index_map: Shape
    operand_batching_dims: Shape = ()
    start_indices_batching_dims: Shape = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axis is which in a scatter.

    Attributes:
        update_window_dims: the axes of the updates along which the windows extend.
        inserted_window_dims: the axes of the operand, of length 1 in the windows, that are missing there.
        scatter_dims_to_operand_dims: for each component of an index vector, which axis of the operand it is
            an index of.
        operand_batching_dims: batch axes of the operand: window i of the batch goes to part i.
        scatter_indices_batching_dims: the axes of the indices that belong to them.
    """

    update_window_dims: Shape
    inserted_window_dims: Shape
    scatter_dims_to_operand_dims: Shape
    operand_batching_dims: Shape = ()
    scatter_indices_batching_dims: Shape = ()


def canonical(numbers: Any) -> Any:
    """Dimension numbers whose fields are tuples of ints."""
    return type(numbers)(*[tuple(map(int, field)) for field in numbers])


def gathering(numbers: ScatterDimensionNumbers) -> GatherDimensionNumbers:
    """The dimension numbers of the gather that reads what the scatter writes."""
    return GatherDimensionNumbers(*numbers)


def scattering(numbers: GatherDimensionNumbers) -> ScatterDimensionNumbers:
    """The dimension numbers of the scatter that writes what the gather reads."""
    return ScatterDimensionNumbers(*numbers)


def window_sizes(operand: Shape, updates: Shape, numbers: ScatterDimensionNumbers) -> Shape:
    """The size of the windows of a scatter along each axis of the operand."""
    extents = iter([updates[d] for d in numbers.update_window_dims])
    without_axis = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    return tuple([min(1, n) if d in without_axis else next(extents) for d, n in enumerate(operand)])


def windows_shape(indices: Shape, numbers: GatherDimensionNumbers, sizes: Shape) -> Shape:
    """The shape of all windows together: that of the result of a gather, or of the updates of a scatter."""
    without_axis = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    extents = iter([n for d, n in enumerate(sizes) if d not in without_axis])
    batch = iter(indices[:-1])
    rank = len(numbers.offset_dims) + len(indices) - 1
    return tuple([next(extents) if d in numbers.offset_dims else next(batch) for d in range(rank)])


def check_windows(name: str, operand: Aval, indices: Aval, numbers: GatherDimensionNumbers, sizes: Shape) -> None:
    """Check that windows of these sizes fit the operand and that the dimension numbers make sense.

    Raises:
        TypeError: if not.
    """
    offset, collapsed, mapped, batching, index_batching = numbers

    def require(holds: bool, problem: str) -> None:
        if not holds:
            raise TypeError(
                f"{name}: {problem}, for operand {operand}, indices {indices}, windows of sizes {sizes} and {numbers}"
            )

    require(indices.dtype.kind in "iu", "the indices must be integers")
    require(indices.ndim > 0, "the indices need a last axis, which holds the index vectors")
    n_batch = indices.ndim - 1
    require(_are_sorted_axes(offset, len(offset) + n_batch), "the window axes must be axes of the result, sorted")
    require(
        _are_sorted_axes(collapsed, operand.ndim) and _are_sorted_axes(batching, operand.ndim),
        "the collapsed and the batching axes must be axes of the operand, sorted",
    )
    require(
        _are_axes((*mapped, *batching), operand.ndim),
        "the indexed and the batching axes must be different axes of the operand",
    )
    require(
        _are_axes(index_batching, n_batch) and len(index_batching) == len(batching),
        "each batching axis of the operand needs one of the indices",
    )
    require(not set(collapsed) & set(batching), "a batching axis is not collapsed")
    require(len(mapped) == indices.shape[-1], "the index vectors need one component for each indexed axis")
    require(
        len(sizes) == operand.ndim == len(offset) + len(collapsed) + len(batching),
        "each axis of the operand must be a window axis, collapsed or batching",
    )
    require(
        all([operand.shape[d] == indices.shape[i] for d, i in zip(batching, index_batching, strict=True)]),
        "batching axes of operand and indices must have the same length",
    )
    require(
        all([sizes[d] == 1 for d in collapsed]) and all([sizes[d] <= 1 for d in batching]),
        "windows must have length 1 along collapsed and batching axes",
    )
    require(
        all([0 <= size <= n for size, n in zip(sizes, operand.shape, strict=True)]) or prod(indices.shape) == 0,
        "the windows must fit into the operand",
    )


def _are_axes(dims: Shape, ndim: int) -> bool:
    return len(set(dims)) == len(dims) and all([0 <= d < ndim for d in dims])


def _are_sorted_axes(dims: Shape, ndim: int) -> bool:
    return _are_axes(dims, ndim) and list(dims) == sorted(dims)


class Windows:
    """The windows of a gather or scatter, all that can be known of them before the indices.

    The *mesh* order of axes is: the batch axes (those of the indices but the last), then the windows' own.

    Attributes:
        single: whether there is just one window, so that it is a basic slice.
        axis: the one axis that is indexed, if it is collapsed and windows are whole along the others.
        is_elements: whether each window is one element.
        shape: of all windows together.
    """

    def __init__(
        self,
        operand: Aval,
        indices: Aval,
        numbers: GatherDimensionNumbers,
        sizes: Shape,
        mode: GatherScatterMode,
    ) -> None:
        self.operand_shape, self.sizes, self.mode = operand.shape, sizes, mode
        self.batch = indices.shape[:-1]
        self.mapped = numbers.start_index_map
        self.shape = windows_shape(indices.shape, numbers, sizes)
        self.numbers = numbers
        self.without_axis = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        self.window_axes = [d for d in range(operand.ndim) if d not in self.without_axis]
        self.limits = [operand.shape[d] - sizes[d] for d in self.mapped]
        self.limits_array = np.array([max(n, 0) for n in self.limits], np.uintp)
        self.single = not self.batch
        self.is_elements = not self.window_axes
        others_whole = all([sizes[d] == operand.shape[d] for d in self.window_axes])
        one_collapsed = self.mapped == numbers.collapsed_slice_dims and len(self.mapped) == 1
        self.axis = self.mapped[0] if one_collapsed and not numbers.operand_batching_dims and others_whole else None
        batch_axes = [d for d in range(len(self.shape)) if d not in numbers.offset_dims]
        self.to_mesh = (*batch_axes, *numbers.offset_dims)
        """The permutation that brings an array of all windows into mesh order."""
        self.from_mesh = tuple([self.to_mesh.index(d) for d in range(len(self.shape))])

    # ---- the places

    def starts(self, indices: Any) -> tuple[Array, Array | None]:
        """The index vectors, moved inside, and which windows were outside (None: none, or they are clipped).

        Raises:
            IndexError: if one is outside and the mode promises that there is none.
        """
        starts = signed(indices)
        if self.mode is GatherScatterMode.CLIP:
            return np.minimum(np.maximum(starts, 0), self.limits_array.view(np.intp)), None
        outside = starts.view(np.uintp) > self.limits_array  # a negative index is a huge one
        if not outside.any():
            return starts, None
        if self.mode is GatherScatterMode.PROMISE_IN_BOUNDS:
            self._raise_outside(starts, outside)
        starts = np.minimum(np.maximum(starts, 0), self.limits_array.view(np.intp))
        return starts, np.logical_or.reduce(outside, -1)

    def single_place(self, indices: Any) -> tuple[Any, ...] | None:
        """The basic index of the only window; None if it is outside and the mode is FILL."""
        place = [slice(0, n) if d in self.window_axes else 0 for d, n in enumerate(self.sizes)]
        for d, start, limit in zip(self.mapped, indices.tolist(), self.limits, strict=True):
            if not 0 <= start <= limit:
                if self.mode is GatherScatterMode.PROMISE_IN_BOUNDS:
                    raise _out_of_bounds(start, d, self.operand_shape[d])
                if self.mode is GatherScatterMode.FILL_OR_DROP:
                    return None
                start = min(max(start, 0), limit)
            place[d] = slice(start, start + self.sizes[d]) if d in self.window_axes else start
        return tuple(place)

    def check_negative(self, starts: Array) -> None:
        """Raise `IndexError` for a negative index, which NumPy would count from the end."""
        if np.minimum.reduce(starts, axis=None, initial=0) < 0:
            self._raise_outside(starts, starts < 0)

    def _raise_outside(self, starts: Array, outside: Array) -> None:
        *_, component = first = tuple(np.argwhere(outside)[0])
        d = self.mapped[component]
        raise _out_of_bounds(starts[first], d, self.operand_shape[d])

    # ---- as positions in the flat operand

    @cached_property
    def flat(self) -> _FlatWindows:
        """The windows as positions in the operand's elements in C order."""
        return _FlatWindows(self)

    # ---- as index arrays

    @cached_property
    def mesh(self) -> _MeshWindows:
        """The windows as NumPy's index arrays, with slices where windows can be sliced."""
        return _MeshWindows(self)

    def batch_index(self, operand_axis: int, n_behind: int) -> Array:
        """0, 1, 2, ... along the batch axis that a batching axis of the operand belongs to."""
        which = self.numbers.operand_batching_dims.index(operand_axis)
        axis = self.numbers.start_indices_batching_dims[which]
        return _along(self.operand_shape[operand_axis], len(self.batch) - 1 - axis + n_behind)


def _along(n: int, n_behind: int) -> Array:
    return np.arange(n).reshape(-1, *[1] * n_behind)


def signed(indices: Any) -> Array:
    """Indices in NumPy's own index dtype."""
    if indices.dtype == np.intp:
        return indices
    if indices.dtype == np.uintp:
        indices = np.minimum(indices, np.uintp(np.iinfo(np.intp).max))
    return indices.astype(np.intp)


def _out_of_bounds(index: Any, axis: int, n: int) -> IndexError:
    return IndexError(f"index {index} is out of bounds for axis {axis} with size {n}")


class _FlatWindows:
    """The windows as positions in the elements of the operand, in C order."""

    def __init__(self, windows: Windows) -> None:
        strides = [prod(windows.operand_shape[d + 1 :]) for d in range(len(windows.operand_shape))]
        n_axes = len(windows.window_axes)
        self.behind = (1,) * n_axes
        self.strides = np.array([strides[d] for d in windows.mapped], np.intp)
        offsets: Any = np.zeros(self.behind, np.intp)
        for position, d in enumerate(windows.window_axes):
            offsets = offsets + _along(windows.sizes[d], n_axes - 1 - position) * strides[d]
        for d in windows.numbers.operand_batching_dims:
            offsets = offsets + windows.batch_index(d, n_axes) * strides[d]
        self.offsets = offsets if offsets.shape else None
        self.is_position = len(windows.mapped) == 1 and strides[windows.mapped[0]] == 1

    def positions(self, starts: Array) -> Array:
        """The positions of all elements of the windows, in mesh order."""
        first = starts[..., 0] if self.is_position else starts @ self.strides
        return first if self.offsets is None else first.reshape(*first.shape, *self.behind) + self.offsets


class _MeshWindows:
    """The windows as index arrays, for `view(operand)[arrays]`.

    Axes along which the windows do not move are sliced. The others come first, with one index array each, so
    that NumPy puts the axes of the index arrays first too: the *indexed* order is the batch axes, then the
    window axes with an index array, then those with a slice.
    """

    def __init__(self, windows: Windows) -> None:
        sizes, mapped, batching = windows.sizes, windows.mapped, windows.numbers.operand_batching_dims
        still = [
            d
            for d in windows.window_axes
            if d not in mapped or (windows.mode is GatherScatterMode.CLIP and sizes[d] == windows.operand_shape[d])
        ]
        moving = [d for d in windows.window_axes if d not in still]
        indexed = [d for d in range(len(sizes)) if d not in still]
        self.has_moving = bool(moving)
        self.extra = not any([d in mapped for d in indexed])
        """No index array has all batch axes: one is made, for a new axis."""
        self.perm = (*indexed, *still)
        self.slices = tuple([slice(0, sizes[d]) for d in still])
        self.behind = (1,) * len(moving)
        self.components: list[tuple[int | None, Any]] = []
        """For each indexed axis which component of the index vectors it is at, and what is added to that."""
        for d in indexed:
            offset: Any = None
            if d in batching:
                offset = windows.batch_index(d, len(moving))
            elif d in moving and sizes[d] != 1:
                offset = _along(sizes[d], len(moving) - 1 - moving.index(d))
            self.components.append((mapped.index(d) if d in mapped else None, offset))
        n_batch = len(windows.batch)
        self.from_mesh = (
            *range(n_batch),
            *[n_batch + windows.window_axes.index(d) for d in (*moving, *still)],
        )
        """The permutation that brings windows in mesh order into indexed order."""
        self.to_mesh = tuple([self.from_mesh.index(d) for d in range(len(self.from_mesh))])

    def view(self, operand: Array) -> Array:
        """The operand's memory with the indexed axes first."""
        operand = operand.transpose(self.perm)
        return operand[None] if self.extra else operand

    def arrays(self, starts: Array) -> tuple[Any, ...]:
        """The index of all windows in that view."""
        batch = starts.shape[:-1]
        index: list[Any] = [np.zeros((*batch, *self.behind), np.intp)] if self.extra else []
        for component, offset in self.components:
            if component is None:
                index.append(0 if offset is None else offset)
                continue
            start = starts[..., component]
            if self.behind:
                start = start.reshape(*batch, *self.behind)
            index.append(start if offset is None else start + offset)
        return (*index, *self.slices)
