"""What all elementwise primitives have in common: their type, and how they batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_impl
from functrans.ops.shape import broadcast_in_dim, moveaxis

__all__ = ["ANY", "BOOL", "COMPLEX", "FLOAT", "INEXACT", "INTEGER", "NUMBER", "REAL", "elementwise", "matched"]

# Which kinds of dtype an operation takes, in NumPy's letters.
BOOL, INTEGER, FLOAT, COMPLEX = "b", "iu", "f", "c"
INEXACT, REAL, NUMBER = "fc", "iuf", "iufc"
ANY = "biufc"


def elementwise(
    name: str, impl: Callable[..., Any], kinds: str, result: Callable[[np.dtype[Any]], Any] | None = None
) -> Primitive:
    """A primitive that works element by element on operands of one shape and dtype.

    Args:
        name: its name.
        impl: its value; must broadcast 0-d operands as NumPy's ufuncs do.
        kinds: the kinds of dtype that it takes.
        result: the dtype of the result, from that of the operands; the same if not given.
    """
    primitive = Primitive(name)
    primitive.is_elementwise = True

    def abstract(*avals: Aval, **params: Any) -> Aval:
        first = avals[0]
        for aval in avals:
            if aval.shape != first.shape or aval.dtype != first.dtype:
                raise TypeError(f"{name}: operands must have the same shape and dtype, got {', '.join(map(str, avals))}")
        if first.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {first.dtype.name}")
        dtype = first.dtype if result is None else np.dtype(result(first.dtype))
        return Aval(first.shape, dtype, result is None and all([aval.weak for aval in avals]))

    def_impl(primitive, impl)
    def_abstract(primitive, abstract)
    def_batch(primitive, batch_elementwise(primitive))
    return primitive


def batch_elementwise(primitive: Primitive) -> Callable[..., Any]:
    """The batching rule of an elementwise primitive: all operands get the batch axis of the first that has one."""

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, int]:
        axis = next(axis for axis in axes if axis is not None)
        return primitive.bind(*align(size, operands, axes, axis), **params), axis

    return batch


def align(size: int, operands: Sequence[Any], axes: Sequence[int | None], axis: int) -> list[Any]:
    """The operands with their batch axis at one place; those without one are broadcast."""
    aligned = []
    for x, have in zip(operands, axes, strict=True):
        if have is not None:
            aligned.append(moveaxis(x, have, axis))
        else:
            shape = (*x.shape[:axis], size, *x.shape[axis:])
            aligned.append(broadcast_in_dim(x, shape, [d for d in range(x.ndim + 1) if d != axis]))
    return aligned


def matched(*operands: Any) -> list[Any]:
    """The operands, with Python numbers as literals of the others' shape and dtype."""
    like = next((x for x in operands if hasattr(x, "shape")), None)
    if like is None:
        return [np.asarray(x) for x in operands]
    aval = Aval(like.shape, like.dtype)
    return [x if hasattr(x, "shape") else Literal(x, aval) for x in operands]
