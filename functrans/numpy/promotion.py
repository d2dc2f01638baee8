"""NumPy's rules for operands that differ: promotion of dtypes (NEP 50) and broadcasting of shapes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import broadcast_in_dim

__all__ = ["broadcast_arrays", "broadcast_to", "loop_dtypes", "promote_for", "result_type"]

_PYTHON_TYPES = {"i": int, "f": float, "c": complex}


def promote_for(ufunc: np.ufunc, *operands: Any) -> list[Any]:
    """The operands as a ufunc computes with them: converted to its loop's dtypes, and broadcast to one shape."""
    dtypes = loop_dtypes(ufunc, tuple([x.aval for x in operands]))
    weak = all([x.aval.weak for x in operands])
    return broadcast_arrays(
        *[convert_element_type(x, dtype, weak) for x, dtype in zip(operands, dtypes, strict=False)]
    )


@lru_cache(maxsize=4096)
def loop_dtypes(ufunc: np.ufunc, avals: tuple[Aval, ...]) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the loop that a ufunc chooses for these operands: those of the operands, then of the results."""
    if all([aval.weak for aval in avals]):  # Python scalars alone: each as NumPy would make an array of it
        given: tuple[Any, ...] = tuple([aval.dtype for aval in avals])
    else:
        given = tuple([_PYTHON_TYPES[aval.dtype.kind] if aval.weak else aval.dtype for aval in avals])
    return ufunc.resolve_dtypes(given + (None,) * ufunc.nout)


def result_type(*avals: Aval) -> np.dtype[Any]:
    """The dtype that NumPy gives to operands of these avals together."""
    if all([aval.weak for aval in avals]):
        return np.result_type(*[aval.dtype for aval in avals])
    return np.result_type(*[aval.dtype.type(0).item() if aval.weak else aval.dtype for aval in avals])


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """x in a larger shape, its axes aligned with the last ones."""
    if x.shape == shape:
        return x
    return broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))


def broadcast_arrays(*operands: Any) -> list[Any]:
    """The operands in their common shape.

    Raises:
        ValueError: if there is none.
    """
    shape = np.broadcast_shapes(*[x.shape for x in operands])
    return [broadcast_to(x, shape) for x in operands]
