"""Pooling against loops over the windows."""

import itertools

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.test_util import check_grads

rng = np.random.default_rng(4)
X = rng.permutation(2 * 6 * 7 * 3).reshape(2, 6, 7, 3) / 50.0
WINDOWS = [
    ((2, 3), None, "VALID"),
    ((2, 2), (2, 2), "VALID"),
    (3, 2, "SAME"),
    ((2, 3), (1, 2), "SAME_LOWER"),
    ((2, 2), (2, 1), ((1, 0), (0, 1))),
]


def pads_of(padding, window, strides):
    if padding == "VALID":
        return [(0, 0), (0, 0)]
    if not isinstance(padding, str):
        return padding
    totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(X.shape[1:3], window, strides, strict=True)]
    pairs = [(t // 2, t - t // 2) for t in totals]
    return pairs if padding == "SAME" else [pair[::-1] for pair in pairs]


def windows(window, strides, padding):
    """Each window's place in the result, and its elements that are there."""
    (w, v), (s, r) = np.broadcast_to(window, 2), np.broadcast_to(1 if strides is None else strides, 2)
    (top, bottom), (left, right) = pads_of(padding, (w, v), (s, r))
    rows, columns = (6 + top + bottom - w) // s + 1, (7 + left + right - v) // r + 1
    for i, j in itertools.product(range(rows), range(columns)):
        row, column = i * s - top, j * r - left
        yield i, j, X[:, max(row, 0) : row + w, max(column, 0) : column + v].reshape(2, -1, 3)


@pytest.mark.parametrize(("window", "strides", "padding"), WINDOWS)
def test_against_loops(window, strides, padding):
    size = np.prod(np.broadcast_to(window, 2))
    functions = {
        nn.max_pool: lambda part: part.max(1),
        nn.min_pool: lambda part: part.min(1),
        nn.avg_pool: lambda part: part.sum(1) / size,
        lambda *args: nn.avg_pool(*args, count_include_pad=False): lambda part: part.mean(1),
    }
    for pool, of_window in functions.items():
        out = pool(X, window, strides, padding)
        for i, j, part in windows(window, strides, padding):
            np.testing.assert_allclose(out[:, i, j], of_window(part), rtol=1e-13)
        check_grads(lambda x, f=pool: f(x, window, strides, padding), (X,), order=1)


def test_ties_dtypes_and_batches():
    x = np.ones((1, 4, 1))
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(nn.max_pool(x, 2, 2)))(x)[0, :, 0], [1, 0, 1, 0])
    assert nn.max_pool(X.astype("int8"), 2).dtype == np.int8
    assert nn.avg_pool(X.astype("float32"), 2, padding="SAME", count_include_pad=False).dtype == np.float32
    np.testing.assert_array_equal(ft.vmap(lambda x: nn.max_pool(x[None], 2)[0])(X), nn.max_pool(X, 2))
    assert nn.max_pool(np.zeros((0, 4, 1)), 2).shape == (0, 3, 1)


def test_tiles():
    x = np.maximum(X - 1, 0)  # with ties
    x[0, 0, 0, 0] = np.nan
    for pool in (nn.max_pool, nn.min_pool):
        slope = ft.grad(lambda x, f=pool: np.sum(f(x, 2, 2)))(x)
        tiles = slope[:, :, :6].reshape(2, 3, 2, 3, 2, 3)
        np.testing.assert_array_equal(tiles.sum((2, 4)), np.ones((2, 3, 3, 3)))
        assert set(np.unique(slope)) == {0, 1}
        overlapping = ft.grad(lambda x, f=pool: np.sum(f(x, 2)[:, ::2, ::2]))(np.nan_to_num(x))
        np.testing.assert_array_equal(ft.grad(lambda x, f=pool: np.sum(f(x, 2, 2)))(np.nan_to_num(x)), overlapping)
        check_grads(lambda x, f=pool: f(x, 2, 2) ** 2, (X[:1, :4, :4, :1],), order=2)


def test_bad_arguments():
    with pytest.raises(ValueError, match="window_shape must be a positive int for each of the 2 spatial axes"):
        nn.max_pool(X, (2, 2, 2))
    with pytest.raises(ValueError, match=r"max_pool needs an array with a batch axis.*got shape \(3,\)"):
        nn.max_pool(np.ones(3), 2)
    with pytest.raises(ValueError, match="strides must be a positive int"):
        nn.avg_pool(X, 2, 0)
    with pytest.raises(ValueError, match="padding must be a name or two numbers, not negative, for each of the 2"):
        nn.min_pool(X, 2, padding=((1, 1),))
    with pytest.raises(ValueError, match="'VALID', 'SAME'"):
        nn.min_pool(X, 2, padding="FULL")


@pytest.mark.parametrize(
    ("window", "strides", "what"), [("a", None, "window_shape"), (2.5, None, "window_shape"), (2, "x", "strides")]
)
def test_sizes_that_are_no_ints(window, strides, what):
    with pytest.raises(ValueError, match=f"max_pool: {what} must be a positive int for each of the 2 spatial axes"):
        nn.max_pool(X, window, strides)
