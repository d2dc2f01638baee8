"""examples/digit_data.py: IDX files, and the digits of scikit-learn."""

import gzip
import struct

import numpy as np
import pytest

from tests.test_examples.example import example

digit_data = example("digit_data")


def write_idx(path, array, code):
    content = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), (">i2", 11), (">i4", 12), (">f4", 13), (">f8", 14)])
@pytest.mark.parametrize("name", ["array", "array.gz"])
def test_read_idx(tmp_path, dtype, code, name):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_idx(tmp_path / name, array, code)
    found = digit_data.read_idx(tmp_path / name)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_mnist(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(5, 28, 28), dtype="u1"), np.arange(5, dtype="u1")
    write_idx(tmp_path / "train-images-idx3-ubyte", images, 8)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels, 8)
    write_idx(tmp_path / "t10k-images.idx3-ubyte", images[:2], 8)
    with pytest.raises(SystemExit, match="no t10k-labels-idx1-ubyte in "):
        digit_data.load(tmp_path, rng)
    write_idx(tmp_path / "t10k-labels.idx1-ubyte.gz", labels[:2], 8)
    digits = digit_data.load(tmp_path, rng)
    np.testing.assert_array_equal(digits.x, images.reshape(5, 784) / 255)
    np.testing.assert_array_equal(digits.y_test, [0, 1])
    assert digits.side == 28


def test_no_idx_file(tmp_path):
    (tmp_path / "text").write_text("some text")
    with pytest.raises(SystemExit, match="is not an IDX file"):
        digit_data.read_idx(tmp_path / "text")


def test_digits_of_scikit_learn():
    digits = digit_data.load(None, np.random.default_rng(0))
    assert digits.x.shape == (1198, 64)
    assert digits.x_test.shape == (599, 64)
    assert digits.side == 8
    assert 0 == digits.x.min() < digits.x.max() == 1


def test_minibatches():
    parts = digit_data.minibatches(10, 3, np.random.default_rng(0))
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(np.concatenate(parts)) == list(range(10))
    assert len(digit_data.minibatches(2, 5, np.random.default_rng(0))) == 1
