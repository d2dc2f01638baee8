"""MNIST, and data of its kind, from IDX files (LeCun, Cortes and Burges, yann.lecun.com/exdb/mnist).

An IDX file has two zero bytes, one for the type of its elements, one for the number of axes, the length of each axis as
a big-endian 32-bit integer, and the elements in C order.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from functrans.errors import hide_frames

__all__ = ["DataFileError", "Mnist", "load_mnist", "read_idx"]

_PathLike = str | os.PathLike[str]

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_CHUNK = 1 << 20


class DataFileError(ValueError):
    """A file of data is damaged, truncated or of another format. The message names the file and the fault.

    Download it again.
    """


class Mnist(NamedTuple):
    """Images of shape (n, rows, columns) and labels of shape (n,), to train on and to test on."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_mnist(folder: _PathLike) -> Mnist:
    """MNIST, Fashion-MNIST or data in the same form, from a folder with their four files.

    Args:
        folder: it has `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte`, each as it is or with `.gz`, with `-idx` or `.idx` in the name.

    Returns:
        Images, uint8 from 0 to 255, and labels, uint8.

    Raises:
        FileNotFoundError: if a file is missing, with the names that would do.
        DataFileError: if a file is damaged, or images and labels are not as many; it names the file and the fault.
    """
    try:
        found = [
            _read_part(os.fspath(folder), f"{part}-{what}", ndim)
            for part in ("train", "t10k")
            for what, ndim in (("images", 3), ("labels", 1))
        ]
        for (images_path, images), (labels_path, labels) in (found[:2], found[2:]):
            if len(images) != len(labels):
                raise DataFileError(
                    f"{labels_path} has {len(labels)} labels, but {images_path} has {len(images)} images"
                )
        (train_path, train), (test_path, test) = found[0], found[2]
        if train.shape[1:] != test.shape[1:]:
            raise DataFileError(
                f"{test_path} has images of shape {test.shape[1:]}, but {train_path} of {train.shape[1:]}"
            )
        return Mnist(*[array for _, array in found])
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _read_part(folder: str, name: str, ndim: int) -> tuple[str, np.ndarray]:
    names = [f"{name}{mark}idx{ndim}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for path in [os.path.join(folder, name) for name in names]:
        if os.path.isfile(path):
            array = read_idx(path)
            if array.ndim != ndim or array.dtype != np.uint8:
                raise DataFileError(
                    f"{path}: expected {ndim} {'axes' if ndim > 1 else 'axis'} of unsigned bytes, found "
                    f"{array.dtype}{list(array.shape)}"
                )
            return path, array
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is not a folder; load_mnist needs one with the four files of MNIST")
    raise FileNotFoundError(f"{folder} has no file of {name}; any of these would do: {', '.join(names)}")


def read_idx(path: _PathLike) -> np.ndarray:
    """The array in an IDX file, as it is or compressed by gzip, whatever its name says.

    Args:
        path: the file.

    Returns:
        The array, of the machine's byte order.

    Raises:
        DataFileError: if the file is damaged or no IDX file; it names the file and the fault.
        OSError: if it cannot be opened.
    """
    shown = os.fspath(path)
    try:
        with open(shown, "rb") as raw:
            is_compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not is_compressed:
                return _read_idx(shown, raw)
            with gzip.open(raw) as file:
                return _read_idx(shown, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(f"{shown}: its gzip data is damaged or truncated: {error}") from None
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _read_idx(path: str, file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4:
        raise DataFileError(f"{path}: truncated: {len(head)} bytes are no IDX file")
    zeros, code, ndim = struct.unpack(">HBB", head)
    if zeros or code not in _DTYPES:
        raise DataFileError(f"{path}: no IDX file: it begins with {head.hex(' ')}, not with 00 00 and a known type")
    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise DataFileError(f"{path}: truncated: it ends within the lengths of its {ndim} axes")
    shape = struct.unpack(f">{ndim}I", lengths)
    dtype = np.dtype(_DTYPES[code])
    data = _read_exactly(path, file, shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_exactly(path: str, file: BinaryIO | gzip.GzipFile, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The bytes of an array, of which no more are kept than there are."""
    wanted, parts, n = prod(shape) * dtype.itemsize, [], 0
    while n <= wanted and (part := file.read(min(_CHUNK, wanted + 1 - n))):
        parts.append(part)
        n += len(part)
    if n != wanted:
        fault = f"truncated: it has {n}" if n < wanted else f"damaged: it has more than {wanted}"
        raise DataFileError(f"{path}: {fault} bytes of data, and an array of shape {shape} needs {wanted}")
    return b"".join(parts)
