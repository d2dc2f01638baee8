"""Arrays of keys: their axes, and what NumPy may not do with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft

KEYS = ft.random.split(ft.random.key(0), (3, 1, 2))


def test_axes() -> None:
    assert KEYS.T.shape == KEYS.transpose().shape == KEYS.transpose((2, 1, 0)).shape == (2, 1, 3)
    assert KEYS.transpose(1, -1, 0).shape == (1, 2, 3)
    assert KEYS.squeeze().shape == KEYS.squeeze(1).shape == KEYS.squeeze((-2,)).shape == (3, 2)
    words = ft.random.key_data(KEYS)
    np.testing.assert_array_equal(ft.random.key_data(KEYS.T), words.transpose(2, 1, 0, 3))
    np.testing.assert_array_equal(ft.random.key_data(KEYS.squeeze()), words[:, 0])
    np.testing.assert_array_equal(ft.random.key_data(ft.jit(lambda k: k.T.squeeze())(KEYS)), words[:, 0].swapaxes(0, 1))
    with pytest.raises(ValueError, match="squeeze"):
        KEYS.squeeze(0)
    with pytest.raises(ValueError, match="axis 5 is out of bounds"):
        KEYS.transpose(0, 5, 1)


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        np.sum,
        lambda keys: np.stack([keys[0], keys[1]]),
        lambda keys: ft.numpy.concatenate([keys, keys]),
        lambda keys: ft.grad(lambda x: x * np.sum(keys))(1.0),
    ],
)
def test_no_array_of_objects_is_made_of_them(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"NumPy's functions do not take keys: .*key_data\(keys\)"):
        use(KEYS)
    joined = ft.tree.map(lambda *words: np.stack(words), KEYS[0], KEYS[1])
    assert (joined[1] == KEYS[1]).all()
