"""What all elementwise primitives have in common: their type, and how they batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import declare_absent, def_abstract, def_batch, def_impl, def_jvp
from functrans.ops.shape import broadcast_in_dim, moveaxis

__all__ = [
    "ANY",
    "BITS",
    "BOOL",
    "COMPLEX",
    "FLOAT",
    "INEXACT",
    "INTEGER",
    "NUMBER",
    "REAL",
    "align",
    "batch_elementwise",
    "constant_like",
    "def_derivative",
    "elementwise",
    "matched",
]

# Which kinds of dtype an operation takes, in NumPy's letters.
BOOL, INTEGER, FLOAT, COMPLEX = "b", "iu", "f", "c"
INEXACT, REAL, NUMBER, BITS = "fc", "iuf", "iufc", "biu"
ANY = "biufc"
_KINDS = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floats", "c": "complex numbers"}
_RANKS: dict[Any, int] = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3, int: 1, float: 2, complex: 3}


def elementwise(
    name: str, impl: Callable[..., Any], kinds: str, result: Callable[[np.dtype[Any]], Any] | None = None
) -> Primitive:
    """A primitive that works element by element on operands of one shape and dtype.

    Args:
        name: its name.
        impl: its value; must broadcast 0-d operands as NumPy's ufuncs do.
        kinds: the kinds of dtype that it takes.
        result: the dtype of the result, from that of the operands; the same if not given.

    The result is weak if all operands are, and it has their dtype.
    """
    primitive = Primitive(name)
    primitive.is_elementwise = True

    def abstract(*avals: Aval, **params: Any) -> Aval:
        first = avals[0]
        for aval in avals:
            if aval.shape != first.shape or aval.dtype != first.dtype:
                raise TypeError(
                    f"{name}: operands must have the same shape and dtype, got {', '.join(map(str, avals))}"
                )
        if first.dtype.kind not in kinds:
            raise TypeError(f"{name} takes {_described(kinds)}, got {', '.join(map(str, avals))}")
        dtype = first.dtype if result is None else np.dtype(result(first.dtype))
        return Aval(first.shape, dtype, dtype == first.dtype and all([aval.weak for aval in avals]))

    def_impl(primitive, impl)
    def_abstract(primitive, abstract)
    def_batch(primitive, batch_elementwise(primitive))
    return primitive


def _described(kinds: str) -> str:
    *first, last = [_KINDS[kind] for kind in kinds]
    return f"{', '.join(first)} and {last}" if first else last


def def_derivative(primitive: Primitive, *rules: Callable[..., Any] | None) -> None:
    """Give the JVP of a primitive that is not linear, operand by operand: `rule(t, out, *primals, **params)`."""
    def_jvp(primitive, *rules)
    declare_absent(primitive, "transpose", "not linear")


def batch_elementwise(primitive: Primitive) -> Callable[..., Any]:
    """The batching rule of an elementwise primitive: all operands get the batch axis of the first that has one."""

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, int]:
        axis = next(axis for axis in axes if axis is not None)
        return primitive.bind(*align(size, operands, axes, axis), **params), axis

    return batch


def align(size: int, operands: Sequence[Any], axes: Sequence[int | None], axis: int) -> list[Any]:
    """The operands with their batch axis at one place; those without one are broadcast."""
    return [stacked(x, size, have, axis) for x, have in zip(operands, axes, strict=True)]


def stacked(x: Any, size: int, have: int | None, wanted: int) -> Any:
    """A value stacked along one axis, from one stacked along another or shared."""
    if have is not None:
        return moveaxis(x, have, wanted)
    shape = (*x.shape[:wanted], size, *x.shape[wanted:])
    return broadcast_in_dim(x, shape, [d for d in range(x.ndim + 1) if d != wanted])


def constant_like(x: Any, value: Any) -> Literal:
    """A number as a literal of the shape and dtype of a tracer, literal or array."""
    return Literal(value, Aval(x.shape, x.dtype))


def matched(*operands: Any) -> list[Any]:
    """The operands, with Python numbers as literals of the others' shape and dtype.

    Raises:
        TypeError: if that would change a number (2.5 among integers).
    """
    like = next((x for x in operands if hasattr(x, "shape")), None)
    if like is None:
        return [np.asarray(x) for x in operands]
    return [x if hasattr(x, "shape") else _literal(x, like) for x in operands]


def _literal(number: Any, like: Any) -> Literal:
    if _RANKS.get(type(number), 0) > _RANKS[like.dtype.kind]:
        raise TypeError(
            f"the number {number!r} does not fit among operands of dtype {like.dtype.name}: convert them before"
        )
    return constant_like(like, number)
