"""Abstract values: what a program knows of an array before it runs, its shape and its dtype."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from functrans.caching import register_table
from functrans.dtypes import is_differentiable
from functrans.forking import fork_safe_lock

__all__ = ["Aval", "HasAval", "aval_of", "aval_of_array"]

Shape = tuple[int, ...]

_RECENT_MAX = 8192
_mutex = fork_safe_lock()
_recent: dict[tuple[Shape, np.dtype[Any], bool], Aval] = {}
_living: WeakValueDictionary[tuple[Shape, np.dtype[Any], bool], Aval] = WeakValueDictionary()
register_table("avals", _recent, _RECENT_MAX, _recent.clear)
register_table("avals in use", _living)


class Aval:
    """Shape, dtype and weakness of an array, interned: equal avals are the same object.

    A weak aval stands for a Python scalar, which takes the dtype of what it meets (NEP 50); it is shown with a star.

    >>> a = Aval((2, 3), np.dtype("float32"))
    >>> a, a is Aval((2, 3), np.dtype("float32")), a.size
    (float32[2,3], True, 6)
    """

    __slots__ = ("__weakref__", "dtype", "inexact", "ndim", "shape", "size", "weak")

    shape: Shape
    dtype: np.dtype[Any]
    weak: bool
    ndim: int
    size: int
    inexact: bool

    def __new__(cls, shape: Shape, dtype: np.dtype[Any], weak: bool = False) -> Aval:
        key = (shape, dtype, weak)
        aval = _recent.get(key)
        return _intern(key) if aval is None else aval

    def __repr__(self) -> str:
        return f"{self.dtype.name}{'*' if self.weak else ''}[{','.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return Aval, (self.shape, self.dtype, self.weak)

    def with_shape(self, shape: Shape) -> Aval:
        """The same dtype and weakness in another shape."""
        return Aval(shape, self.dtype, self.weak)

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def strong(self) -> Aval:
        """The same shape and dtype, not weak."""
        return Aval(self.shape, self.dtype) if self.weak else self


class HasAval:
    """What has an aval: a tracer, a literal, the place of an array. It has the shape and the dtype of one."""

    __slots__ = ()

    aval: Aval

    @property
    def shape(self) -> Shape:
        """The shape."""
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.aval.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.aval.size


def _intern(key: tuple[Shape, np.dtype[Any], bool]) -> Aval:
    # Two tables: the strong one makes the lookup fast and is emptied when it has grown, the weak one keeps the
    # identity of avals that somebody still holds.
    shape, dtype, weak = key
    if dtype.kind in "biufc":
        dtype = np.dtype(dtype.newbyteorder("=").str)  # the one object that arrays have: equal ones would be converted
    elif dtype.names != ("opaque",):
        raise TypeError(_unsupported(dtype))
    shape = tuple(map(int, shape))
    key = (shape, dtype, bool(weak))
    fresh = object.__new__(Aval)
    fresh.shape, fresh.dtype, fresh.weak = shape, dtype, bool(weak)
    fresh.ndim, fresh.size = len(shape), _product(shape)
    fresh.inexact = is_differentiable(dtype)
    with _mutex:  # a weak dictionary's setdefault is not atomic
        aval = _living.setdefault(key, fresh)
        if len(_recent) >= _RECENT_MAX:
            _recent.clear()
        _recent[key] = aval
    return aval


def _product(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _unsupported(dtype: np.dtype[Any]) -> str:
    hint = {
        "O": "An object array holds Python objects, which have no derivative: build a numeric array, or pass a list "
        "or tuple of arrays (a pytree).",
        "U": "Strings pass through as static leaves when they are not inside an array.",
        "S": "Strings pass through as static leaves when they are not inside an array.",
    }.get(dtype.kind, "Convert it to a numeric dtype before.")
    return f"unsupported dtype {dtype.name!r}: functrans computes with booleans, integers, floats and complex. {hint}"


_python_scalars: dict[type, Aval] = {}


def aval_of_array(x: np.ndarray[Any, Any]) -> Aval:
    """The aval of an array: one dictionary lookup for those met before."""
    aval = _recent.get((x.shape, x.dtype, False))
    return Aval(x.shape, x.dtype) if aval is None else aval


def aval_of(x: Any) -> Aval:
    """The aval of a tracer, a literal, an array, a NumPy scalar or a Python scalar.

    Raises:
        TypeError: for anything else, and for arrays of unsupported dtype.

    >>> aval_of(np.zeros(3)), aval_of(2.0), aval_of(True)
    (float64[3], float64*[], bool[])
    """
    kind = type(x)
    if kind is np.ndarray:
        return aval_of_array(x)
    aval = _python_scalars.get(kind)
    if aval is not None:
        return aval
    aval = getattr(x, "aval", None)
    if type(aval) is Aval:
        return aval
    if isinstance(x, (np.ma.MaskedArray, np.matrix)):
        raise TypeError(
            f"{type(x).__name__} is not supported: its arithmetic is not that of numpy.ndarray. "
            "Pass a plain array (np.asarray(x))."
        )
    if isinstance(x, (np.ndarray, np.generic)):
        return Aval(x.shape, x.dtype)
    for kind in (bool, int, float, complex):
        if isinstance(x, kind):
            return _python_scalars[kind]
    raise TypeError(f"expected an array or a number, got {x!r:.80} of type {type(x).__name__}")


_python_scalars[bool] = Aval((), np.dtype(bool))
_python_scalars[int] = Aval((), np.dtype(np.int64), True)
_python_scalars[float] = Aval((), np.dtype(np.float64), True)
_python_scalars[complex] = Aval((), np.dtype(np.complex128), True)
