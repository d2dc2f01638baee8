"""Literals: the numbers inside of programs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from functrans.caching import kept, register_table
from functrans.core.aval import Aval, HasAval, aval_of
from functrans.core.params import fingerprint
from functrans.forking import fork_safe_lock

__all__ = ["Literal", "literal_of"]

_lock = fork_safe_lock()


class Literal(HasAval):
    """A number inside a program: one Python or NumPy scalar, in the place of an array of any shape (a splat).

    Literals are interned, so that equal ones are the same object; 0.0 and -0.0 are not equal, NaN is.

    >>> Literal(0.0, Aval((3,), np.dtype("float64")))
    0.0:float64[3]
    """

    __slots__ = ("__weakref__", "_array", "aval", "value")

    value: Any
    aval: Aval
    _array: Any

    def __new__(cls, value: Any, aval: Aval | None = None) -> Literal:
        aval = aval_of(value) if aval is None else aval
        scalar = aval.dtype.type(value).item() if not aval.weak and aval.dtype.kind != "V" else value
        key = (fingerprint(scalar), aval)
        found = _literals.get(key)
        if found is None:
            found = object.__new__(cls)
            found.value, found.aval, found._array = scalar, aval, None
            with _lock:  # a weak dictionary's setdefault is not atomic
                found = _literals.setdefault(key, found)
        return found

    def __repr__(self) -> str:
        return f"{self.value}:{self.aval}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Literal, (self.value, self.aval)

    @property
    def scalar(self) -> np.ndarray[Any, Any]:
        """The value as a read-only 0-d array of the literal's dtype."""
        if self._array is None:
            dtype = self.aval.dtype
            array = np.array(self.value, dtype) if dtype.kind != "V" else np.zeros((), dtype)  # of tapes there is zero
            array.flags.writeable = False
            self._array = array
        return self._array

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The value as a fresh array of the literal's shape."""
        return np.full(self.aval.shape, self.scalar) if self.aval.shape else self.scalar.copy()


_literals: WeakValueDictionary[Hashable, Literal] = WeakValueDictionary()
register_table("literals in use", _literals)


def literal_of(number: float) -> Literal:
    """The literal of a Python number."""
    return _literal_of(number) if number else Literal(number)  # 0.0 and -0.0 are equal as keys


@kept("literals of Python numbers", 1024, typed=True)
def _literal_of(number: float) -> Literal:
    return Literal(number)
