"""iota: the numbers 0, 1, 2, ... along an axis. It is the one primitive without operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import declare_absent, def_abstract, def_constant, def_specialized_impl

__all__ = ["broadcasted_iota", "iota", "iota_p"]

Shape = tuple[int, ...]


def iota(dtype: Any, size: int) -> Any:
    """The numbers 0, 1, ..., size - 1.

    >>> import numpy as np
    >>> iota(np.int32, 3)
    array([0, 1, 2], dtype=int32)
    """
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int) -> Any:
    """An array of the given shape whose elements are their index along an axis.

    >>> import numpy as np
    >>> broadcasted_iota(np.int64, (2, 3), 1)
    array([[0, 1, 2],
           [0, 1, 2]])
    """
    return iota_p.bind(dtype=np.dtype(dtype), shape=tuple(shape), dimension=dimension)


def _iota_abstract(*, dtype: np.dtype[Any], shape: Shape, dimension: int) -> Aval:
    if not 0 <= dimension < len(shape) or any([n < 0 for n in shape]):
        raise TypeError(f"iota: shape {shape} has no axis {dimension}, or a negative length")
    if dtype.kind not in "iufc":
        raise TypeError(f"iota does not give {dtype.name}")
    return Aval(shape, dtype)


def _iota_impl(*, dtype: np.dtype[Any], shape: Shape, dimension: int) -> Callable[..., Any]:
    if len(shape) == 1:
        return lambda: np.arange(shape[0], dtype=dtype)
    column = (-1, *[1] * (len(shape) - 1 - dimension))

    def run() -> Any:
        out = np.empty(shape, dtype)
        out[...] = np.arange(shape[dimension], dtype=dtype).reshape(column)
        return out

    return run


iota_p = Primitive("iota")
def_abstract(iota_p, _iota_abstract)
def_specialized_impl(iota_p, _iota_impl)
def_constant(iota_p, 0, "it has no operands")
declare_absent(iota_p, "batch", "it has no operands")
