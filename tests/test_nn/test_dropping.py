"""Dropout."""

import numpy as np
import pytest

import functrans as ft
from functrans import nn

KEY = ft.random.key(0)


def test_drops_and_keeps_the_mean():
    x = np.ones((200, 200), np.float32)
    out = nn.dropout(KEY, x, 0.25)
    assert out.dtype == np.float32
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.75], rtol=1e-6)
    assert np.mean(out == 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(nn.dropout(KEY, x, 0.25), out)
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(nn.dropout(KEY, x, 0.25)))(x), out)
    np.testing.assert_array_equal(ft.jit(nn.dropout)(KEY, x, 0.25), out)


def test_edges():
    x = np.array([1.0, np.inf])
    np.testing.assert_array_equal(nn.dropout(None, x, 0.5, deterministic=True), x)
    np.testing.assert_array_equal(nn.dropout(None, x, 0.0), x)
    np.testing.assert_array_equal(nn.dropout(None, x, 1.0), [0, 0])
    columns = nn.dropout(KEY, np.ones((4, 50)), 0.5, broadcast_dims=(0,))
    assert (columns == columns[0]).all()
    assert len(set(map(tuple, ft.vmap(lambda k: nn.dropout(k, np.ones(40), 0.5))(ft.random.split(KEY, 3))))) == 3


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"dropout: rate is a probability, from 0 to 1, got 1\.5"):
        nn.dropout(KEY, np.ones(3), 1.5)
    with pytest.raises(ValueError, match=r"dropout needs a key of functrans\.random"):
        nn.dropout(None, np.ones(3), 0.5)
    with pytest.raises(ValueError, match=r"rate must be one number, got an array of shape \(2,\)"):
        nn.dropout(KEY, np.ones(3), np.ones(2) / 2)
