"""Slices of what was sliced, padded, joined or broadcast: of the part that is left, with nothing else computed."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops.dynamic_slicing import dynamic_slice_p, dynamic_update_slice_p
from functrans.ops.indexing import GatherScatterMode, gather_p
from functrans.ops.joining import concatenate_p
from functrans.ops.shape import broadcast_in_dim_p, expand_dims_p, reshape_p
from functrans.ops.slicing import pad_p, slice_p
from functrans.passes.rewriting import Rule, Rules, Walk
from functrans.passes.shapes import shifted_broadcast

__all__ = ["FINAL_SLICES", "SLICES"]

Inputs = tuple[Atom, ...]
Shape = tuple[int, ...]
Cut = tuple[int, int, int]
"""Start, number of elements and stride along one axis."""

# --------------------------------------------------------------------------------------------------------------------
# slice


def _cuts(operation: Operation) -> list[Cut]:
    starts, strides = operation.params["start_indices"], operation.params["strides"]
    return list(zip(starts, operation.out_avals[0].shape, strides, strict=True))


def _cut(walk: Walk, x: Atom, cuts: list[Cut]) -> Atom:
    """The slice of an array, of so many elements from a start along each axis."""
    ends = tuple([start + (n - 1) * stride + 1 if n else start for start, n, stride in cuts])
    if all([n == m for (_, n, _), m in zip(cuts, walk.aval(x).shape, strict=True)]):
        return x
    starts, strides = tuple([cut[0] for cut in cuts]), tuple([cut[2] for cut in cuts])
    return walk.emit(slice_p, (x,), start_indices=starts, limit_indices=ends, strides=strides)


def _slice_rule(rules: dict[Any, Any]) -> Rule:
    def rule(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
        (x,), cuts = inputs, _cuts(operation)
        if operation.out_avals[0].shape == walk.aval(x).shape:
            return x
        if type(x) is not int or x < 0:
            return None
        found, operands = walk.made_by[x]
        inner = rules.get(found.primitive)
        return None if inner is None else inner(walk, cuts, found, operands)

    return rule


def _slice_of_slice(walk: Walk, cuts: list[Cut], found: Operation, operands: Inputs) -> Atom | None:
    inner = [
        (first + start * step, n, step * stride)
        for (start, n, stride), (first, _, step) in zip(cuts, _cuts(found), strict=True)
    ]
    limits = walk.aval(operands[0]).shape
    bounded = [(min(start, m), n, stride) for (start, n, stride), m in zip(inner, limits, strict=True)]
    return _cut(walk, operands[0], bounded)


def _slice_of_broadcast(walk: Walk, cuts: list[Cut], found: Operation, operands: Inputs) -> Atom | None:
    x = operands[0]
    dims, shape = found.params["broadcast_dimensions"], found.params["shape"]
    inner = [cuts[d] if n == shape[d] else (0, 1, 1) for n, d in zip(walk.aval(x).shape, dims, strict=True)]
    return shifted_broadcast(walk, found, _cut(walk, x, inner), tuple([n for _, n, _ in cuts]))


def _slice_of_joined(walk: Walk, cuts: list[Cut], found: Operation, operands: Inputs) -> Atom | None:
    axis = found.params["dimension"]
    start, n, stride = cuts[axis]
    if not n:
        return None
    ends = found.memo.get("ends")
    if ends is None:
        ends = found.memo["ends"] = list(accumulate([aval.shape[axis] for aval in found.in_avals]))
    number = bisect_right(ends, start)
    first = start - (ends[number - 1] if number else 0)
    if start + (n - 1) * stride >= ends[number]:
        return None
    return _cut(walk, operands[number], [*cuts[:axis], (first, n, stride), *cuts[axis + 1 :]])


def _slice_of_padded(walk: Walk, cuts: list[Cut], found: Operation, operands: Inputs) -> Atom | None:
    """All of the array's own elements, or none of them."""
    x, value = operands
    inner: list[Cut] = []
    for (start, n, stride), (low, _, interior), length in zip(
        cuts, found.params["padding_config"], walk.aval(x).shape, strict=True
    ):
        step = interior + 1
        first, last = start - low, start - low + (n - 1) * stride
        if n and (last < 0 or first > (length - 1) * step):
            return _filled(walk, value, tuple([n for _, n, _ in cuts]))
        if not n or first < 0 or last > (length - 1) * step or first % step or (stride % step and n > 1):
            return None
        inner.append((first // step, n, max(stride // step, 1)))
    return _cut(walk, x, inner)


def _filled(walk: Walk, value: Atom, shape: Shape) -> Atom:
    if type(value) is Literal:
        return Literal(value.value, value.aval.with_shape(shape))
    return walk.emit(broadcast_in_dim_p, (value,), shape=shape, broadcast_dimensions=()) if shape else value


_SLICES_OF: dict[Any, Any] = {
    slice_p: _slice_of_slice,
    broadcast_in_dim_p: _slice_of_broadcast,
    pad_p: _slice_of_padded,
}

# --------------------------------------------------------------------------------------------------------------------
# Slices whose place is a number after all


def _places(operation: Operation, shape: Shape, sizes: Shape, starts: Inputs) -> list[int] | None:
    """The starts of a dynamic slice, moved inside; None unless all that matter are known."""
    places = []
    allow = operation.params["allow_negative_indices"]
    for n, size, start, from_end in zip(shape, sizes, starts, allow, strict=True):
        if n == size:
            places.append(0)
        elif type(start) is Literal:
            place = int(start.value)
            places.append(min(max(place + n if from_end and place < 0 else place, 0), n - size))
        else:
            return None
    return places


def _dynamic_slice(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    x, sizes = inputs[0], operation.params["slice_sizes"]
    if type(x) is Literal:
        return Literal(x.value, operation.out_avals[0])
    places = _places(operation, walk.aval(x).shape, sizes, inputs[1:])
    return None if places is None else _cut(walk, x, [(start, n, 1) for start, n in zip(places, sizes, strict=True)])


def _dynamic_update_slice(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    x, update, *starts = inputs
    shape, sizes = walk.aval(x).shape, walk.aval(update).shape
    places = _places(operation, shape, sizes, tuple(starts))
    if places is None:
        return None
    if shape == sizes:
        return update
    if type(x) is not Literal:
        return None
    config = [(start, n - start - m, 0) for start, n, m in zip(places, shape, sizes, strict=True)]
    return walk.emit(pad_p, (update, _filled(walk, x, ())), padding_config=tuple(config))


def _gather(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    """One window whose place is known, inside."""
    x, indices = inputs
    numbers, sizes = operation.params["dimension_numbers"], operation.params["slice_sizes"]
    if type(indices) is not Literal or indices.ndim != 1 or numbers.operand_batching_dims:
        return None
    starts = dict.fromkeys(numbers.start_index_map, int(indices.value))
    cuts: list[Cut] = []
    for d, (n, size) in enumerate(zip(walk.aval(x).shape, sizes, strict=True)):
        start = starts.get(d, 0)
        if operation.params["mode"] is GatherScatterMode.CLIP:
            start = min(max(start, 0), n - size)
        if not 0 <= start <= n - size:
            return None
        cuts.append((start, size, 1))
    return walk.emit(reshape_p, (_cut(walk, x, cuts),), new_sizes=operation.out_avals[0].shape)


# --------------------------------------------------------------------------------------------------------------------
# pad and concatenate


def _pad(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    (x, value), config = inputs, operation.params["padding_config"]
    if not any([any(dim) for dim in config]):
        return x
    if not walk.aval(x).size:
        return _filled(walk, value, operation.out_avals[0].shape)
    lifted = walk.definition(x, expand_dims_p)
    inner = walk.definition(x if lifted is None else lifted[1][0], pad_p)
    if inner is None or inner[1][1] != value:
        return None
    source, first = inner[1][0], list(inner[0].params["padding_config"])
    if any([low < 0 or high < 0 for low, high, _ in (*config, *first)]) or any([dim[2] for dim in config]):
        return None
    if lifted is not None:
        dims = lifted[0].params["dimensions"]
        for d in dims:
            first.insert(d, (0, 0, 0))
        source = walk.emit(expand_dims_p, (source,), dimensions=dims)
    both = tuple([(a + c, b + d, i) for (a, b, _), (c, d, i) in zip(config, first, strict=True)])
    return walk.emit(pad_p, (source, value), padding_config=both)


def _concatenate(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    axis = operation.params["dimension"]
    parts: list[Atom] = []
    for x in inputs:
        if not walk.aval(x).shape[axis]:
            continue
        joined = _joined(walk, parts[-1], x, axis) if parts else None
        if joined is None:
            parts.append(x)
        else:
            parts[-1] = joined
    if len(parts) == len(inputs):
        return None if len(parts) > 1 else parts[0]
    if not parts:
        return inputs[0]
    return parts[0] if len(parts) == 1 else walk.emit(concatenate_p, tuple(parts), dimension=axis)


def _joined(walk: Walk, x: Atom, y: Atom, axis: int) -> Atom | None:
    """Two neighbours as one, if they are literals of one number, or slices of one array that follow each other."""
    if type(x) is Literal and type(y) is Literal:
        shape = list(x.shape)
        shape[axis] += y.shape[axis]
        both = Literal(x.value, x.aval.with_shape(tuple(shape)))
        return both if both == Literal(y.value, Aval(tuple(shape), y.dtype, x.aval.weak)) else None
    first, second = walk.definition(x, slice_p), walk.definition(y, slice_p)
    if first is None or second is None or first[1] != second[1]:
        return None
    one, other = _cuts(first[0]), _cuts(second[0])
    (start, n, stride), (begin, m, step) = one[axis], other[axis]
    same = one[:axis] + one[axis + 1 :] == other[:axis] + other[axis + 1 :]
    if not same or stride != 1 or step != 1 or begin != start + n:
        return None
    return _cut(walk, first[1][0], [*one[:axis], (start, n + m, 1), *one[axis + 1 :]])


SLICES: Rules = {
    slice_p: _slice_rule(_SLICES_OF),
    dynamic_slice_p: _dynamic_slice,
    dynamic_update_slice_p: _dynamic_update_slice,
    gather_p: _gather,
    pad_p: _pad,
    concatenate_p: _concatenate,
}

FINAL_SLICES: Rules = {slice_p: _slice_rule({**_SLICES_OF, concatenate_p: _slice_of_joined})}
"""For the final form alone: what linearizing keeps as views of one joined array would be kept twice."""
