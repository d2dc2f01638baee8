"""Large selections, which are computed on bits, against np.where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import lax

rng = np.random.default_rng(7)
DTYPES = ["float64", "float32", "float16", "complex64", "complex128", "int64", "uint8", "bool"]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324]


def numbers(shape, dtype):
    x = rng.normal(size=shape) * 9
    if np.dtype(dtype).kind in "fc":
        x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def assert_same_bits(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@given(
    dtype=st.sampled_from(DTYPES), layout=st.sampled_from(["whole", "backwards", "transposed"]), number=st.booleans()
)
def test_two_arrays_or_a_number(dtype, layout, number):
    which, x, y = rng.random((70, 60)) < 0.5, numbers((70, 60), dtype), numbers((70, 60), dtype)
    if layout == "backwards":
        which, x = which[::-1], x[:, ::-1]
    if layout == "transposed":
        which, x, y = which.T, x.T, np.ascontiguousarray(y.T)
    before = x.copy(), y.copy()
    assert_same_bits(lax.select(which, x, y), np.where(which, x, y))
    for value in (0, 1) if number else (0,):
        expected = np.where(which, x, x.dtype.type(value)), np.where(which, x.dtype.type(value), x)
        assert_same_bits(ft.jit(lambda x, value=value: ft.numpy.where(which, x, x.dtype.type(value)))(x), expected[0])
        assert_same_bits(ft.jit(lambda x, value=value: ft.numpy.where(which, x.dtype.type(value), x))(x), expected[1])
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("stretched", [0, 1, 2])
def test_stretched_operands(stretched):
    shapes = [(70, 60)] * 3
    shapes[stretched] = (60,)
    which, x, y = rng.random(shapes[0]) < 0.5, rng.normal(size=shapes[1]), rng.normal(size=shapes[2])
    found = ft.jit(lambda which, x, y: ft.numpy.where(which, x * 2, y))(which, x, y)
    np.testing.assert_array_equal(found, np.where(which, x * 2, y))
