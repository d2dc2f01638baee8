"""Cases of `functrans.ops.indexing` and `functrans.ops.scatter`; the references loop over the windows."""

import numpy as np

from functrans.ops import indexing, scatter
from functrans.ops.indexing import GatherDimensionNumbers, ScatterDimensionNumbers
from functrans.ops.shape import reshape
from functrans.ops.slicing import slice_in_dim
from tests.cases.case import ANY, FLOATS, NUMBERS, REALS, Case, Operand

OUTSIDE = {"clip": 2, "fill": 2, "promise_in_bounds": 0}


def _windows(shape, indices, numbers, sizes, mode):
    """For each index vector its place in the batch, and the index of its window in the operand, or None."""
    collapsed = (*numbers[1], *numbers[3])
    for batch in np.ndindex(indices.shape[:-1]):
        starts = dict.fromkeys(range(len(shape)), 0)
        starts.update(zip(numbers[2], indices[batch].tolist(), strict=True))
        starts.update({d: batch[i] for d, i in zip(numbers[3], numbers[4], strict=True)})
        outside = [d for d, start in starts.items() if not 0 <= start <= shape[d] - sizes[d]]
        starts = {d: min(max(start, 0), shape[d] - sizes[d]) for d, start in starts.items()}
        index = tuple([s if d in collapsed else slice(s, s + sizes[d]) for d, s in starts.items()])
        yield batch, None if outside and mode == "fill" else index


def _in_windows(batch, numbers, ndim):
    """The index of a window among all windows."""
    place = iter(batch)
    return tuple([slice(None) if d in numbers[0] else next(place) for d in range(ndim)])


def _gathered(x, indices, numbers, sizes, mode, shape):
    out = np.full(shape, 7).astype(x.dtype)
    for batch, index in _windows(x.shape, indices, numbers, sizes, mode):
        if index is not None:
            out[_in_windows(batch, numbers, len(shape))] = x[index]
    return out


def _scattered(combine, x, indices, updates, numbers, sizes, mode):
    out = np.array(x)
    for batch, index in _windows(x.shape, indices, numbers, sizes, mode):
        if index is not None:
            out[index] = combine(out[index], updates[_in_windows(batch, numbers, updates.ndim)])
    return out


# name: shapes of operand and indices, dimension numbers (in the order of both classes), sizes of the windows
GEOMETRIES = {
    "rows": ((4, 3), (5, 1), ((1,), (0,), (0,)), (1, 3)),
    "columns, windows first": ((4, 3), (2, 2, 1), ((0,), (1,), (1,)), (4, 1)),
    "elements": ((4, 3), (6, 2), ((), (0, 1), (1, 0)), (1, 1)),
    "boxes": ((4, 3), (2, 3, 2), ((0, 3), (), (0, 1)), (2, 2)),
    "boxes with a whole axis": ((2, 4, 3), (3, 1), ((0, 2), (0,), (1,)), (1, 2, 3)),
    "one": ((4, 3), (2,), ((0,), (0,), (0, 1)), (1, 2)),
    "batched": ((3, 4), (3, 2, 1), ((), (1,), (1,), (0,), (0,)), (1, 1)),
    "batched boxes": ((4, 3), (2, 3, 1), ((0,), (), (0,), (1,), (1,)), (2, 1)),
    "no component": ((2, 3), (2, 0), ((1, 2), (), ()), (1, 3)),
    "no windows": ((4, 3), (0, 1), ((1,), (0,), (0,)), (1, 3)),
}


def _shape_of_windows(indices, numbers, sizes):
    without_axis = (*numbers[1], *(numbers[3] if len(numbers) > 3 else ()))
    extents = iter([n for d, n in enumerate(sizes) if d not in without_axis])
    batch = iter(indices[:-1])
    rank = len(numbers[0]) + len(indices) - 1
    return tuple([next(extents) if d in numbers[0] else next(batch) for d in range(rank)])


def _indices(shape, indices, numbers, sizes, mode):
    high = min([shape[d] - sizes[d] for d in numbers[2]], default=0)
    return Operand(indices, -OUTSIDE[mode], high + OUTSIDE[mode], dtype="int64")


