"""Images of digits for the examples: MNIST from a folder, or the 1,797 small ones that come with scikit-learn."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

__all__ = ["Digits", "add_data_option", "load", "minibatches", "one_hot", "read_idx"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Digits(NamedTuple):
    """Images as rows of pixels from 0 to 1, with their labels."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def side(self) -> int:
        """How many pixels wide and high an image is."""
        return round(self.x.shape[1] ** 0.5)


def add_data_option(parser):
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of MNIST's four IDX files (.gz or not); else scikit-learn's digits",
    )


def load(folder: Path | None, rng: np.random.Generator) -> Digits:
    """MNIST from a folder; without one scikit-learn's digits, shuffled, two thirds of them to train on."""
    if folder is not None:
        return Digits(*[part for name in ("train", "t10k") for part in _read_mnist(Path(folder), name)])
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x, y = digits.data[order] / 16.0, digits.target[order]
    held_out = len(y) // 3
    return Digits(x[held_out:], y[held_out:], x[:held_out], y[:held_out])


def _read_mnist(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [_file(folder, f"{name}-{part}") for part in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    x, y = read_idx(images), read_idx(labels)
    return x.reshape(len(x), -1) / 255.0, y.astype(np.int64)


def _file(folder: Path, name: str) -> Path:
    spellings = [folder / (stem + end) for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for path in spellings:
        if path.is_file():
            return path
    raise SystemExit(f"no {name} in {folder}: MNIST has four files, train-* and t10k-*, images and labels")


def read_idx(path: Path) -> np.ndarray:
    """The array in a file of the IDX format (http://yann.lecun.com/exdb/mnist)."""
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    zero, code, ndim = struct.unpack(">HBB", content[:4])
    if zero or code not in _DTYPES:
        raise SystemExit(f"{path} is not an IDX file")
    shape = struct.unpack(f">{ndim}I", content[4 : 4 + 4 * ndim])
    return np.frombuffer(content, _DTYPES[code], offset=4 + 4 * ndim).reshape(shape)


def minibatches(n: int, size: int, rng: np.random.Generator):
    """The numbers 0 to n - 1, shuffled, in parts of about a size."""
    return np.array_split(rng.permutation(n), max(1, n // size))


def one_hot(y: np.ndarray, n: int = 10) -> np.ndarray:
    """A row for each label, 1 at its place."""
    return np.eye(n)[y]
