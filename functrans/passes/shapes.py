"""Changes of shape: those that follow each other become one, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.jaxpr import Atom, Operation
from functrans.ops.shape import (
    broadcast_in_dim_p,
    expand_dims_p,
    reshape_p,
    rev_p,
    squeeze_p,
    transpose_p,
)
from functrans.passes.rewriting import Rules, Walk

__all__ = ["SHAPES", "shifted_broadcast", "unreshaped"]

Inputs = tuple[Atom, ...]
Shape = tuple[int, ...]

_RESHAPES = frozenset({reshape_p, squeeze_p, expand_dims_p})


def unreshaped(walk: Walk, atom: Atom) -> Atom:
    """What an atom was before it was reshaped, if it was."""
    if type(atom) is int and atom >= 0:
        operation, inputs = walk.made_by[atom]
        if operation.primitive in _RESHAPES:
            return inputs[0]
    return atom


def long_axes(shape: Shape) -> list[int]:
    """The axes whose length is not 1."""
    return [d for d, n in enumerate(shape) if n != 1]


def _lengths(shape: Shape, axes: Sequence[int]) -> list[int]:
    return [shape[d] for d in axes]


def _reshape(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    shape, source = operation.out_avals[0].shape, unreshaped(walk, inputs[0])
    if walk.aval(source).shape == shape:
        return source
    if source != inputs[0]:
        return walk.emit(reshape_p, (source,), new_sizes=shape)
    return _reshaped_broadcast(walk, inputs[0], shape)


def _reshaped_broadcast(walk: Walk, atom: Atom, shape: Shape) -> Atom | None:
    """A broadcast array with more or fewer axes of length 1, as one broadcast."""
    found = walk.definition(atom, broadcast_in_dim_p)
    if found is None:
        return None
    before, dims = found[0].params["shape"], found[0].params["broadcast_dimensions"]
    old, new = long_axes(before), long_axes(shape)
    if _lengths(before, old) != _lengths(shape, new) or any([d not in old for d in dims]):
        return None
    place = dict(zip(old, new, strict=True))
    return walk.emit(broadcast_in_dim_p, found[1], shape=shape, broadcast_dimensions=tuple([place[d] for d in dims]))


def _transpose(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    (x,), permutation = inputs, operation.params["permutation"]
    if permutation == tuple(range(len(permutation))):
        return x
    inner = walk.definition(x, transpose_p)
    if inner is not None:
        first = inner[0].params["permutation"]
        return walk.emit(transpose_p, inner[1], permutation=tuple([first[d] for d in permutation]))
    shape = walk.aval(x).shape
    moved = [d for d in permutation if shape[d] != 1]
    if moved == sorted(moved):
        return walk.emit(reshape_p, inputs, new_sizes=operation.out_avals[0].shape)
    spread = walk.definition(x, broadcast_in_dim_p)
    if spread is not None:
        dims = tuple([permutation.index(d) for d in spread[0].params["broadcast_dimensions"]])
        if dims == tuple(sorted(dims)):
            return walk.emit(
                broadcast_in_dim_p, spread[1], shape=operation.out_avals[0].shape, broadcast_dimensions=dims
            )
    return None


def _broadcast(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    (x,), shape, dims = inputs, operation.params["shape"], operation.params["broadcast_dimensions"]
    before, out = walk.aval(x), operation.out_avals[0]
    if before.shape == shape:
        return x
    if before.size == out.size and before.size:
        return walk.emit(reshape_p, inputs, new_sizes=shape)
    inner = walk.definition(x, broadcast_in_dim_p)
    if inner is not None:
        both = tuple([dims[d] for d in inner[0].params["broadcast_dimensions"]])
        return walk.emit(broadcast_in_dim_p, inner[1], shape=shape, broadcast_dimensions=both)
    source = unreshaped(walk, x)
    was, axes = walk.aval(source).shape, long_axes(before.shape)
    if source != x and list(was) == _lengths(before.shape, axes):
        both = tuple([dims[d] for d in axes])
        return walk.emit(broadcast_in_dim_p, (source,), shape=shape, broadcast_dimensions=both)
    return None


def shifted_broadcast(walk: Walk, broadcast: Any, part: Atom, shape: Shape) -> Atom:
    """As a broadcast, of another array with the same axes, to another shape with the same axes."""
    return walk.emit(
        broadcast_in_dim_p, (part,), shape=shape, broadcast_dimensions=broadcast.params["broadcast_dimensions"]
    )


def _rev(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    (x,), shape = inputs, operation.out_avals[0].shape
    dims = {d for d in operation.params["dimensions"] if shape[d] > 1}
    inner = walk.definition(x, rev_p)
    if inner is not None:
        dims, x = dims.symmetric_difference(inner[0].params["dimensions"]), inner[1][0]
    if not dims:
        return x
    left = tuple(sorted(dims))
    return walk.emit(rev_p, (x,), dimensions=left) if left != operation.params["dimensions"] or inner else None


SHAPES: Rules = {
    reshape_p: _reshape,
    squeeze_p: _reshape,
    expand_dims_p: _reshape,
    transpose_p: _transpose,
    broadcast_in_dim_p: _broadcast,
    rev_p: _rev,
}
