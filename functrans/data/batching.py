"""Shuffled mini-batches, as pure functions of a key."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from functrans.errors import hide_frames
from functrans.random import fold_in, permutation
from functrans.tree import flatten, leaf_path

__all__ = ["batches", "epochs", "train_test_split"]


def _rows(name: str, arrays: Any) -> tuple[list[np.ndarray], Any, int]:
    """The arrays of a tree, its structure, and the length that their first axes have."""
    leaves, treedef = flatten(arrays)
    if not leaves:
        raise ValueError(f"{name}: there is no array in arrays")
    found = [np.asarray(x) if isinstance(x, (np.ndarray, list)) else x for x in leaves]
    for place, x in enumerate(found):
        path = leaf_path(treedef, place, "arrays")
        if not isinstance(x, np.ndarray) or not x.ndim:
            what = "a scalar" if isinstance(x, (np.ndarray, np.generic)) else f"{x!r:.60} of type {type(x).__name__}"
            raise TypeError(f"{name}: {path} must be an array with an axis of examples, got {what}")
        if len(x) != len(found[0]):
            first = leaf_path(treedef, 0, "arrays")
            raise ValueError(f"{name}: {path} has {len(x)} rows, but {first} has {len(found[0])}")
    return found, treedef, len(found[0])


def _order(key: Any, n: int) -> np.ndarray:
    """A random permutation."""
    return np.asarray(permutation(key, n))


def batches(key: Any, arrays: Any, size: int, drop_last: bool = False) -> Iterator[Any]:
    """Mini-batches of examples in a random order, each example once.

    Args:
        key: a key of `functrans.random`, which decides on the order; None for the order that there is.
        arrays: a pytree of arrays whose first axes count the examples.
        size: how many examples a batch has.
        drop_last: whether to leave out the last batch if it has fewer.

    Returns:
        An iterator of trees of the same structure, with new arrays.

    Raises:
        TypeError, ValueError: at once, if there is no array, the first axes differ, or the size is not a positive int.

    >>> import numpy as np
    >>> from functrans import data
    >>> [list(batch) for batch in data.batches(None, np.arange(5), 2)]
    [[np.int64(0), np.int64(1)], [np.int64(2), np.int64(3)], [np.int64(4)]]
    """
    try:
        leaves, treedef, n = _rows("batches", arrays)
        length = _positive("batches", "size", size)
        order = np.arange(n) if key is None else _order(key, n)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    stop = n - n % length if drop_last else n
    starts = range(0, stop, length)
    return (treedef.unflatten([x[order[i : min(i + length, stop)]] for x in leaves]) for i in starts)


def _positive(name: str, what: str, n: Any) -> int:
    try:
        found = operator.index(n)
    except TypeError:
        found = 0
    if found < 1 or isinstance(n, bool):
        raise ValueError(f"{name}: {what} must be a positive int, got {n!r:.60}")
    return found


def epochs(
    key: Any, arrays: Any, size: int, num_epochs: int | None = None, drop_last: bool = False, start: int = 0
) -> Iterator[Iterator[Any]]:
    """Iterators of mini-batches, one for each pass over the data, each in an order of its own.

    Args:
        key: a key; pass i shuffles by `fold_in(key, i)`, so that a training that goes on later sees the same batches.
        arrays, size, drop_last: as of `batches`.
        num_epochs: how many passes there are in all; without end if None.
        start: the number of the first one.

    Raises:
        TypeError, ValueError: at once, as `batches`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> from functrans import data
    >>> [sum(len(batch) for batch in epoch) for epoch in data.epochs(ft.random.key(0), np.arange(5), 2, num_epochs=3)]
    [5, 5, 5]
    """
    batches(None, arrays, size, drop_last)  # checks
    numbers = count(start) if num_epochs is None else range(start, num_epochs)
    return (batches(fold_in(key, i), arrays, size, drop_last) for i in numbers)


def train_test_split(key: Any, arrays: Any, test_size: float | int = 0.25) -> tuple[Any, Any]:
    """Examples divided at random into those to train on and those to test on.

    Args:
        key: a key of `functrans.random`.
        arrays: a pytree of arrays whose first axes count the examples.
        test_size: the part, a float between 0 and 1 (rounded up, as in scikit-learn), or the number to test on.

    Returns:
        Two trees of the same structure, with new arrays.

    Raises:
        TypeError, ValueError: as `batches`, or if one of the two would be empty.

    >>> import numpy as np
    >>> import functrans as ft
    >>> from functrans import data
    >>> (x_train, y_train), (x_test, y_test) = data.train_test_split(
    ...     ft.random.key(0), (np.arange(10.0), np.arange(10)), test_size=0.3)
    >>> len(x_train), len(y_test), bool(np.all(x_test == y_test))
    (7, 3, True)
    """
    try:
        leaves, treedef, n = _rows("train_test_split", arrays)
        held_out = (
            int(np.ceil(test_size * n)) if isinstance(test_size, (float, np.floating)) else operator.index(test_size)
        )
        if not 0 < held_out < n or (isinstance(test_size, float) and test_size >= 1):
            raise ValueError(f"train_test_split: test_size={test_size} of {n} examples leaves one part empty")
        order = _order(key, n)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    parts = order[held_out:], order[:held_out]
    train, test = [treedef.unflatten([x[rows] for x in leaves]) for rows in parts]
    return train, test
