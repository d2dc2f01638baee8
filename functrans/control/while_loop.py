"""The rules of `while`: a loop until a condition fails.

Forward mode runs the loop on values and tangents. Linearizing gives a loop that also writes what its derivative needs
onto tapes, and counts; the derivative is a `replay` of a linear body over the tapes, which reverse mode transposes into
a replay backwards. So the length need not be known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.generate import input_values
from functrans.backends.numpy_codegen.loops import (
    Iteration,
    append_kept,
    begin_carry,
    go_on,
    last_carry,
    loop_function,
    may_be_the_first,
    owned_text,
)
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import Value
from functrans.control.batched_bodies import BatchedBody, batched_body
from functrans.control.checkpointed_loop import bind_snapshots, retraced
from functrans.control.linear_loops import linear_carry, split_carry
from functrans.control.loop_bodies import Body, jvp_of_body, linearized_body, with_zeros
from functrans.control.members import empty_batch, joined, member, to_front
from functrans.control.rearranging import rearranged
from functrans.control.replay import bind_replay
from functrans.core.aval import Aval
from functrans.core.effects import is_effectful
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Equation, Jaxpr, Literal, derived
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.core.tapes import Tape, tape_aval
from functrans.errors import MissingRuleError
from functrans.ops.bitwise import bitwise_and
from functrans.ops.checkpointed_loop import snapshots_p
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add
from functrans.ops.reductions import reduce_or
from functrans.ops.while_loop import while_p
from functrans.passes.pipeline import finalize
from functrans.transforms.batch import batch, batch_to, collective_over
from functrans.transforms.tangents import fill_zeros, nonzeros_of, without_zeros

__all__ = ["MaskedLoop", "While", "bind_while", "masked_loop"]


class While:
    """The parameters of a `while`, and the groups of its operands."""

    def __init__(
        self, cond: Jaxpr, body: Jaxpr, n_cond_consts: int, n_body_consts: int, counted: bool, checkpoint: int
    ) -> None:
        self.cond = cond
        self.checkpoint = checkpoint
        self.n_cond_consts = n_cond_consts
        self.counted = counted
        self.body = Body(body, n_body_consts, len(body.in_avals) - n_body_consts)

    def groups(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Operands as constants of the condition, constants of the body, and carry."""
        end = self.n_cond_consts + self.body.n_consts
        return list(operands[: self.n_cond_consts]), list(operands[self.n_cond_consts : end]), list(operands[end:])

    def results(self, results: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Results as carry, tapes, and the number of iterations if it is counted."""
        n = self.body.n_carry
        end = n + self.body.n_written
        return list(results[:n]), list(results[n:end]), list(results[end:])


def bind_while(
    cond: Jaxpr,
    body: Body,
    cond_consts: Sequence[Any],
    body_consts: Sequence[Any],
    carry: Sequence[Any],
    *,
    counted: bool = False,
    checkpoint: int = 0,
) -> tuple[list[Any], list[Any], Any]:
    """One equation that loops: the last carry, the tapes, and the number of iterations or None."""
    results = while_p.bind(
        *cond_consts,
        *body_consts,
        *carry,
        cond=cond,
        body=body.jaxpr,
        n_cond_consts=len(cond_consts),
        n_body_consts=len(body_consts),
        counted=counted,
        checkpoint=checkpoint,
    )
    end = body.n_carry + body.n_written
    return list(results[: body.n_carry]), list(results[body.n_carry : end]), results[end] if counted else None


# --------------------------------------------------------------------------------------------------------------------
# The value


def _impl(*avals: Aval, **params: Any) -> Callable[..., Any]:
    return loop_function(lambda module, is_checked: _write(module, avals, While(**params), is_checked))


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value]:
    """The source of an equation: a call of a function of its own, so that what it needs ends with it."""
    name = _write(writer.module, eqn.in_avals, While(**eqn.params), False)
    return write_call(writer, name, operands, eqn.out_avals)


def _write(module: Module, avals: Sequence[Aval], loop: While, is_checked: bool) -> str:
    """Write a function that runs the loop; its name."""
    name, writer = module.name("loop"), FunctionWriter(module)
    operands = input_values(avals, "x")
    cond_consts, consts, init = loop.groups(operands)
    test, body = [Iteration(x if is_checked else finalize(x), is_checked) for x in (loop.cond, loop.body.jaxpr)]
    is_kept = loop.body.n_written > 0
    if is_kept:
        init = [x._replace(text=owned_text(writer, x.text)) for x in init]
    carry = begin_carry(writer, body, len(consts), init, in_place=not is_kept)
    lists, ran, length = writer.names(loop.body.n_written), writer.name(), writer.name()
    watched = may_be_the_first(carry) and not loop.counted
    for line in (*[f"{x} = []" for x in lists], *[f"{ran} = False"] * watched, *[f"{length} = 0"] * loop.counted):
        writer.line(line)
    with writer.block("while True:"):
        (holds,) = test.write(writer, [*cond_consts, *[x._replace(buffer=None) for x in carry.values]])
        with writer.block(f"if not {holds.text}:"):
            writer.line("break")
        outs = body.write(writer, [*consts, *carry.values])
        append_kept(writer, body, outs, lists)
        go_on(writer, carry, outs)
        for line in (*[f"{length} += 1"] * loop.counted, *[f"{ran} = True"] * watched):
            writer.line(line)
    results = [x.text for x in last_carry(writer, carry, length if loop.counted else ran, is_kept=is_kept)]
    for x, aval in zip(lists, body.jaxpr.out_avals[loop.body.n_carry :], strict=True):
        tape = writer.module.constant(partial(Tape, tape_aval(aval.strong)), "tape", tape_aval(aval.strong))
        results.append(f"{tape}({x})")
    writer.line(f"return [{', '.join([*results, *[f'np.int64({length})'] * loop.counted])}]")
    module.add(writer.text(f"def {name}({', '.join([x.text for x in operands])}):"))
    return name


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


def _widened(loop: While, body: Body, n_more: int) -> Jaxpr:
    """The condition for a carry that has more parts, at the end."""
    consts, avals = loop.cond.in_avals[: loop.n_cond_consts], body.jaxpr.in_avals[body.n_consts :]
    n_inputs = len(loop.cond.in_avals)
    assert len(consts) + len(avals) == n_inputs + n_more
    return rearranged(loop.cond, [*consts, *avals], [-1 - i for i in range(n_inputs)], [0])


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    loop = While(**params)
    cond_consts, consts, carry = loop.groups(primals)
    _, const_dots, carry_dots = loop.groups(tangents)
    body, nonzeros, written = jvp_of_body(loop.body, nonzeros_of(const_dots), nonzeros_of(carry_dots), ())
    filled = with_zeros(carry_dots, nonzeros, loop.body.jaxpr.in_avals[loop.body.n_consts :])
    outs, tapes, length = bind_while(
        _widened(loop, body, len(filled)),
        body,
        cond_consts,
        [*consts, *without_zeros(const_dots)[0]],
        [*carry, *filled],
        counted=loop.counted,
        checkpoint=loop.checkpoint,
    )
    n_carry, n_written = loop.body.n_carry, loop.body.n_written
    dots = [*fill_zeros(outs[n_carry:], nonzeros), *fill_zeros(tapes[n_written:], written)]
    counts, no_dots = ([length], [None]) if loop.counted else ([], [])
    return [*outs[:n_carry], *tapes[:n_written], *counts], [*dots, *no_dots]


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    loop = While(**params)
    if loop.checkpoint and not loop.body.n_written and not is_effectful(loop.body.jaxpr):
        return _linearize_checkpointed(loop, primals, tangents)
    cond_consts, consts, carry = loop.groups(primals)
    _, const_dots, carry_dots = loop.groups(tangents)
    lin = linearized_body(loop.body, nonzeros_of(const_dots), nonzeros_of(carry_dots), ())
    outs, tapes, length = bind_while(loop.cond, lin.primal, cond_consts, consts, carry, counted=True)
    dots, tape_dots = bind_replay(
        lin.linear,
        length,
        [*[consts[i] for i in lin.const_residuals], *without_zeros(const_dots)[0]],
        with_zeros(carry_dots, lin.carry, loop.body.jaxpr.in_avals[loop.body.n_consts :]),
        [tapes[number] for number in lin.tapes],
    )
    all_dots = [*fill_zeros(dots, lin.carry), *fill_zeros(tape_dots, lin.written)]
    counts, no_dots = ([length], [None]) if loop.counted else ([], [])
    return [*outs, *tapes[: loop.body.n_written], *counts], [*all_dots, *no_dots]


def _linearize_checkpointed(loop: While, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    cond_consts, consts, carry = loop.groups(primals)
    _, const_dots, carry_dots = loop.groups(tangents)
    outs, length, kept = bind_snapshots(loop.cond, loop.body, cond_consts, consts, carry, loop.checkpoint)
    dots = retraced(loop.body, loop.checkpoint, length, kept, consts, carry, const_dots, carry_dots)
    counts, no_dots = ([length], [None]) if loop.counted else ([], [])
    return [*outs, *counts], [*dots, *no_dots]


def _transpose(cts: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
    """Of a loop that is linear in some operands as it stands: its condition, and part of its carry, do not depend on
    them. That part runs forwards first, and is kept."""
    loop = While(**params)
    cond_consts, consts, carry = loop.groups(operands)
    flags = tuple([type(x) is UndefinedPrimal for x in carry])
    const_flags = tuple([type(x) is UndefinedPrimal for x in consts])
    is_linear = linear_carry(loop.body, const_flags, flags, ())
    reads = {atom for eqn in loop.cond.eqns for atom in eqn.inputs} | set(loop.cond.outs)
    read_linear = any([-1 - loop.n_cond_consts - i in reads for i, flag in enumerate(is_linear) if flag])
    if read_linear or any([type(x) is UndefinedPrimal for x in cond_consts]):
        raise MissingRuleError(
            "the function is not linear in what is transposed: the condition of a while loop depends on it"
        )
    split = split_carry(loop.body, const_flags, is_linear, ())
    fixed = [x for x, flag in zip(carry, is_linear, strict=True) if not flag]
    avals = [
        aval for aval, flag in zip(loop.body.jaxpr.in_avals[loop.body.n_consts :], is_linear, strict=True) if not flag
    ]
    places = iter(range(len(fixed)))
    n_cond = loop.n_cond_consts
    atoms: list[Any] = [-1 - n_cond - next(places) if not flag else None for flag in is_linear]
    inputs = [a if a is not None else zeros_like(v) for a, v in zip(atoms, loop.cond.in_avals[n_cond:], strict=True)]
    cond = rearranged(
        loop.cond, [*loop.cond.in_avals[:n_cond], *avals], [*[-1 - i for i in range(n_cond)], *inputs], [0]
    )
    fixed_consts = [x for x, flag in zip(consts, const_flags, strict=True) if not flag]
    _, tapes, length = bind_while(cond, split.forward, cond_consts, fixed_consts, fixed, counted=True)
    n_carry = loop.body.n_carry
    end = n_carry + loop.body.n_written
    const_cts, carry_cts, _ = split.pull_back(
        length, consts, carry, [], tapes, list(cts[:n_carry]), list(cts[n_carry:end])
    )
    return [*[None] * n_cond, *const_cts, *carry_cts]


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[Sequence[Any], Sequence[int | None]]:
    loop = While(**params)
    operands, front = to_front(operands, axes, axis.size)
    cond_axes, _, first_axes = loop.groups(front)
    batched = batched_body(axis, loop.body, front[loop.n_cond_consts :])
    if batch(loop.cond, axis, (*cond_axes, *batched.carry))[1][0] is not None:
        if axis.size == 0:
            avals = (*loop.cond.in_avals[: loop.n_cond_consts], *loop.body.jaxpr.in_avals)
            return empty_batch(while_p.operation(avals, params).out_avals)
        for program in (loop.cond, loop.body.jaxpr):
            _refuse_exchange(program, axis)
        if is_effectful(loop.body.jaxpr) or is_effectful(loop.cond):
            return _one_by_one(axis, operands, front, params)
        return _batch_by_member(axis, loop, operands, front)
    # All members go on for as long.
    cond_consts, consts, carry = loop.groups(operands)
    cond = batch_to(loop.cond, axis, (*cond_axes, *batched.carry), (None,))
    carry = batched.first_carry(carry, first_axes)
    outs, tapes, length = bind_while(
        cond, batched.body, cond_consts, consts, carry, counted=loop.counted, checkpoint=loop.checkpoint
    )
    counts: list[Any] = [length] if loop.counted else []
    return [*outs, *tapes, *counts], [*batched.carry, *batched.written, *[None for _ in counts]]


def _refuse_exchange(program: Jaxpr, axis: BatchAxis) -> None:
    collective = collective_over(program, axis.name, exchanging=True)
    if collective is not None:
        raise ValueError(
            f"{collective} works over all members along {axis.name!r}, in a while_loop that each member leaves at a "
            "time of its own. Let all of them go on until the last is done: a condition with functrans.lax.pmax"
        )


def _batch_by_member(
    axis: BatchAxis, loop: While, operands: Sequence[Any], axes: tuple[int | None, ...]
) -> tuple[Sequence[Any], Sequence[int | None]]:
    masked = masked_loop(axis, loop, operands, axes)
    outs, tapes, _ = bind_while(masked.cond, masked.body, [], masked.consts, masked.carry, checkpoint=loop.checkpoint)
    n_carry = loop.body.n_carry
    counts = outs[n_carry + 1 :]
    return [*outs[:n_carry], *tapes, *counts], [*masked.carry_axes, *masked.written_axes, *[0 for _ in counts]]


class MaskedLoop(NamedTuple):
    """A loop in which each member goes on for as long as it will: it runs until all are done.

    A member that is done keeps its carry; in the body it has the inputs of one that is not. After the carry of the loop
    come, in that of this one, which members go on, and, if it is counted, for how long they have.
    """

    cond: Jaxpr
    body: Body
    consts: list[Any]
    carry: list[Any]
    carry_axes: tuple[int | None, ...]
    written_axes: tuple[int | None, ...]


def masked_loop(axis: BatchAxis, loop: While, operands: Sequence[Any], axes: tuple[int | None, ...]) -> MaskedLoop:
    """A loop whose condition is another for each member, with operands stacked along the given axes."""
    cond_consts, consts, carry = loop.groups(operands)
    cond_axes, _, first_axes = loop.groups(axes)
    batched = batched_body(axis, loop.body, axes[loop.n_cond_consts :], whole=True)
    carry = batched.first_carry(carry, first_axes)
    cond = batch_to(loop.cond, axis, (*cond_axes, *batched.carry), (0,))
    (active,) = eval_jaxpr(cond, [*cond_consts, *carry])
    more, avals = [active], [Aval((axis.size,), np.dtype(bool))]
    if loop.counted:
        avals.append(Aval((axis.size,), np.dtype(np.int64)))
        more.append(Literal(0, avals[-1]))
    body = _masked_body(axis, batched, cond, loop.n_cond_consts, loop.counted)
    carry_avals = batched.body.parts(batched.body.jaxpr.in_avals)[1]
    any_active = _any_active((*carry_avals, *avals), loop.body.n_carry)
    return MaskedLoop(any_active, body, [*cond_consts, *consts], [*carry, *more], batched.carry, batched.written)


def _any_active(avals: tuple[Aval, ...], place: int) -> Jaxpr:
    with stage("while", avals) as recording:
        return recording.close([reduce_or(recording.inputs()[place], (0,))])[0]


def _masked_body(axis: BatchAxis, batched: BatchedBody, cond: Jaxpr, n_cond: int, counted: bool) -> Body:
    key = ("masked while", axis, cond, batched.body[1:], batched.inputs, batched.carry, batched.apart, n_cond, counted)
    return derived(batched.body.jaxpr, key, lambda: _mask_body(axis, batched, cond, n_cond, counted))


def _mask_body(axis: BatchAxis, batched: BatchedBody, cond: Jaxpr, n_cond: int, counted: bool) -> Body:
    program, n_consts, n_carry = batched.body
    avals = [*cond.in_avals[:n_cond], *program.in_avals, Aval((axis.size,), np.dtype(bool))]
    if counted:
        avals.append(Aval((axis.size,), np.dtype(np.int64)))
    with stage("while", avals) as recording:
        inputs = recording.inputs()
        end = n_cond + n_consts + n_carry
        active, *count = inputs[end:]
        results = batched.run_masked(active, inputs[n_cond:end], recording)
        (again,) = eval_jaxpr(cond, [*inputs[:n_cond], *results[:n_carry]], recording)
        more = [bitwise_and(active, again), *[add(n, convert_element_type(active, np.int64)) for n in count]]
        body, _ = recording.close([*results[:n_carry], *more, *results[n_carry:]])
    return Body(body, n_cond + n_consts, n_carry + len(more))


def _one_by_one(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], params: Any
) -> tuple[Sequence[Any], Sequence[int | None]]:
    """A loop with effects runs for one member after the other."""
    results = [
        while_p.bind(*[member(x, number, along) for x, along in zip(operands, axes, strict=True)], **params)
        for number in range(axis.size)
    ]
    return [joined(outs) for outs in zip(*results, strict=True)], [0] * len(results[0])


def _snapshots_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[Sequence[Any], Sequence[int | None]]:
    loop = While(**params, counted=True)
    operands, front = to_front(operands, axes, axis.size)
    cond_axes, _, first_axes = loop.groups(front)
    batched = batched_body(axis, loop.body, front[loop.n_cond_consts :])
    if batch(loop.cond, axis, (*cond_axes, *batched.carry))[1][0] is None:
        cond_consts, consts, carry = loop.groups(operands)
        cond = batch_to(loop.cond, axis, (*cond_axes, *batched.carry), (None,))
        carry = batched.first_carry(carry, first_axes)
        outs, length, kept = bind_snapshots(cond, batched.body, cond_consts, consts, carry, loop.checkpoint)
        return [*outs, length, kept], [*batched.carry, None, None]
    if axis.size == 0:
        avals = (*loop.cond.in_avals[: loop.n_cond_consts], *loop.body.jaxpr.in_avals)
        return empty_batch(snapshots_p.operation(avals, params).out_avals)
    # A retrace over members of different length begins at the beginning, and needs no snapshots.
    masked = masked_loop(axis, loop, operands, front)
    outs, _, kept = bind_snapshots(masked.cond, masked.body, [], masked.consts, masked.carry, 1)
    *outs, _, length = outs
    return [*outs, length, kept], [*masked.carry_axes, 0, None]


def_program_batch(snapshots_p, _snapshots_batch)
def_specialized_impl(while_p, _impl)
def_source(while_p, _write_call)
def_general_jvp(while_p, _jvp)
def_linearize(while_p, _linearize)
def_transpose(while_p, _transpose)
def_program_batch(while_p, _batch)
