"""examples/digit_data.py: the digits of scikit-learn in MNIST's form, and MNIST itself."""

import gzip
import struct

import numpy as np
import pytest

from functrans import data
from tests.test_examples.example import example

digit_data = example("digit_data")


def write_idx(path, array):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_mnist(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(5, 28, 28), dtype="u1"), np.arange(5, dtype="u1")
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    write_idx(tmp_path / "t10k-images.idx3-ubyte", images[:2])
    with pytest.raises(SystemExit, match=r"--data: .* has no file of t10k-labels"):
        digit_data.load(tmp_path, 0)
    write_idx(tmp_path / "t10k-labels.idx1-ubyte.gz", labels[:2])
    digits = digit_data.load(tmp_path, 0)
    np.testing.assert_array_equal(digits.x, images.reshape(5, 784) / 255)
    np.testing.assert_array_equal(digits.y_test, [0, 1])


def test_messages(tmp_path):
    with pytest.raises(SystemExit, match="is not a folder"):
        digit_data.load(tmp_path / "nowhere", 0)
    (tmp_path / "train-images-idx3-ubyte").write_text("some text")
    with pytest.raises(SystemExit, match="no IDX file"):
        digit_data.load(tmp_path, 0)


def test_digits_of_scikit_learn():
    digits = digit_data.load(None, 0)
    assert (digits.x.shape, digits.y.shape) == ((1198, 784), (1198,))
    assert (digits.x_test.shape, digits.y_test.shape) == ((599, 784), (599,))
    assert 0 == digits.x.min() < digits.x.max() == 1
    other = digit_data.load(None, 1)
    assert not np.array_equal(digits.y_test, other.y_test)
    images, labels = data.digits()
    assert sorted([*digits.y, *digits.y_test]) == sorted(labels)
    small = np.concatenate([digits.x, digits.x_test]).reshape(-1, 28, 28)[:, 3:27:3, 3:27:3].reshape(-1, 64)
    assert sorted(map(tuple, small)) == sorted(map(tuple, images))


def test_enlarge():
    image = np.arange(64.0)
    large = digit_data.enlarge(image).reshape(28, 28)
    np.testing.assert_array_equal(large[2:26, 2:26], np.kron(image.reshape(8, 8), np.ones((3, 3))))
    assert large.sum() == 9 * image.sum()
