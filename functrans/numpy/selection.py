"""What an index selects: NumPy's rules of indexing, applied to an index and a shape before anything is computed.

An index comes as a *key*, a tuple with one item for each thing between the brackets:

- an int, None and Ellipsis stand for themselves, `(start, stop, step)` for a slice;
- `("array", shape)` is an integer array of that shape, whose contents are not looked at here;
- `("mask", shape, count)` is a boolean array with so many True in it; it comes as the flat positions of those;
- `("bool", value)` is a single True or False, which indexes no axis and adds one.

All ints are of type `int`, and booleans are only inside of `("bool", ...)`, so equal keys mean the same.
`Selection.of` says where each axis of the result comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.caching import kept

__all__ = ["Array", "Integer", "Key", "Range", "Selection"]

Shape = tuple[int, ...]
Key = tuple[Any, ...]


class Integer(NamedTuple):
    """An axis that is indexed by a number, counted from the front."""

    start: int
    length: int = 1


class Range(NamedTuple):
    """An axis of which `length` elements are taken, from `start` on in steps of `step`, which may be negative."""

    start: int
    length: int
    step: int

    @property
    def lowest(self) -> int:
        """The least index that is taken."""
        return self.start if self.step > 0 else self.start + (self.length - 1) * self.step


class Array(NamedTuple):
    """An axis that is indexed by an array: which one, of the arrays in the order of the index."""

    number: int


NEW, BATCH = "new", "batch"


class Selection(NamedTuple):
    """What an index selects from an array.

    Attributes:
        merged: the shape to which the array is brought first: the axes of a mask become one.
        original: for each of its axes the number that the user knows it by.
        axes: how each of its axes is indexed, an `Integer`, `Range` or `Array`.
        batch: the common shape of the index arrays; None without any.
        layout: where the axes of the result come from: an int is an axis of the merged array, "new" a new axis of
            length 1, "batch" all those of `batch`.
        shape: the shape of the result.
        distinct: whether no element can be selected twice.
    """

    merged: Shape
    original: Shape
    axes: tuple[Integer | Range | Array, ...]
    batch: Shape | None
    layout: tuple[int | str, ...]
    shape: Shape
    distinct: bool

    @staticmethod
    def of(shape: Shape, key: Key) -> Selection:
        """What a key selects from an array of a shape.

        Raises:
            IndexError: if there are too many indices, or they do not fit the shape or one another.

        >>> Selection.of((5, 3), ((1, None, 2), None, 0)).shape
        (2, 1)
        """
        return _selection(shape, key)

    @property
    def new_axes(self) -> Shape:
        """The axes of the result that are new."""
        found, position = [], 0
        for part in self.layout:
            if part == NEW:
                found.append(position)
            position += len(self.batch or ()) if part == BATCH else 1
        return tuple(found)

    @property
    def array_axes(self) -> Shape:
        """The axes of the merged array that are indexed by arrays, in the order of the arrays."""
        return tuple([d for d, entry in enumerate(self.axes) if type(entry) is Array])


@kept("indices", 16_384)
def _selection(shape: Shape, key: Key) -> Selection:
    expanded = _without_ellipsis(shape, key)
    axes: list[Integer | Range | Array] = []
    merged: list[int] = []
    original: list[int] = []
    fancy = any([_is_fancy(item) for item in expanded])
    layout: list[int | str] = []
    places: list[tuple[int, int]] = []  # of each advanced index: its place in the index, and in the result
    d = 0
    for place, item in enumerate(expanded):
        if item is None:
            layout.append(NEW)
        if item is None or item is Ellipsis:  # an ellipsis of no axes separates what is next to it all the same
            continue
        if type(item) is int or _is_fancy(item):
            places.append((place, len(layout)))
        if _n_axes(item) == 0:
            continue
        original.append(d)
        entry, n, n_axes = _axis(shape, d, item, len([x for x in axes if type(x) is Array]))
        if type(entry) is Range:
            layout.append(len(axes))
        axes.append(entry)
        merged.append(n)
        d += n_axes
    batch = _batch_shape(expanded) if fancy else None
    if batch is not None:
        first, last = places[0], places[-1]
        together = last[0] - first[0] + 1 == len(places)
        layout.insert(first[1] if together else 0, BATCH)
    return Selection(
        tuple(merged),
        tuple(original),
        tuple(axes),
        batch,
        tuple(layout),
        _result_shape(layout, axes, batch),
        _is_distinct(expanded, batch),
    )


def _is_fancy(item: Any) -> bool:
    return type(item) is tuple and item[0] in ("array", "mask", "bool")


def _without_ellipsis(shape: Shape, key: Key) -> Key:
    """The key with whole slices in place of the ellipsis; one that stands for no axes stays."""
    positions = [i for i, item in enumerate(key) if item is Ellipsis]
    if len(positions) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    used = sum([_n_axes(item) for item in key])
    if used > len(shape):
        raise IndexError(f"too many indices for array: array is {len(shape)}-dimensional, but {used} were indexed")
    rest = ((None, None, None),) * (len(shape) - used)
    if not positions:
        return (*key, *rest)
    (i,) = positions
    return (*key[:i], *(rest or (Ellipsis,)), *key[i + 1 :])


def _n_axes(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    if _is_fancy(item) and item[0] != "array":
        return len(item[1]) if item[0] == "mask" else 0
    return 1


def _axis(shape: Shape, d: int, item: Any, number: int) -> tuple[Integer | Range | Array, int, int]:
    """How an axis is indexed, its length, and how many axes of the array it is."""
    if type(item) is int:
        return Integer(_position(item, d, shape)), shape[d], 1
    if item[0] == "array":
        return Array(number), shape[d], 1
    if item[0] == "mask":
        for i, length in enumerate(item[1]):
            if shape[d + i] != length:
                raise IndexError(
                    f"boolean index did not match indexed array along axis {d + i}; size of axis is "
                    f"{shape[d + i]} but size of corresponding boolean axis is {length}{_seen(shape)}"
                )
        return Array(number), prod(item[1]), len(item[1])
    start, stop, step = slice(*item).indices(shape[d])
    length = len(range(start, stop, step))
    if length <= 1:  # its step does not matter
        start, step = (start, 1) if length else (0, 1)
    return Range(start, length, step), shape[d], 1


def _position(index: int, axis: int, shape: Shape) -> int:
    n = shape[axis]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {n}{_seen(shape)}")
    return index + n if index < 0 else index


def _seen(shape: Shape) -> str:
    return f" (the indexed array has shape {shape})"


def _batch_shapes(key: Key) -> Iterator[Shape]:
    for item in key:
        if _is_fancy(item):
            if item[0] == "array":
                yield item[1]
            elif item[0] == "mask":
                yield from [(item[2],)] * len(item[1])
            else:
                yield (int(item[1]),)


def _batch_shape(key: Key) -> Shape:
    shapes = list(_batch_shapes(key))
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " ".join([str(shape).replace(" ", "") for shape in shapes if shape])
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {listed}"
        ) from None


def _result_shape(layout: list[int | str], axes: list[Any], batch: Shape | None) -> Shape:
    shape: list[int] = []
    for part in layout:
        if part == BATCH:
            shape.extend(batch or ())
        else:
            shape.append(1 if type(part) is str else axes[part].length)  # type: ignore[index]
    return tuple(shape)


def _is_distinct(key: Key, batch: Shape | None) -> bool:
    """Whether all index vectors differ: there is but one, or one component of them is a mask's positions."""
    if batch is None or prod(batch) <= 1:
        return True
    return any([type(item) is tuple and item[0] == "mask" and (item[2],) == batch for item in key])
