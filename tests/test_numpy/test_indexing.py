"""Indexing of tracers against NumPy's own, and the functions that take elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans.core.aval import aval_of
from functrans.core.recording import Recording
from functrans.errors import NonConcreteBooleanIndexError, TracerIntegerConversionError
from functrans.numpy import taking
from functrans.numpy.indexing import getitem
from functrans.numpy.selection import Selection

X = np.arange(24.0).reshape(2, 3, 4)


# ---- drawing


@st.composite
def axis_item(draw: st.DrawFn, n: int) -> Any:
    """An index of one axis of length n."""
    kinds = ["slice", "slice", "mask"] + (["int", "array", "list", "scalar"] if n else ["empty"])
    match draw(st.sampled_from(kinds)):
        case "int":
            return draw(st.integers(-n, n - 1))
        case "scalar":
            return draw(st.sampled_from([np.int64, np.array, np.uint8]))(draw(st.integers(0, n - 1)))
        case "array":
            shape = draw(st.sampled_from([(2,), (1,), (2, 2), (2, 1), (0,), (2, 0)]))
            dtype = draw(st.sampled_from(["int8", "int64"]))
            return np.array(draw(st.lists(st.integers(-n, n - 1), min_size=4, max_size=4)), dtype)[
                : int(np.prod(shape))
            ].reshape(shape)
        case "list":
            return draw(st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))
        case "empty":
            return []
        case "mask":
            mask = draw(st.lists(st.booleans(), min_size=n, max_size=n))
            return np.array(mask, bool)
    bound = st.none() | st.integers(-n - 2, n + 2)
    return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2])))


@st.composite
def shape_and_index(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index that NumPy takes for it."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=0, max_size=4)))
    n_indexed = draw(st.integers(0, len(shape)))
    items = [draw(axis_item(n)) for n in shape[:n_indexed]]
    if len(shape) > 1 and draw(st.integers(0, 5)) == 0:  # a mask of two axes
        size = shape[0] * shape[1]
        mask = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
        items[:2] = [mask.reshape(shape[:2])]
    if draw(st.booleans()):  # an ellipsis, behind which the last axes are indexed
        position = draw(st.integers(0, len(items)))
        used = sum([np.ndim(x) if getattr(x, "dtype", "") == "bool" else 1 for x in items[:position]])
        later = [draw(axis_item(n)) for n in shape[used:]]
        count = draw(st.integers(0, len(later)))
        items = [*items[:position], Ellipsis, *later[len(later) - count :]]
    for extra in draw(st.lists(st.sampled_from([None, None, True, np.False_]), max_size=2)):
        items.insert(draw(st.integers(0, len(items))), extra)
    index = items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)
    try:
        np.zeros(shape)[index]
    except IndexError:  # index arrays that do not go together
        return shape, ...
    return shape, index


def same(got: Any, want: Any) -> None:
    assert np.shape(got) == np.shape(want)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def weights(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).normal(size=shape)


# ---- values and derivatives


@given(shape_and_index())
def test_selection_has_numpys_shape(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    x = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    same(ft.jit(lambda x: getitem(x, index))(x), x[index])


@given(shape_and_index(), st.sampled_from(["float32", "int8", "bool", "complex128"]))
def test_every_dtype(drawn: tuple[tuple[int, ...], Any], dtype: str) -> None:
    shape, index = drawn
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    same(ft.jit(lambda x: getitem(x, index))(x), x[index])


@given(shape_and_index())
def test_gradient_adds_up(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    x, w = weights(shape), weights(np.zeros(shape)[index].shape)
    _, pull = ft.vjp(lambda x: getitem(x, index), x)
    (got,) = pull(w)
    want = np.zeros(shape)
    np.add.at(want, index, w)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@given(shape_and_index())
def test_tangents_and_batches(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    x = weights((3, *shape))
    _, tangent = ft.jvp(lambda x: getitem(x, index), (x[0],), (x[1],))
    same(tangent, np.asarray(x[1][index]))
    same(ft.vmap(lambda x: getitem(x, index))(x), np.stack([row[index] for row in x]))


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_traced_indices(n: int, m: int, data: st.DataObject) -> None:
    x = np.arange(float(n * m)).reshape(n, m)
    i = data.draw(st.integers(-n, n - 1))
    j = np.array(data.draw(st.lists(st.integers(-m, m - 1), min_size=2, max_size=2)))
    same(ft.jit(lambda x, i: getitem(x, i))(x, np.int8(i)), x[i])
    same(ft.jit(lambda x, j: getitem(x, (slice(None), j)))(x, j), x[:, j])
    same(ft.jit(lambda x, i, j: getitem(x, (i, j)))(x, i, j), x[i, j])
    unsigned = (j % m).astype(np.uint8)
    same(ft.jit(lambda x, j: getitem(x, (slice(None), None, j)))(x, unsigned), x[:, None, unsigned])
    same(ft.jit(lambda x, i: getitem(x, (i, None, slice(None, None, -1))))(x, i), x[i, None, ::-1])
    rows = np.arange(n)
    same(ft.vmap(lambda x, i: getitem(x, i), in_axes=(None, 0))(x, rows - n), x[rows - n])
    same(ft.vmap(lambda row, i: getitem(row, i))(x, np.full(n, i % m)), x[rows, i % m])


def recorded(function: Any, *args: Any) -> Any:
    """The program of a function of known arguments."""
    with Recording("f", [aval_of(x) for x in args], args) as recording:
        return recording.close([function(*recording.inputs())])[0]


def test_traced_index_stays_dynamic_where_it_is_known() -> None:
    np.testing.assert_array_equal(ft.grad(lambda x, i: getitem(x, i * 1) ** 2)(X[0, 0], 2), [0, 0, 4, 0])
    first, second = (recorded(getitem, X, np.array(i)) for i in (0, -1))
    assert first is second


def test_mask_in_gradient() -> None:
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(getitem(x, x > 20.0) ** 2))(X), np.where(X > 20, 2 * X, 0))
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(getitem(x, (0, x[0, :, 0] > 3.0))))(X)[0, :, 0], [0, 1, 1])


def test_index_arrays_are_no_part_of_the_program() -> None:
    first, second = (recorded(lambda x, i=i: getitem(x, i), X) for i in (np.array([0, 1]), np.array([1, -1])))
    assert first is second


@pytest.mark.parametrize("index", [0, slice(1, None), (slice(None), 0), None, (..., -1), (0, [1, 2]), [True, False]])
def test_one_equation(index: Any) -> None:
    with Recording("f", [aval_of(X)], [X]) as recording:
        (x,) = recording.inputs()
        getitem(x, index)
        assert len(recording.equations) == 1


def test_iteration() -> None:
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(sum([row * i for i, row in enumerate(x)])))(X)[1], 1)
    with pytest.raises(TypeError, match="iteration over a 0-d array"):
        ft.grad(lambda x: iter(x))(1.0)


def test_list_of_tracers() -> None:
    same(ft.jit(lambda x, i: getitem(x, [0, i]))(np.arange(3.0), -1), np.array([0.0, 2.0]))


# ---- errors

NUMPYS_ERRORS = [
    2,
    -3,
    (0, 3),
    (0, 0, 0, 0),
    (..., ...),
    1.0,
    "a",
    1j,
    np.array([1.0]),
    np.array(1.0),
    [0.5],
    np.array([5]),
    np.array([-5], np.int8),
    ([0, 1], [0, 1, 2]),
    np.array([True, False, True]),
    (0, np.ones((2, 2), bool)),
    slice(0, 1, 0),
    slice(1.0),
]


@pytest.mark.parametrize("index", NUMPYS_ERRORS, ids=repr)
def test_errors_are_numpys(index: Any) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011  (compared below)
        X[index]
    with pytest.raises(type(expected.value)) as raised:
        ft.jit(lambda x: getitem(x, index))(X)
    assert str(expected.value).split(" index for")[0].strip() in str(raised.value)


def test_out_of_bounds_names_the_shape() -> None:
    with pytest.raises(IndexError, match=r"index 5 is out of bounds for axis 1 with size 3 .*shape \(2, 3, 4\)"):
        ft.jit(lambda x: getitem(x, (0, 5)))(X)


def test_traced_index_out_of_bounds() -> None:
    for i in (2, -3):
        with pytest.raises(IndexError, match="out of bounds for axis 0 with size 2"):
            ft.jit(lambda x, i: getitem(x, i))(X, i)
    with pytest.raises(IndexError, match="out of bounds for axis 1 with size 3"):
        ft.jit(lambda x, i: getitem(x, (slice(None), i)))(X, np.array([0, 3]))
    with pytest.raises(IndexError, match="size 0"):
        ft.jit(lambda x, i: getitem(x, i))(X[:0], 0)


def test_unknown_values() -> None:
    with pytest.raises(NonConcreteBooleanIndexError, match=r"argument m .*functrans.numpy.where\(mask, x, 0\)"):
        ft.jit(lambda x, m: getitem(x, m))(X, X > 1)
    with pytest.raises(TracerIntegerConversionError):
        ft.jit(lambda x, n: getitem(x, slice(n)))(X, 1)
    with pytest.raises(IndexError, match="integer"):
        ft.jit(lambda x: getitem(x, x))(X)


def test_selection_of_a_key() -> None:
    selection = Selection.of((5, 3, 2), (("array", (2,)), (None, None, None), ("array", (4, 1))))
    assert selection.shape == (4, 2, 3)
    assert selection.batch == (4, 2)
    assert not selection.distinct


# ---- functions that take elements

TAKES: list[tuple[Any, dict[str, Any]]] = [
    (1, {}),
    ([0, -1], {}),
    ([[0, 5], [2, 2]], {"axis": None}),
    ([1, 0, 1], {"axis": 1}),
    (-1, {"axis": -1}),
    ([], {"axis": 0}),
    ([True, False], {"axis": 2}),
    ([-50, 7, 50], {"axis": 1, "mode": "clip"}),
    ([-50, 7, 50], {"axis": 1, "mode": "wrap"}),
    (np.array([1, 0], np.uint8), {"axis": 0, "mode": "wrap"}),
]


@pytest.mark.parametrize(("indices", "kwargs"), TAKES, ids=repr)
def test_take(indices: Any, kwargs: dict[str, Any]) -> None:
    want = np.take(X, indices, **kwargs)
    same(taking.take(X, indices, **kwargs), want)
    same(ft.jit(lambda x: taking.take(x, indices, **kwargs))(X), want)
    if np.size(indices):
        same(ft.jit(lambda x, i: taking.take(x, i, **kwargs))(X, np.asarray(indices)), want)


def test_take_fills() -> None:
    filled = ft.jit(lambda x, i: taking.take(x, i, mode="fill"))(X, np.array([1, -1, 99]))
    same(filled, np.array([1.0, 23.0, np.nan]))
    same(taking.take(np.arange(3), [1, 7], mode="fill", fill_value=5), np.array([1, 5]))
    grad = ft.grad(lambda x: np.sum(taking.take(x, [0, 9], mode="fill", fill_value=0.0)))(np.ones(3))
    np.testing.assert_array_equal(grad, [1, 0, 0])


def test_take_errors() -> None:
    jit = ft.jit(lambda x, i, **kwargs: taking.take(x, i, **kwargs), static_argnames=("axis", "mode"))
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 24"):
        jit(X, 24)
    with pytest.raises(TypeError, match="same_kind"):
        jit(X, 1.0)
    with pytest.raises(ValueError, match="clipmode must be one of"):
        jit(X, 1, mode="bounce")
    with pytest.raises(IndexError, match="non-empty take from an empty axes"):
        jit(X[:0], 0, axis=0)
    with pytest.raises(np.exceptions.AxisError):
        jit(X, 0, axis=3)
    with pytest.raises(TypeError, match="out"):
        ft.jit(lambda x: taking.take(x, 0, 0, np.zeros((3, 4))))(X)


ALONG: list[tuple[tuple[int, ...], int | None]] = [
    ((2, 2, 4), 1),
    ((2, 1, 1), 1),
    ((5, 3, 4), 0),
    ((7,), None),
    ((2, 3, 0), 2),
]


@pytest.mark.parametrize(("shape", "axis"), ALONG)
def test_take_along_axis(shape: tuple[int, ...], axis: int | None) -> None:
    n = X.size if axis is None else X.shape[axis]
    indices = np.random.default_rng(1).integers(-n, n, shape)
    want = np.take_along_axis(X, indices, axis)
    same(ft.jit(lambda x: taking.take_along_axis(x, indices, axis))(X), want)
    same(ft.jit(lambda x, i: taking.take_along_axis(x, i, axis))(X, indices), want)
    w = weights(want.shape)
    got = ft.grad(lambda x: np.sum(taking.take_along_axis(x, indices, axis) * w))(X)
    direction = weights(X.shape)
    np.testing.assert_allclose(np.sum(got * direction), np.sum(np.take_along_axis(direction, indices, axis) * w))


def test_along_axis_errors() -> None:
    with pytest.raises(ValueError, match="same number of dimensions"):
        ft.jit(lambda x: taking.take_along_axis(x, np.zeros((2, 3), int), 0))(X)
    with pytest.raises(IndexError, match="must be an integer array"):
        ft.jit(lambda x: taking.take_along_axis(x, np.zeros((2, 3, 4)), 0))(X)
    with pytest.raises(IndexError, match="shape mismatch"):
        ft.jit(lambda x: taking.take_along_axis(x, np.zeros((2, 2, 4), int), 0))(X)
    with pytest.raises(IndexError, match="out of bounds for axis 1 with size 3"):
        ft.jit(lambda x: taking.take_along_axis(x, np.full((2, 1, 4), 3), 1))(X)
    with pytest.raises(TypeError, match="inplace=False"):
        ft.jit(lambda x: taking.put_along_axis(x, np.zeros((2, 1, 4), int), 0.0, 1))(X)


def test_put_along_axis() -> None:
    indices, values = np.array([[[1], [0], [-1]], [[2], [2], [0]]]), weights((2, 3, 1))
    want = X.copy()
    np.put_along_axis(want, indices, values, 2)
    same(taking.put_along_axis(X, indices, values, 2, inplace=False), want)
    same(ft.jit(lambda x, i, v: taking.put_along_axis(x, i, v, 2, inplace=False))(X, indices, values), want)
    plain = X.copy()
    taking.put_along_axis(plain, indices, values, 2)
    same(plain, want)


def test_what_depends_on_values() -> None:
    condition = np.array([True, False, True])
    same(ft.jit(lambda x: taking.compress(condition, x, axis=1))(X), np.compress(condition, X, axis=1))
    same(ft.jit(lambda x: taking.compress([True, False, True], x))(X), np.compress(condition, X))
    grad = ft.grad(lambda x: np.sum(taking.extract(x > 5.0, x) ** 2))(X)
    np.testing.assert_array_equal(grad, np.where(X > 5, 2 * X, 0))

    def f(x: Any) -> Any:
        (rows, *_), flat, vectors = taking.nonzero(x), taking.flatnonzero(x), taking.argwhere(x)
        assert (len(rows), len(flat), vectors.shape) == (23, 23, (23, 3))
        return np.sum(x)

    ft.grad(f)(X)
    for function in (taking.nonzero, taking.flatnonzero, taking.argwhere, lambda x: taking.extract(x > 0, x)):
        with pytest.raises(NonConcreteBooleanIndexError):
            ft.jit(function)(X)


def test_lax_gather_is_what_an_index_records() -> None:
    program = ft.make_jaxpr(lambda x: getitem(x, [0, 0]))(X)
    assert "mode=GatherScatterMode.PROMISE_IN_BOUNDS" in str(program)


def test_numpys_own_spelling() -> None:
    order = np.argsort(X, 0)
    along = lambda x: np.sum(np.take_along_axis(x, order, 0))
    grad = ft.grad(lambda x: x[0, 0, 0] * np.sum(np.take(x, [1, 1], axis=2)) + along(x))
    want = np.ones(X.shape)
    want[0, 0, 0] += 2 * X[:, :, 1].sum()
    want[:, :, 1] += 2 * X[0, 0, 0]
    np.testing.assert_allclose(grad(X), want)
