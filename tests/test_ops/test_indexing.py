"""The values of gather and scatter_add, against Python's loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import lax

rng = np.random.default_rng(3)
ROWS = lax.ScatterDimensionNumbers((1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))


@given(data=st.data())
def test_scatter_add_of_rows(data):
    n, row, many = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 6)), data.draw(st.integers(2, 40))
    dtype = data.draw(st.sampled_from(["float32", "float64", "complex64", "int32", "float16"]))
    mode = data.draw(st.sampled_from(["clip", "drop", "promise_in_bounds"]))
    low, high = (0, n) if mode == "promise_in_bounds" else (-2, n + 2)
    indices = rng.integers(low, high, (many, 1))
    operand, updates = [(rng.normal(size=(m, row)) * 9).astype(dtype) for m in (n, many)]
    operand, updates = operand[:, ::-1], updates[::-1]  # views that run backwards
    before = operand.copy(), updates.copy()
    expected = operand.copy()
    for (index,), update in zip(indices, updates, strict=True):
        at = min(max(index, 0), n - 1) if mode == "clip" else index
        if 0 <= at < n:
            expected[at] += update
    found = lax.scatter_add(operand, indices, updates, ROWS, mode=mode)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    for x, y in zip((operand, updates), before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_negative_zeros_and_what_is_infinite():
    operand = np.array([[-0.0, np.inf], [1.0, np.nan]])
    updates = np.array([[-0.0, 1.0], [np.inf, 2.0], [-np.inf, -0.0]])
    with np.errstate(invalid="ignore"):
        found = lax.scatter_add(operand, np.array([[0], [1], [1]]), updates, ROWS)
    np.testing.assert_array_equal(found, [[-0.0, np.inf], [np.nan, np.nan]])
    assert np.signbit(found[0, 0])


@pytest.mark.parametrize("last", [2, 3])
def test_windows_of_blocks(last):
    numbers = lax.ScatterDimensionNumbers((0, 2), (1,), (1,))
    operand, updates = rng.normal(size=(2, 5, last)), rng.normal(size=(2, 40, last))
    indices = rng.integers(0, 5, (40, 1))
    expected = operand.copy()
    for k in range(40):
        expected[:, indices[k, 0]] += updates[:, k]
    np.testing.assert_array_equal(lax.scatter_add(operand, indices, updates, numbers), expected)
