"""Images of digits for the examples: MNIST from a folder, or the 1,797 small ones of scikit-learn in MNIST's form."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import functrans as ft
from functrans import data

__all__ = ["Digits", "add_data_option", "enlarge", "load"]


class Digits(NamedTuple):
    """Images of 28 by 28 pixels as rows of 784 numbers from 0 to 1, and their labels."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def add_data_option(parser):
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of MNIST's four IDX files (.gz or not); else scikit-learn's digits, enlarged to 28 x 28 pixels",
    )


def load(folder: Path | None, seed: int) -> Digits:
    """MNIST from a folder; without one scikit-learn's digits, of which a third, chosen by the seed, is to test on."""
    if folder is None:
        images, labels = data.digits()
        examples = enlarge(images), labels
        (x, y), (x_test, y_test) = data.train_test_split(ft.random.key(seed), examples, test_size=1 / 3)
        return Digits(x, y, x_test, y_test)
    try:
        found = data.load_mnist(folder)
    except (OSError, data.DataFileError) as error:
        raise SystemExit(f"--data: {error}") from None
    x, x_test = [images.reshape(len(images), -1) / 255 for images in (found.train_images, found.test_images)]
    return Digits(x, found.train_labels.astype(int), x_test, found.test_labels.astype(int))


def enlarge(images: np.ndarray) -> np.ndarray:
    """Images of 8 x 8 pixels in MNIST's form: each pixel becomes 3 x 3, with an empty frame 2 pixels wide."""
    large = images.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(large, [(0, 0), (2, 2), (2, 2)]).reshape(-1, 784)
