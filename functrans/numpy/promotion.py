"""NumPy's rules for operands that differ: promotion of dtypes (NEP 50) and broadcasting of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.caching import kept
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import broadcast_in_dim, reshape

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "filled",
    "like",
    "loop_dtypes",
    "promote",
    "promote_for",
    "result_type",
    "same_dtype",
    "strong",
]

_PYTHON_TYPES = {"i": int, "f": float, "c": complex}


def promote_for(ufunc: np.ufunc, *operands: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> list[Any]:
    """The operands as a ufunc computes with them: converted to its loop's dtypes, and broadcast to one shape.

    Args:
        ufunc: the ufunc.
        operands: tracers.
        dtype: that of the result, if it is asked for.
        weak: whether Python scalars among themselves stay weak, as in the operators of Python's own numbers.
    """
    dtypes = loop_dtypes(ufunc, tuple([x.aval for x in operands]), dtype)
    keep = weak and all([x.aval.weak for x in operands])
    return broadcast_arrays(*[convert_element_type(x, dtype, keep) for x, dtype in zip(operands, dtypes, strict=False)])


@kept("dtypes of ufuncs", 4096)
def loop_dtypes(
    ufunc: np.ufunc, avals: tuple[Aval, ...], dtype: np.dtype[Any] | None = None
) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the loop that a ufunc chooses for these operands: those of the operands, then of the results."""
    if all([aval.weak for aval in avals]):  # Python scalars alone: each as NumPy would make an array of it
        given: tuple[Any, ...] = tuple([aval.dtype for aval in avals])
    else:
        given = tuple([_PYTHON_TYPES[aval.dtype.kind] if aval.weak else aval.dtype for aval in avals])
    if dtype is None:
        return ufunc.resolve_dtypes(given + (None,) * ufunc.nout)
    return ufunc.resolve_dtypes(given + (None,) * ufunc.nout, signature=(None,) * ufunc.nin + (dtype,) * ufunc.nout)


def result_type(*avals: Aval) -> np.dtype[Any]:
    """The dtype that NumPy gives to operands of these avals together."""
    if all([aval.weak for aval in avals]):
        return np.result_type(*[aval.dtype for aval in avals])
    return np.result_type(*[aval.dtype.type(0).item() if aval.weak else aval.dtype for aval in avals])


def strong(x: Any) -> Any:
    """x, as an array has it: not weak."""
    return convert_element_type(x, x.dtype)


def same_dtype(operands: Sequence[Any], dtype: np.dtype[Any] | None = None) -> list[Any]:
    """The operands in their common dtype, Python scalars as the arrays that NumPy makes of them; or in a given one."""
    common = np.result_type(*[x.dtype for x in operands]) if dtype is None else dtype
    return [convert_element_type(x, common) for x in operands]


def promote(*operands: Any) -> list[Any]:
    """The operands in their common dtype, to which Python scalars give way."""
    dtype = result_type(*[x.aval for x in operands])
    return [convert_element_type(x, dtype) for x in operands]


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """x in a larger shape, its axes aligned with the last ones."""
    if x.shape == shape:
        return x
    if len(shape) < x.ndim or any([n not in (1, m) for n, m in zip(x.shape[::-1], shape[::-1], strict=False)]):
        raise ValueError(f"operands could not be broadcast together: shape {x.shape} does not fit into {shape}")
    if prod(x.shape) == prod(shape):  # only axes of length 1 are new
        return reshape(x, shape)
    return broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))


def broadcast_arrays(*operands: Any) -> list[Any]:
    """The operands in their common shape.

    Raises:
        ValueError: if there is none.
    """
    first = operands[0].shape
    if all([x.shape == first for x in operands]):
        return list(operands)
    shape = np.broadcast_shapes(*[x.shape for x in operands])
    return [broadcast_to(x, shape) for x in operands]


def filled(value: Any, shape: Sequence[int], dtype: Any) -> Literal:
    """One number, everywhere in an array."""
    return Literal(value, Aval(tuple(shape), np.dtype(dtype)))


def like(value: Any, x: Any) -> Literal:
    """One number in the shape and dtype of x."""
    return Literal(value, Aval(x.shape, x.dtype))
