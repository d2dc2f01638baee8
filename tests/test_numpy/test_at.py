"""Functional updates, `at(x)[index].set(v)`, against loops of plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans.core.aval import aval_of
from functrans.core.recording import Recording
from functrans.errors import NonConcreteBooleanIndexError
from functrans.numpy.at import at
from tests.test_numpy.test_indexing import same, shape_and_index

OPS: dict[str, Callable[[float, float], float]] = {
    "set": lambda x, v: v,
    "add": lambda x, v: x + v,
    "subtract": lambda x, v: x - v,
    "multiply": lambda x, v: x * v,
    "divide": lambda x, v: x / v,
    "power": lambda x, v: x**v,
    "min": min,
    "max": max,
}
X = np.linspace(0.5, 3.0, 24).reshape(2, 3, 4)
INDICES = [
    0,
    (1, 2),
    ...,
    (slice(0, 1), slice(1, 3)),
    (slice(None), slice(None), slice(None, None, 2)),
    (slice(None), slice(None, None, -1), [1, 2]),
    (..., slice(1, 4, 2)),
    (None, slice(None), [2, 2, 0]),
    ([0, 1, 0],),
    ([0, 1, 0], [2, 1, 2]),
    ([1, 1], slice(None), [3, 3]),
    ([[0], [1]], [0, 0, 1], slice(0, 3)),
    (slice(None), None, 0, slice(3, None, -2)),
    X > 2.0,
    (slice(None), np.array([True, False, True])),
    (slice(1), X[0] > 1.0),
    True,
    (0, 0, 0),
    np.zeros((0,), int),
]


def draw(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def looped(op: str, x: Any, index: Any, values: Any) -> Any:
    """The update, one element after the other."""
    out, places = x.copy(), np.arange(x.size).reshape(x.shape)[index]
    for place, value in zip(places.ravel(), np.broadcast_to(values, places.shape).ravel(), strict=True):
        out.flat[place] = OPS[op](out.flat[place], value)
    return out


# ---- values


@pytest.mark.parametrize("op", OPS)
@given(shape_and_index())
def test_random_updates(op: str, drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    x = draw(shape)
    before = x.copy()
    values = draw(x[index].shape, 1)
    want = looped(op, x, index, values)
    for got in (getattr(at(x)[index], op)(values), ft.jit(lambda x, v: getattr(at(x)[index], op)(v))(x, values)):
        assert got.shape == x.shape
        assert got.dtype == x.dtype
        np.testing.assert_allclose(got, want, rtol=1e-12)
    same(x, before)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_update_by_a_number(op: str, index: Any) -> None:
    want = looped(op, X, index, 1.5)
    np.testing.assert_allclose(at(X)[index].__getattribute__(op)(1.5), want, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(lambda x: getattr(at(x)[index], op)(1.5))(X), want, rtol=1e-12)


@given(st.lists(st.integers(-5, 4), min_size=1, max_size=6), st.sampled_from(sorted(OPS)))
def test_traced_indices(indices: list[int], op: str) -> None:
    x, i = draw((5, 2)), np.array(indices)
    values = draw((len(indices), 2), 1)
    want = looped(op, x, i, values)
    np.testing.assert_allclose(ft.jit(lambda x, i, v: getattr(at(x)[i], op)(v))(x, i, values), want, rtol=1e-12)
    one = ft.jit(lambda x, i, v: getattr(at(x)[i, 1:], op)(v))(x, indices[0], 1.5)
    np.testing.assert_allclose(one, looped(op, x, (indices[0], slice(1, None)), 1.5), rtol=1e-12)


def test_last_one_stays() -> None:
    for update in (lambda x, v: at(x)[[1, 1, 1]].set(v), lambda x, v: at(x)[[[1], [1]], [[0, 0]]].set(v)):
        x = np.zeros((3, 2))
        values = np.arange(1.0, 7.0).reshape(3, 2) if update(x, 1.0)[1, 1] else np.arange(1.0, 5.0).reshape(2, 2)
        same(ft.jit(update)(x, values), update(x, values))


def test_integers_and_booleans() -> None:
    x = np.arange(6, dtype=np.uint8)
    for op, want in {
        "add": [0, 3, 2, 3, 4, 5],
        "subtract": [0, 255, 2, 3, 4, 5],
        "multiply": [0, 1, 2, 3, 4, 5],
    }.items():
        same(ft.jit(lambda x, op=op: getattr(at(x)[[1, 1]], op)(1))(x), np.array(want, np.uint8))
        same(getattr(at(x)[[1, 1]], op)(1), np.array(want, np.uint8))
    flags = np.array([True, False])
    same(ft.jit(lambda x: at(x)[0].set(False))(flags), np.array([False, False]))
    same(ft.jit(lambda x: at(x)[[1]].max(True))(flags), np.array([True, True]))


# ---- derivatives


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_derivatives(op: str, index: Any) -> None:
    v, w = draw(X[index].shape, 1), draw(X.shape, 2)

    def f(x: Any, v: Any) -> Any:
        return np.sum(getattr(at(x)[index], op)(v) * w)

    dx, dv = draw(X.shape, 3), draw(v.shape, 4)
    grad_x, grad_v = ft.grad(f, argnums=(0, 1))(X, v)
    slope = np.sum(grad_x * dx) + np.sum(grad_v * dv)
    h = 1e-6
    plain = lambda t: np.sum(looped(op, X + t * dx, index, v + t * dv) * w)
    np.testing.assert_allclose(slope, (plain(h) - plain(-h)) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(ft.jvp(f, (X, v), (dx, dv))[1], slope, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.grad(f, argnums=1))(X, v), grad_v, rtol=1e-12)


@pytest.mark.parametrize("op", OPS)
def test_second_derivatives_and_batches(op: str) -> None:
    x, i, v = draw((4,)), np.array([1, 3, 1, 1]), draw((4,), 1)

    def f(x: Any, v: Any) -> Any:
        return np.sum(getattr(at(x)[i], op)(v) ** 3)

    slopes = ft.grad(f, argnums=1)
    h, direction = 1e-6, draw((4,), 5)
    want = (slopes(x, v + h * direction) - slopes(x, v - h * direction)) / (2 * h)
    np.testing.assert_allclose(ft.jvp(lambda v: slopes(x, v), (v,), (direction,))[1], want, rtol=1e-5, atol=1e-8)
    xs, vs = draw((3, 4), 2), draw((3, 4), 3)
    batched = ft.vmap(lambda x, v: getattr(at(x)[i], op)(v))(xs, vs)
    np.testing.assert_allclose(batched, [looped(op, x, i, v) for x, v in zip(xs, vs, strict=True)])
    rows = np.array([[0, 0], [1, 3], [2, 0]])
    batched = ft.vmap(lambda x, i: getattr(at(x)[i], op)(2.0))(xs, rows)
    np.testing.assert_allclose(batched, [looped(op, x, i, 2.0) for x, i in zip(xs, rows, strict=True)])


def test_products_with_zeros_among_them() -> None:
    f = lambda v: np.sum(at(np.full(3, 2.0))[[1, 1, 0, 1]].multiply(v))
    np.testing.assert_array_equal(ft.grad(f)(np.array([3.0, 0.0, 0.0, 5.0])), [0.0, 30.0, 2.0, 0.0])
    np.testing.assert_array_equal(ft.grad(f)(np.array([0.0, 0.0, 7.0, 5.0])), [0.0, 0.0, 2.0, 0.0])


def test_winners_share() -> None:
    grad = ft.grad(lambda x, v: np.sum(at(x)[[0, 0, 1]].max(v)), argnums=(0, 1))(np.ones(2), np.array([3.0, 3.0, 0.0]))
    np.testing.assert_array_equal(grad[0], [0.0, 1.0])
    np.testing.assert_array_equal(grad[1], [0.5, 0.5, 0.0])


# ---- masks


@pytest.mark.parametrize("op", OPS)
def test_unknown_masks(op: str) -> None:
    for mask, values in ((X > 1.5, 2.0), (X[0, :, 0] > 1, draw((4,))), (X[:, :, 0] > 2, draw((1, 4)))):
        x = X if mask.ndim != 1 else X[0]
        got = ft.jit(lambda x, m, v: getattr(at(x)[m], op)(v))(x, mask, values)
        np.testing.assert_allclose(got, looped(op, x, mask, values), rtol=1e-12)
        same(ft.jit(lambda x, m, v: getattr(at(x)[m,], op)(v))(x, mask, values), got)
    with pytest.raises(NonConcreteBooleanIndexError):
        ft.jit(lambda x, m: getattr(at(x)[m], op)(np.ones(3)))(np.ones(4), np.array([True, True, True, False]))


def test_masks_keep_what_is_not_selected() -> None:
    x = np.array([-1.0, -0.0, 4.0])
    for update in (
        lambda x: at(x)[x > 0].power(0.5),
        lambda x: at(x)[x > 0].divide(0.5),
        lambda x: at(x)[x > 0].add(0.0),
    ):
        assert np.signbit(ft.jit(update)(x)[1])
    grad = ft.grad(lambda x, p: np.sum(at(x)[x > 0].power(p)), argnums=(0, 1))(x, 0.5)
    np.testing.assert_allclose(grad[0], [1.0, 1.0, 0.25])
    np.testing.assert_allclose(grad[1], 2.0 * np.log(4.0))


def test_known_mask_with_values_for_each() -> None:
    x, values = np.arange(4.0), np.array([7.0, 8.0])
    grad = ft.grad(lambda x, v: np.sum(at(x)[x > 1.0].set(v) ** 2), argnums=(0, 1))(x, values)
    np.testing.assert_array_equal(grad[0], [0.0, 2.0, 0.0, 0.0])
    np.testing.assert_array_equal(grad[1], [14.0, 16.0])


# ---- apply and get


def test_apply() -> None:
    want = X.copy()
    want[:, [0, 2]] = np.sin(want[:, [0, 2]])
    same(at(X)[:, [0, 2]].apply(np.sin), want)
    np.testing.assert_allclose(ft.jit(lambda x: at(x)[:, [0, 2]].apply(np.sin))(X), want)
    mask = X > 1
    jitted = ft.jit(lambda x, m: at(x)[m].apply(np.sin))(X, mask)
    np.testing.assert_allclose(jitted, np.where(mask, np.sin(X), X))
    same(at(X)[mask].apply(np.sin), np.where(mask, np.sin(X), X))
    grad = ft.grad(lambda x: np.sum(at(x)[x > 1].apply(np.sqrt)))(X - 1)
    np.testing.assert_allclose(grad, np.where(X > 2, 0.5 / np.sqrt(np.maximum(X - 1, 0.1)), 1.0))


def test_get() -> None:
    x = np.arange(4.0)
    plain = lambda x, **kwargs: at(x)[[1, 9]].get(**kwargs)
    for f in (plain, lambda x, **kwargs: ft.jit(lambda x: plain(x, **kwargs))(x)):
        same(f(x, mode="fill"), np.array([1.0, np.nan]))
        same(f(x, mode="clip"), np.array([1.0, 3.0]))
        same(f(x, fill_value=5.0), np.array([1.0, 5.0]))
        with pytest.raises(IndexError):
            f(x)
    part = at(x)[1:].get()
    part[:] = 0.0
    same(x, np.arange(4.0))


def test_modes() -> None:
    x = np.arange(4.0)
    for f in (lambda g, *args: g(*args), lambda g, *args: ft.jit(g)(*args)):
        same(f(lambda x: at(x)[[1, 7]].set(9.0, mode="drop"), x), np.array([0.0, 9, 2, 3]))
        same(f(lambda x: at(x)[[3, 7]].add(9.0, mode="clip"), x), np.array([0.0, 1, 2, 21]))
        same(f(lambda x: at(x)[7].set(9.0, mode="drop"), x), x)
        same(f(lambda x: at(x)[-1].set(9.0, mode="drop"), x), np.array([0.0, 1, 2, 9]))
        same(f(lambda x, v: at(x)[[3, 7, 3]].multiply(v, mode="clip"), x, np.array([2.0, 3, 5])), x * [1, 1, 1, 30])
        same(f(lambda x, v: at(x)[[3, 7, 3]].multiply(v, mode="drop"), x, np.array([2.0, 3, 5])), x * [1, 1, 1, 10])
    with pytest.raises(ValueError, match="unknown mode 'wrap'"):
        at(x)[0].set(1.0, mode="wrap")


# ---- errors and cost


def test_what_does_not_fit() -> None:
    integers, small = np.arange(4), np.arange(4, dtype=np.uint8)
    for run in (lambda f, *args: f(*args), lambda f, *args: ft.jit(f)(*args)):
        with pytest.raises(TypeError, match="cannot be cast to int64"):
            run(lambda x: at(x)[0].set(2.5), integers)
        with pytest.raises(TypeError, match="same_kind"):
            run(lambda x: at(x)[0].add(np.float64(1)), integers)
        with pytest.raises(TypeError, match="complex128"):
            run(lambda x: at(x)[0].set(1j), X)
        with pytest.raises(TypeError, match="divide"):
            run(lambda x: at(x)[0].divide(2), integers)
        with pytest.raises(OverflowError):
            run(lambda x: at(x)[0].set(300), small)
        with pytest.raises(ValueError, match="broadcast"):
            run(lambda x: at(x)[:2].set(np.ones(3)), np.zeros(4))
        with pytest.raises(IndexError, match="out of bounds for axis 0 with size 4"):
            run(lambda x: at(x)[4].set(1), integers)
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 4"):
        ft.jit(lambda x, i: at(x)[i].set(1))(integers, 4)
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 0"):
        ft.jit(lambda x, i: at(x)[i].set(1))(integers[:0], 0)
    same(ft.jit(lambda x: at(x)[0].set(np.float64(0.1)))(np.zeros(2, np.float32)), np.array([0.1, 0], np.float32))


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_one_equation(index: Any) -> None:
    for op in OPS:
        with Recording("f", [aval_of(X)], [X]) as recording:
            (x,) = recording.inputs()
            getattr(at(x)[index], op)(2.0)
            assert len(recording.equations) == 1


def test_printed_form() -> None:
    assert repr(at(np.zeros(1))[0]) == "at(array([0.]))[0]"