def _gather_case(name, mode):
    shape, indices, numbers, sizes = GEOMETRIES[name]
    numbers = GatherDimensionNumbers(*numbers)
    out = _shape_of_windows(indices, numbers, sizes)
    return Case(
        indexing.gather_p,
        lambda x, i: indexing.gather(x, i, numbers, sizes, mode=mode, fill_value=7),
        lambda x, i: _gathered(x, i, numbers, sizes, mode, out),
        (Operand(shape), _indices(shape, indices, numbers, sizes, mode)),
        ANY if name == "rows" else ("int32", "float64", "complex64"),
        name=f"{name}, {mode}",
    )


SCATTERS = {
    "scatter": (scatter.scatter_p, scatter.scatter, lambda old, new: new, ANY),
    "scatter_add": (indexing.scatter_add_p, indexing.scatter_add, np.add, NUMBERS),
    "scatter_mul": (scatter.scatter_mul_p, scatter.scatter_mul, np.multiply, NUMBERS),
    "scatter_min": (scatter.scatter_min_p, scatter.scatter_min, np.minimum, REALS),
    "scatter_max": (scatter.scatter_max_p, scatter.scatter_max, np.maximum, REALS),
}


def _scatter_case(kind, name, mode):
    primitive, function, combine, dtypes = SCATTERS[kind]
    shape, indices, numbers, sizes = GEOMETRIES[name]
    numbers = ScatterDimensionNumbers(*numbers)
    updates = _shape_of_windows(indices, numbers, sizes)
    return Case(
        primitive,
        lambda x, i, u: function(x, i, u, numbers, mode=mode),
        lambda x, i, u: _scattered(combine, x, i, u, numbers, sizes, mode),
        (Operand(shape), _indices(shape, indices, numbers, sizes, mode), Operand(updates)),
        dtypes if name == "rows" else tuple([d for d in ("int32", "float64", "complex64") if d in dtypes]),
        differentiable=kind in ("scatter", "scatter_add"),
        name=f"{name}, {mode}",
    )


def _unique_case(kind):
    """Windows that do not overlap, at places that depend on nothing."""
    primitive, function, combine, dtypes = SCATTERS[kind]
    numbers = ScatterDimensionNumbers((1,), (0,), (0,))
    places = np.array([[3], [0], [2]])
    return Case(
        primitive,
        lambda x, u: function(x, places, u, numbers, unique_indices=True),
        lambda x, u: _scattered(combine, x, places, u, (*numbers,), (1, 2), "fill"),
        (Operand((4, 2)), Operand((3, 2))),
        dtypes,
        name="unique",
    )


def _extremum_case(kind):
    """Operand and updates are drawn as one array, so that no two elements of both are near each other."""
    primitive, function, combine, _ = SCATTERS[kind]
    shape, indices, numbers, sizes = GEOMETRIES["rows"]
    numbers = ScatterDimensionNumbers(*numbers)

    def split(both):
        return reshape(slice_in_dim(both, 0, 12), shape), reshape(slice_in_dim(both, 12, 27), (5, 3))

    def scattered(both, i):
        x, updates = split(both)
        return function(x, i, updates, numbers)

    def reference(both, i):
        x, updates = both[:12].reshape(shape), both[12:].reshape(5, 3)
        return _scattered(combine, x, i, updates, numbers, sizes, "fill")

    operands = (Operand((27,), distinct=True), _indices(shape, indices, numbers, sizes, "fill"))
    return Case(primitive, scattered, reference, operands, FLOATS, name="distinct")


CASES = [
    *[_gather_case(name, mode) for name in GEOMETRIES for mode in OUTSIDE],
    *[_scatter_case(kind, name, "fill") for kind in SCATTERS for name in GEOMETRIES],
    *[_scatter_case("scatter_add", name, mode) for name in GEOMETRIES
      for mode in ("clip", "promise_in_bounds")],
    *[_scatter_case(kind, "rows", mode) for kind in SCATTERS for mode in ("clip", "promise_in_bounds")
      if kind != "scatter_add"],
    *[_extremum_case(kind) for kind in ("scatter_min", "scatter_max")],
    *[_unique_case(kind) for kind in ("scatter", "scatter_add", "scatter_mul")],
]  # fmt: skip
