"""Reductions and broadcasts, whichever way they are computed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import lax

rng = np.random.default_rng(4)
SHAPES = [(5,), (40, 3), (3, 40), (1, 7), (7, 1), (64, 2, 5), (2, 5, 64), (6, 4, 3, 2), (0, 3), (3, 0), (2000, 3)]
DTYPES = ["float64", "float32", "float16", "complex128", "complex64", "int64", "int8", "uint16"]


def views(data, x):
    """The array, or a view of one that lies otherwise in memory."""
    kind = data.draw(st.sampled_from(["whole", "backwards", "transposed", "every second"]))
    if kind == "backwards":
        return x[::-1]
    if kind == "transposed":
        return np.ascontiguousarray(x.T).T
    return np.repeat(x, 2, -1)[..., ::2] if kind == "every second" else x


@given(data=st.data(), shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES))
def test_sums(data, shape, dtype):
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    x = views(data, (rng.normal(size=shape) * 9).astype(dtype))
    found = lax.reduce_sum(x, axes)
    wide = x.astype(np.longdouble if x.dtype.kind == "f" else np.clongdouble if x.dtype.kind == "c" else object)
    expected = np.sum(wide, axes)
    assert found.dtype == x.dtype
    assert found.shape == np.sum(x, axes).shape
    if x.dtype.kind in "iu":
        np.testing.assert_array_equal(found, np.sum(x, axes, dtype=dtype))
    else:
        rounding = 50 * math.sqrt(max(x.size, 1)) * np.finfo(x.dtype).eps
        np.testing.assert_allclose(found.astype(wide.dtype), expected, rtol=rounding, atol=9 * rounding)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2)])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_sums_of_what_is_infinite(axes, value):
    x = np.ones((40, 3, 4))
    x[2, 1, 3] = value
    found, expected = lax.reduce_sum(x, axes), np.sum(x, axes)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).sum() == expected.size - 1


@given(
    data=st.data(),
    shape=st.sampled_from([(400, 3), (40, 16), (33, 48), (5, 60), (9, 8, 6), (300, 1), (0, 4), (31, 5)]),
    dtype=st.sampled_from(DTYPES),
)
def test_rows(data, shape, dtype):
    x = views(data, (rng.normal(size=shape) * 9).astype(dtype))
    axes = tuple(range(data.draw(st.integers(1, len(shape) - 1)), len(shape)))
    for reduce, ufunc in ((lax.reduce_max, np.maximum), (lax.reduce_min, np.minimum), (lax.reduce_prod, np.multiply)):
        with np.errstate(all="ignore"):
            found, expected = reduce(x, axes), ufunc.reduce(x, axes, x.dtype)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        if ufunc is np.multiply and x.dtype.kind in "fc":
            np.testing.assert_allclose(found, expected, rtol=200 * np.finfo(dtype).eps)
        else:
            np.testing.assert_array_equal(found, expected)


def test_rows_with_nan():
    x = rng.normal(size=(100, 5)).astype(np.float32)
    x[7, 3] = np.nan
    found = lax.reduce_max(x, (1,))
    assert np.isnan(found[7])
    np.testing.assert_array_equal(found, np.max(x, 1))


@given(data=st.data(), shape=st.sampled_from([(), (3,), (1,), (2, 3), (2, 1), (0, 3)]), dtype=st.sampled_from(DTYPES))
def test_broadcasts(data, shape, dtype):
    new = data.draw(st.lists(st.integers(0, 3), max_size=2))
    x = views(data, (rng.normal(size=shape) * 9).astype(dtype)) if shape else rng.normal(size=()).astype(dtype)
    target = (*new, *[data.draw(st.integers(0, 4)) if n == 1 else n for n in shape])
    found = lax.broadcast_in_dim(x, target, range(len(new), len(target)))
    np.testing.assert_array_equal(found, np.broadcast_to(x, target))
    assert found.dtype == x.dtype
