"""A program on stacks of its inputs: `batch : (x -> y) -> ([x] -> [y])`, all at once.

The program is walked once, each value with the axis along which it is stacked, or None where all members of the batch
share it. The rules of the primitives say how to compute on stacks with one operation.

>>> import numpy as np
>>> import functrans as ft
>>> from functrans.transforms.batch import BatchAxis, batch
>>> program = ft.make_jaxpr(lambda x: ft.lax.reduce_sum(ft.lax.sin(x), (0,)))(np.ones(3)).jaxpr
>>> batch(program, BatchAxis(5), (1,))
({ lambda ; a:f64[3,5]. let
    b:f64[3,5] = sin a
    c:f64[5] = reduce_sum[axes=(0,)] b
  in (c,) }, (0,))
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

from functrans.core.aval import Aval
from functrans.core.evaluation import Environment, apply_equation, eval_jaxpr, stage
from functrans.core.jaxpr import Equation, Jaxpr, Literal, axis_names_in, derived, jaxprs_in
from functrans.core.rules import BatchAxis
from functrans.errors import MissingRuleError, describe_line
from functrans.ops.families import stacked
from functrans.ops.joining import concatenate
from functrans.ops.shape import reshape
from functrans.ops.slicing import index_in_dim
from functrans.passes.inline import inline
from functrans.passes.pipeline import tidied

__all__ = ["Axes", "BatchAxis", "batch", "batch_to", "collective_over"]

Axes = tuple[int | None, ...]


def batch(jaxpr: Jaxpr, axis: BatchAxis, axes: Axes) -> tuple[Jaxpr, Axes]:
    """The program on stacked inputs.

    Args:
        jaxpr: the program.
        axis: how many members the batch has, and its name.
        axes: along which axis each input is stacked; None where it is shared.

    Returns:
        The program, and the axis along which each output is stacked.
    """
    axis = _named_if_used(jaxpr, axis)
    return derived(jaxpr, ("batch", axis, axes), lambda: _batch(inline(jaxpr), axis, axes))


def batch_to(jaxpr: Jaxpr, axis: BatchAxis, axes: Axes, out_axes: Axes) -> Jaxpr:
    """The program on stacked inputs, with its outputs stacked along the given axes.

    An output for which None is given must not depend on a stacked input.
    """
    axis = _named_if_used(jaxpr, axis)
    return derived(jaxpr, ("batch_to", axis, axes, out_axes), lambda: _batch_to(jaxpr, axis, axes, out_axes))


def _named_if_used(jaxpr: Jaxpr, axis: BatchAxis) -> BatchAxis:
    """The axis without its name, where no collective in the program asks for it."""
    return axis if axis.name is None or axis.name in axis_names_in(jaxpr) else BatchAxis(axis.size)


def collective_over(jaxpr: Jaxpr, name: Hashable, exchanging: bool = False) -> str | None:
    """A description of the first collective over a named axis in a program; None if there is none.

    With `exchanging`, of the first that hands values from member to member, which `axis_index` does not.
    """
    if name is None or name not in axis_names_in(jaxpr):
        return None
    for eqn in jaxpr.eqns:
        if eqn.primitive.is_collective and eqn.params["axis_name"] == name and (eqn.inputs or not exchanging):
            where = f" at {describe_line(*eqn.source)}" if eqn.source is not None else ""
            return f"{eqn.primitive.name}{where}"
        for inner in [inner for value in eqn.params.values() for inner in jaxprs_in(value)]:
            found = collective_over(inner, name, exchanging)
            if found is not None:
                return found
    return None


def _batch_to(jaxpr: Jaxpr, axis: BatchAxis, axes: Axes, out_axes: Axes) -> Jaxpr:
    program, given = batch(jaxpr, axis, axes)
    with stage("batch", program.in_avals) as recording:
        results = eval_jaxpr(program, recording.inputs(), recording)
        outs = [
            x if wanted is None else stacked(x, axis.size, have, wanted)
            for x, have, wanted in zip(results, given, out_axes, strict=True)
        ]
        return recording.close(outs)[0]


def _batch(jaxpr: Jaxpr, axis: BatchAxis, axes: Axes) -> tuple[Jaxpr, Axes]:
    avals = [
        aval if along is None else aval.with_shape((*aval.shape[:along], axis.size, *aval.shape[along:]))
        for aval, along in zip(jaxpr.in_avals, axes, strict=True)
    ]
    with stage("batch", avals) as recording:
        env, axis_of = Environment(recording.inputs()), Environment(axes)
        for eqn in jaxpr.eqns:
            recording.source = eqn.source
            operands = env.read_all(eqn.inputs)
            operand_axes = [axis_of.read(x) if type(x) is int else None for x in eqn.inputs]
            outs, out_axes = _batch_equation(eqn, axis, operands, operand_axes)
            env.write(outs)
            axis_of.write(out_axes)
        given = tuple([axis_of.read(x) if type(x) is int else None for x in jaxpr.outs])
        program, _ = recording.close(env.read_all(jaxpr.outs), intern=False)
    return tidied(program), given


def _batch_equation(
    eqn: Equation, axis: BatchAxis, operands: list[Any], axes: list[int | None]
) -> tuple[Sequence[Any], Sequence[int | None]]:
    names = eqn.operation.axis_names
    if all([along is None for along in axes]) and not (names and axis.name in names):
        return apply_equation(eqn, operands), [None] * len(eqn.outs)
    if eqn.primitive.batch is None:
        if axis.name in names:
            raise MissingRuleError(
                f"primitive {eqn.primitive.name!r} carries a program with a collective over {axis.name!r}, and has no "
                "batching rule: its members cannot be computed one by one"
            )
        return _loop(eqn, axis.size, operands, axes)
    primitive = eqn.primitive
    batched_over = axis if primitive.batches_programs else axis.size
    outs, out_axes = primitive.batch(batched_over, operands, axes, **eqn.params)
    return (outs, out_axes) if primitive.multiple_results else ([outs], [out_axes])


_warned: set[str] = set()


def _loop(
    eqn: Equation, size: int, operands: list[Any], axes: list[int | None]
) -> tuple[Sequence[Any], Sequence[int | None]]:
    """A primitive without a batching rule, member by member: correct, and slow."""
    name = eqn.primitive.name
    if name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"primitive {name!r} has no batching rule: it runs once for each member of a batch. Give it one: "
            f"{eqn.primitive.remedy('batch', 'lambda size, operands, axes, **params: (outs, out_axes)')}.",
            stacklevel=2,
        )
    if size == 0:
        return [Literal(0, Aval((0, *aval.shape), aval.dtype)) for aval in eqn.out_avals], [0] * len(eqn.outs)
    members = []
    for i in range(size):
        own = [
            x if axis is None else index_in_dim(x, i, axis, keepdims=False)
            for x, axis in zip(operands, axes, strict=True)
        ]
        members.append(apply_equation(eqn, own))
    return [_stack(outs) for outs in zip(*members, strict=True)], [0] * len(eqn.outs)


def _stack(members: Sequence[Any]) -> Any:
    return concatenate([reshape(x, (1, *x.shape)) for x in members], 0)
