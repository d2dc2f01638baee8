"""A batch in chunks, one after the other, so that memory is bounded by what a chunk needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.control.rearranging import reordered
from functrans.core.effects import is_effectful
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, derived, interned
from functrans.ops.families import stacked
from functrans.ops.joining import concatenate
from functrans.ops.scan import bind_scan
from functrans.ops.shape import moveaxis, reshape
from functrans.ops.slicing import index_in_dim, slice_in_dim
from functrans.passes.inline import inline
from functrans.transforms.batch import Axes, BatchAxis, batch, batch_to

__all__ = ["batch_in_chunks"]


def batch_in_chunks(jaxpr: Jaxpr, size: int, axes: Axes, out_axes: Axes, chunk: int) -> Jaxpr:
    """The program on stacked inputs, as `batch_to` gives it, but that a scan runs it on so many members at a time.

    The members that are left over are computed at the end. What does not depend on a stacked input is computed once.
    """
    if chunk >= size:
        return batch_to(jaxpr, BatchAxis(size), axes, out_axes)
    key = ("chunks", size, axes, out_axes, chunk)
    return derived(jaxpr, key, lambda: _batch_in_chunks(inline(jaxpr), size, axes, out_axes, chunk))


def _batch_in_chunks(jaxpr: Jaxpr, size: int, axes: Axes, out_axes: Axes, chunk: int) -> Jaxpr:
    shared, given = _shared_outputs(jaxpr, axes, chunk), range(len(jaxpr.outs))
    avals = [
        aval if along is None else aval.with_shape((*aval.shape[:along], size, *aval.shape[along:]))
        for aval, along in zip(jaxpr.in_avals, axes, strict=True)
    ]
    with stage("vmap", avals) as recording:
        operands = recording.inputs()
        stacks = _scan(_with_outputs(jaxpr, [i for i in given if i not in shared]), size, axes, chunk, operands)
        once = eval_jaxpr(_with_outputs(jaxpr, shared), operands, recording) if shared else []
        outs = []
        for number, wanted in enumerate(out_axes):
            if number in shared:
                x = once[shared.index(number)]
                outs.append(x if wanted is None else stacked(x, size, None, wanted))
            else:
                x = stacks[number - sum([i < number for i in shared])]
                outs.append(index_in_dim(x, 0, keepdims=False) if wanted is None else moveaxis(x, 0, wanted))
        return interned(recording.close(outs)[0])


def _shared_outputs(jaxpr: Jaxpr, axes: Axes, chunk: int) -> list[int]:
    """The outputs that depend on no stacked input. None are set apart in a program with effects, which happen once."""
    if is_effectful(jaxpr):
        return []
    return [i for i, along in enumerate(batch(jaxpr, BatchAxis(chunk), axes)[1]) if along is None]


def _with_outputs(jaxpr: Jaxpr, chosen: Sequence[int]) -> Jaxpr:
    """The program with some of its outputs, and what they need."""
    return reordered(jaxpr, range(len(jaxpr.in_avals)), [jaxpr.outs[i] for i in chosen])


def _scan(jaxpr: Jaxpr, size: int, axes: Axes, chunk: int, operands: Sequence[Any]) -> list[Any]:
    """The outputs, all stacked along axis 0."""
    n_chunks, left_over = divmod(size, chunk)
    consts = [x for x, along in zip(operands, axes, strict=True) if along is None]
    xs = [moveaxis(x, along, 0) for x, along in zip(operands, axes, strict=True) if along is not None]
    end = n_chunks * chunk
    rows = [reshape(slice_in_dim(x, 0, end), (n_chunks, chunk, *x.shape[1:])) for x in xs]
    stacks = bind_scan(_chunk(jaxpr, axes, chunk), consts, [], rows, n_chunks, False)
    outs = [reshape(x, (end, *x.shape[2:])) for x in stacks]
    if not left_over:
        return outs
    last = eval_jaxpr(_chunk(jaxpr, axes, left_over), [*consts, *[slice_in_dim(x, end, size) for x in xs]])
    return [concatenate([x, y], 0) for x, y in zip(outs, last, strict=True)]


def _chunk(jaxpr: Jaxpr, axes: Axes, chunk: int) -> Jaxpr:
    """The program on so many members, from the inputs that are shared, then those that are stacked, along axis 0."""
    order = sorted(range(len(axes)), key=lambda i: axes[i] is not None)
    in_axes = tuple([None if axes[i] is None else 0 for i in order])
    return batch_to(reordered(jaxpr, order), BatchAxis(chunk), in_axes, (0,) * len(jaxpr.outs))
