"""functrans.data: files of MNIST, and mini-batches."""

import gzip
import struct

import numpy as np
import pytest

import functrans as ft
from functrans import data


def idx(array, code=8):
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def labels(n, seed):
    return np.random.default_rng(seed).integers(0, 10, n, dtype=np.uint8)


PARTS = {
    "train-images": images(7, 0),
    "train-labels": labels(7, 1),
    "t10k-images": images(3, 2),
    "t10k-labels": labels(3, 3),
}


def write(folder, mark="-", compressed=False):
    for name, array in PARTS.items():
        path = folder / f"{name}{mark}idx{array.ndim}-ubyte{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("compressed", [False, True])
def test_mnist(tmp_path, mark, compressed):
    write(tmp_path, mark, compressed)
    found = data.load_mnist(tmp_path)
    for array, expected in zip(found, PARTS.values(), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.uint8
        assert array.flags.writeable


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.arange(6, dtype=np.int16).reshape(2, 3) - 3, 11),
        (np.arange(3, dtype=np.int32), 12),
        (np.linspace(0, 1, 4).astype(np.float32), 13),
        (np.linspace(0, 1, 4), 14),
        (np.zeros((0, 2), np.int8), 9),
        (np.array(5, np.uint8), 8),
    ],
)
def test_idx_of_all_types(tmp_path, array, code):
    (tmp_path / "f").write_bytes(idx(array, code))
    found = data.read_idx(tmp_path / "f")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape


NAME = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated: 0 bytes are no IDX file"),
        (b"\0\0\x08", "truncated: 3 bytes"),
        (b"<html>404</html>", "no IDX file: it begins with 3c 68 74 6d"),
        (b"\0\0\x07\x01\0\0\0\0", "no IDX file: it begins with 00 00 07 01"),
        (idx(PARTS["train-images"])[:10], "ends within the lengths of its 3 axes"),
        (
            idx(PARTS["train-images"])[:-1],
            r"truncated: it has 5487 bytes of data, and an array of shape \(7, 28, 28\) needs 5488",
        ),
        (idx(PARTS["train-images"]) + b"\0", "damaged: it has more than 5488 bytes"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 28), "truncated: it has 0 bytes of data"),
        (idx(PARTS["train-labels"]), r"expected 3 axes of unsigned bytes, found uint8\[7\]"),
        (
            idx(PARTS["train-images"][:5]),
            r"train-labels-idx1-ubyte has 7 labels, but .*train-images-idx3-ubyte has 5 images",
        ),
        (idx(PARTS["train-images"][:, :9]), r"has images of shape \(28, 28\), but .* of \(9, 28\)"),
        (gzip.compress(idx(PARTS["train-images"]))[:-20], "gzip data is damaged or truncated"),
        (gzip.compress(idx(PARTS["train-images"]))[:3], "gzip data is damaged or truncated"),
        (
            gzip.compress(idx(PARTS["train-images"]), mtime=0)[:60] + b"xxxxxx" * 900,
            "gzip data is damaged or truncated|no IDX",
        ),
    ],
)
def test_damaged_files(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(data.DataFileError, match=message) as caught:
        data.load_mnist(tmp_path)
    assert NAME in str(caught.value)


def test_missing_files(tmp_path):
    write(tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"has no file of train-images; any of these would do: train-images-idx3-ub"
    ):
        data.load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        data.load_mnist(tmp_path / "none")


def test_digits():
    pytest.importorskip("sklearn")
    x, y = data.digits(np.float32)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)


def test_digits_without_sklearn(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        data.digits()


@pytest.mark.parametrize("n", [1, 2, 10, 11])
@pytest.mark.parametrize("size", [1, 3, 10, 20])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_have_each_example_once(n, size, drop_last):
    x = np.arange(n)
    seen = list(data.batches(ft.random.key(1), {"x": x, "y": [2 * x]}, size, drop_last))
    assert len(seen) == (n // size if drop_last else -(-n // size))
    assert all(np.array_equal(b["y"][0], 2 * b["x"]) for b in seen)
    rows = np.concatenate([b["x"] for b in seen]) if seen else np.arange(0)
    assert len(set(rows)) == len(rows) == (n - n % size if drop_last else n)


def test_batches_are_functions_of_the_key():
    x = np.arange(50)
    order = [np.concatenate(list(data.batches(ft.random.key(i), x, 7))) for i in (0, 0, 1)]
    np.testing.assert_array_equal(order[0], order[1])
    assert not np.array_equal(order[0], order[2])
    assert not np.array_equal(order[0], x)
    assert len(list(data.batches(ft.random.key(0), np.zeros((0, 3)), 7))) == 0


def test_batches_are_new_arrays():
    x = np.arange(4)
    for batch in data.batches(None, x, 2):
        batch[:] = 0
    np.testing.assert_array_equal(x, np.arange(4))


def test_every_order_is_as_likely():
    counts = np.zeros((4, 4))
    for seed in range(400):
        counts[np.arange(4), next(data.batches(ft.random.key(seed), np.arange(4), 4))] += 1
    assert np.all(np.abs(counts - 100) < 5 * np.sqrt(75))


def test_epochs_go_on_where_they_stopped():
    key, x = ft.random.key(0), np.arange(10)
    whole = [np.concatenate(list(epoch)) for epoch in data.epochs(key, x, 3, num_epochs=4)]
    later = [np.concatenate(list(epoch)) for epoch in data.epochs(key, x, 3, num_epochs=4, start=2)]
    np.testing.assert_array_equal(whole[2:], later)
    assert len({tuple(order) for order in whole}) == 4
    endless = data.epochs(key, x, 3)
    np.testing.assert_array_equal(np.concatenate(list(next(endless))), whole[0])


@pytest.mark.parametrize(("size", "held_out"), [(0.25, 3), (0.01, 1), (4, 4), (np.float64(0.5), 5)])
def test_train_test_split(size, held_out):
    x = np.arange(10)
    train, test = data.train_test_split(ft.random.key(0), (x, -x), size)
    assert len(test[0]) == held_out
    assert sorted([*train[0], *test[0]]) == list(x)
    np.testing.assert_array_equal(train[1], -train[0])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda k: data.batches(k, (np.ones(3), np.ones(4)), 2),
            ValueError,
            r"arrays\[1\] has 4 rows, but arrays\[0\] has 3",
        ),
        (
            lambda k: data.batches(k, {"x": np.float64(3)}, 2),
            TypeError,
            r"arrays\['x'\] must be an array with an axis .*scalar",
        ),
        (lambda k: data.batches(k, "text", 2), TypeError, "got 'text' of type str"),
        (lambda k: data.batches(k, (), 2), ValueError, "no array"),
        (lambda k: data.batches(k, np.ones(3), 0), ValueError, "size must be a positive int, got 0"),
        (lambda k: data.batches(k, np.ones(3), 1.5), ValueError, "size must be a positive int, got 1.5"),
        (lambda k: data.epochs(k, np.ones(3), True), ValueError, "got True"),
        (lambda k: data.train_test_split(k, np.ones(3), 3), ValueError, "leaves one part empty"),
        (lambda k: data.train_test_split(k, np.ones(3), 1.0), ValueError, "leaves one part empty"),
        (lambda k: data.train_test_split(k, np.ones(3), 0), ValueError, "leaves one part empty"),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message):
        call(ft.random.key(0))
