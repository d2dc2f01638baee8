"""Cumulative operations row by row, against NumPy's own, bit for bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from functrans import lax

SHAPES = [(5, 300), (7, 4, 80), (4, 7, 80), (3, 5, 2, 150), (1, 400), (0, 400), (6, 0, 300), (200, 4), (3, 31, 20)]
DTYPES = ["float64", "float32", "float16", "complex64", "int64", "int8"]


@given(
    data=st.data(),
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    reverse=st.booleans(),
    flip=st.booleans(),
)
def test_every_way_gives_the_same_bits(data, shape, dtype, reverse, flip):
    rng = np.random.default_rng(5)
    x = (rng.normal(size=shape) * 3).astype(dtype)
    x = x[:, ::-1] if flip else x
    axis = data.draw(st.integers(0, len(shape) - 1))
    functions = [(lax.cumsum, np.add), (lax.cumprod, np.multiply), (lax.cummax, np.maximum), (lax.cummin, np.minimum)]
    if x.dtype.kind == "f":
        functions.append((lax.cumlogsumexp, np.logaddexp))
    for function, ufunc in functions:
        with np.errstate(all="ignore"):
            found = function(x, axis, reverse)
            way = np.flip(x, axis) if reverse else x
            expected = ufunc.accumulate(way, axis, x.dtype)
        expected = np.flip(expected, axis) if reverse else expected
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, expected)
