"""Data to train on: MNIST from its files, scikit-learn's digits, and shuffled mini-batches.

>>> import numpy as np
>>> import functrans as ft
>>> from functrans import data
>>> x, y = np.arange(10.0), np.arange(10)
>>> for bx, by in data.batches(ft.random.key(0), (x, y), 4):
...     print(bx.shape, bool(np.all(bx == by)))
(4,) True
(4,) True
(2,) True
"""

from functrans.data.batching import batches, epochs, train_test_split
from functrans.data.digits import digits
from functrans.data.mnist import DataFileError, Mnist, load_mnist, read_idx

__all__ = [
    "DataFileError",
    "Mnist",
    "batches",
    "digits",
    "epochs",
    "load_mnist",
    "read_idx",
    "train_test_split",
]
