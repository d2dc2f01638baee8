"""Sorting, against Python's own."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import lax
from functrans.ops import sorting

DTYPES = ["float64", "float32", "int64", "int32", "int16", "uint8", "bool"]


def drawn(data, dtype):
    """Arrays with few and with many equal elements, zeros of both signs and NaNs."""
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    shape = data.draw(st.sampled_from([(7,), (700,), (3, 300), (300, 3), (2, 30, 20), (0, 4), (1,)]))
    spread = data.draw(st.sampled_from([2, 1000, 10**9]))
    x = rng.integers(-spread, spread, shape).astype(dtype)
    if dtype.startswith("float"):
        for value in data.draw(st.lists(st.sampled_from([np.nan, -0.0, 0.0, np.inf, -np.inf]), max_size=3)):
            x[rng.random(shape) < 0.05] = value
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    return (x[::-1] if data.draw(st.booleans()) else x), axis


def python_order(row):
    """The stable order, NaN last."""
    return sorted(range(len(row)), key=lambda i: (row[i] != row[i], 0 if row[i] != row[i] else row[i]))


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_argsort(data, dtype):
    x, axis = drawn(data, dtype)
    found = np.asarray(sorting.argsort(x, axis))
    expected = np.empty(x.shape, np.intp)
    for place in np.ndindex(*np.delete(x.shape, axis)):
        at = list(place)
        at.insert(axis % x.ndim, slice(None))
        expected[tuple(at)] = python_order(x[tuple(at)].tolist())
    np.testing.assert_array_equal(found, expected)


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_top_k(data, dtype):
    x, axis = drawn(data, dtype)
    n = x.shape[axis]
    k = data.draw(st.integers(0, n))
    values, indices = lax.top_k(x, k, axis=axis)
    n_rows = x.size // max(n, 1)
    rows, found = [np.moveaxis(y, axis, -1).reshape(n_rows, y.shape[axis]) for y in (x, indices)]
    for row, order in zip(rows.tolist(), found.tolist(), strict=True):
        behind = [row[i] != row[i] for i in range(n)]
        key = functools.cmp_to_key(
            lambda i, j, row=row, behind=behind: behind[j] - behind[i] or (row[j] > row[i]) - (row[j] < row[i])
        )
        assert order == sorted(range(n), key=key)[:k]
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, axis))


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_top_k_among_equal_elements(value):
    x = np.arange(1000.0)
    x[[5, 500, 990]] = value
    x[-4:] = value
    values, indices = lax.top_k(x, 3)
    expected = [5, 500, 990] if value != value else [995, 994, 993]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, x[expected])
