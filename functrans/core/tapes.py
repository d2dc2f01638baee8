"""Tapes: what a loop of unknown length keeps, one array for each of its iterations.

To a program a tape looks like one of its arrays, of a dtype of its own: what is done to a tape (its axes put in another
order, a batch axis put in) is done to every array on it. It can be differentiated if its arrays can: its tangent is the
tape of their tangents. A literal of such a dtype, and any array of it, stands for a tape of any length with this array
at every iteration; so a zero tape is a zero. After its end a tape is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, HasAval
from functrans.dtypes import opaque_of

__all__ = ["Tape", "added", "element_aval", "is_tape", "steps_of", "tape_aval"]


def tape_aval(element: Aval) -> Aval:
    """The aval of a tape of arrays of an aval.

    >>> element_aval(tape_aval(Aval((3,), np.dtype("float32"))))
    float32[3]
    """
    return Aval(element.shape, opaque_of(element.dtype))


def element_aval(tape: Aval) -> Aval:
    """The aval of the arrays on a tape."""
    return Aval(tape.shape, tape.dtype[0])


def is_tape(aval: Aval) -> bool:
    """Whether an aval is that of a tape."""
    return aval.dtype.kind == "V"


class Tape(HasAval):
    """The arrays that a loop has kept, in the order of its iterations. It is not written to when the loop has ended."""

    __slots__ = ("aval", "steps")

    def __init__(self, aval: Aval, steps: list[Any]) -> None:
        self.aval = aval
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"Tape({self.aval}, {len(self.steps)} iterations)"

    def __add__(self, other: Any) -> Tape:
        length = max(len(self.steps), len(other.steps)) if isinstance(other, Tape) else len(self.steps)
        pairs = zip(steps_of(self, length), steps_of(other, length), strict=True)
        return Tape(self.aval, [added(x, y) for x, y in pairs])

    def __radd__(self, other: Any) -> Tape:
        return self + other

    def map(self, function: Callable[[Any], Any]) -> Tape:
        """The tape of what a function of arrays gives; their shape, and not their dtype, may be another."""
        shape = function(np.empty(self.aval.shape, bool)).shape
        return Tape(self.aval.with_shape(shape), [function(x) for x in self.steps])

    # What changes the shape of an array does so on a tape, array by array.

    def transpose(self, permutation: Sequence[int]) -> Tape:
        """As `ndarray.transpose`."""
        return self.map(lambda x: x.transpose(permutation))

    def reshape(self, shape: Sequence[int]) -> Tape:
        """As `ndarray.reshape`."""
        return self.map(lambda x: x.reshape(shape))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in (np.broadcast_to, np.reshape, np.transpose):
            return NotImplemented
        return self.map(lambda x: function(x, *args[1:], **kwargs))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.add and method == "__call__":  # of an array of tapes and a tape, or of a zero and a tape
            x, y = inputs
            return self + (y if x is self else x)
        if ufunc is not np.add or method != "reduce":
            return NotImplemented
        axes = inputs[1] if len(inputs) > 1 else kwargs.get("axis", 0)
        return self.map(lambda x: np.add.reduce(x, axes))


def added(x: Any, y: Any) -> Any:
    """The sum of two tapes, or of two of the arrays that are on tapes."""
    # An array of the dtype of a tape is a zero: no other literals of tapes are made.
    if isinstance(x, (np.ndarray, np.void)) and x.dtype.kind == "V":
        return y
    return x if isinstance(y, (np.ndarray, np.void)) and y.dtype.kind == "V" else x + y


def steps_of(tape: Any, length: int) -> list[Any]:
    """The first arrays of a tape, or as often the one that stands for a tape of any length.

    After its end a tape is zero: that of the cotangents of a tape ends where its last reader has ended.
    """
    if not isinstance(tape, Tape):
        return [np.asarray(tape)["opaque"]] * length
    steps = tape.steps
    if len(steps) < length:
        return steps + [np.zeros(tape.shape, tape.dtype[0])] * (length - len(steps))
    return steps if len(steps) == length else steps[:length]
