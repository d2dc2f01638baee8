"""concatenate and split, each the other's transpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    def_abstract,
    def_batch,
    def_impl,
    def_linear,
    def_specialized_impl,
)
from functrans.ops.families import align
from functrans.ops.slicing import slice_in_dim

__all__ = ["concatenate", "concatenate_p", "split", "split_p"]

Shape = tuple[int, ...]


def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """Arrays of one dtype, one after the other along an axis; their other axes must have the same lengths.

    Raises:
        TypeError: if they have not.

    >>> import numpy as np
    >>> concatenate([np.zeros(1), np.ones(2)], 0)
    array([0., 1., 1.])
    """
    operands = list(operands)
    if len(operands) == 1 and 0 <= dimension < operands[0].ndim:
        return operands[0]
    return concatenate_p.bind(*operands, dimension=dimension)


def _concatenate_abstract(*operands: Aval, dimension: int) -> Aval:
    if not operands:
        raise TypeError("concatenate: it needs at least one operand")
    first = operands[0]
    if not 0 <= dimension < first.ndim:
        raise TypeError(f"concatenate: {first} has no axis {dimension}")
    before, after = first.shape[:dimension], first.shape[dimension + 1 :]
    for x in operands:
        fits = x.ndim == first.ndim and x.shape[:dimension] == before and x.shape[dimension + 1 :] == after
        if not fits or x.dtype != first.dtype:
            raise TypeError(
                f"concatenate: operands must have the same dtype, and the same shape but "
                f"along axis {dimension}, got {', '.join(map(str, operands))}"
            )
    return Aval((*before, sum([x.shape[dimension] for x in operands]), *after), first.dtype)


def _concatenate_transpose(ct: Any, *operands: Any, dimension: int) -> list[Any]:
    ends = accumulate([x.shape[dimension] for x in operands])
    return [
        slice_in_dim(ct, end - x.shape[dimension], end, axis=dimension) if type(x) is UndefinedPrimal else None
        for x, end in zip(operands, ends, strict=True)
    ]


def _concatenate_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, dimension: int
) -> tuple[Any, int]:
    return concatenate(align(size, operands, axes, 0), dimension + 1), 0


concatenate_p = Primitive("concatenate")
concatenate_p.places_zeros = among_zeros
def_abstract(concatenate_p, _concatenate_abstract)
def_impl(concatenate_p, lambda *operands, dimension: np.concatenate(operands, dimension))
def_linear(concatenate_p, _concatenate_transpose)
def_batch(concatenate_p, _concatenate_batch)


def split(operand: Any, sizes: Sequence[int], axis: int = 0) -> list[Any]:
    """The consecutive pieces of an array along an axis, of the given lengths.

    Raises:
        TypeError: if the lengths do not add up to that of the axis.

    >>> import numpy as np
    >>> split(np.arange(3), (1, 2))
    [array([0]), array([1, 2])]
    """
    axis = axis + operand.ndim if axis < 0 else axis
    return list(split_p.bind(operand, sizes=tuple(sizes), axis=axis))


def _split_abstract(operand: Aval, *, sizes: Shape, axis: int) -> tuple[Aval, ...]:
    if not 0 <= axis < operand.ndim:
        raise TypeError(f"split: {operand} has no axis {axis}")
    if sum(sizes) != operand.shape[axis] or any([n < 0 for n in sizes]):
        raise TypeError(f"split: the sizes {sizes} are not a partition of axis {axis} of {operand}")
    before, after = operand.shape[:axis], operand.shape[axis + 1 :]
    return tuple([operand.with_shape((*before, n, *after)) for n in sizes])


def _split_impl(operand: Aval, *, sizes: Shape, axis: int) -> Callable[..., Any]:
    whole = (slice(None),) * axis
    indices = [(*whole, slice(end - n, end)) for n, end in zip(sizes, accumulate(sizes), strict=True)]
    return lambda x: tuple([x[index] for index in indices])


def _split_transpose(cts: Sequence[Any], operand: Any, *, sizes: Shape, axis: int) -> tuple[Any]:
    avals = _split_abstract(operand.aval, sizes=sizes, axis=axis)
    zeros = [Literal(0, aval.strong) for aval in avals]
    return (concatenate([zero if ct is None else ct for ct, zero in zip(cts, zeros, strict=True)], axis),)


def _split_batch(
    size: int, operands: Sequence[Any], axes: Sequence[int], *, sizes: Shape, axis: int
) -> tuple[list[Any], list[int]]:
    return split(operands[0], sizes, axis + (axis >= axes[0])), [axes[0]] * len(sizes)


split_p = Primitive("split", multiple_results=True)
split_p.is_view = True
def_abstract(split_p, _split_abstract)
def_specialized_impl(split_p, _split_impl)
def_linear(split_p, _split_transpose)
def_batch(split_p, _split_batch)
