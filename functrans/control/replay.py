"""The rules of `replay`: a loop for a number of iterations that is known when it starts, reading and writing tapes.

It is what the derivative of `while` is made of. Its own derivatives, transposes and batches are replays again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.generate import input_values
from functrans.backends.numpy_codegen.loops import (
    Iteration,
    append_kept,
    begin_carry,
    for_rows,
    go_on,
    last_carry,
    loop_function,
    owned_text,
)
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import Value
from functrans.backends.running import run as run_program
from functrans.control.batched_bodies import BatchedBody, batched_body
from functrans.control.linear_loops import bind_replay, linear_carry, split_carry
from functrans.control.loop_bodies import Body, jvp_of_body, linearized_body, with_zeros
from functrans.control.members import empty_batch, to_front
from functrans.core.aval import Aval
from functrans.core.evaluation import stage
from functrans.core.jaxpr import Equation, Jaxpr, Literal, derived
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
)
from functrans.core.tapes import Tape, element_aval, steps_of, tape_aval
from functrans.errors import MissingRuleError
from functrans.ops.comparison import lt
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add, sub
from functrans.ops.reductions import reduce_max
from functrans.ops.shape import broadcast_in_dim
from functrans.ops.while_loop import replay_p
from functrans.passes.pipeline import finalize
from functrans.transforms.tangents import fill_zeros, nonzeros_of, without_zeros

__all__ = ["bind_replay"]

_INT = Aval((), np.dtype(np.int64))


def _groups(body: Body, operands: Sequence[Any]) -> tuple[Any, list[Any], list[Any], list[Any]]:
    """Operands as length, constants, carry and tapes."""
    return operands[0], *body.parts(operands[1:])


# --------------------------------------------------------------------------------------------------------------------
# The value


def _impl(*avals: Aval, body: Jaxpr, n_consts: int, n_carry: int, reverse: bool) -> Any:
    program = Body(body, n_consts, n_carry)
    loop = loop_function(lambda module, is_checked: _write(module, avals[1:], program, is_checked))
    written_avals = [tape_aval(aval.strong) for aval in body.out_avals[n_carry:]]

    def run(length: Any, *values: Any) -> list[Any]:
        consts, carry, tapes = program.parts(values)
        n = int(length)
        if n < 0:
            lengths = [len(tape) for tape in tapes if isinstance(tape, Tape)]
            if not lengths:
                return _splats([np.asarray(tape)["opaque"] for tape in tapes], consts)
            n = max(lengths)
        columns = [steps_of(tape, n) for tape in tapes]
        results = loop(n, *consts, *carry, *[column[::-1] for column in columns] if reverse else columns)
        written = [steps[::-1] if reverse else steps for steps in results[n_carry:]]
        return [*results[:n_carry], *map(Tape, written_avals, written)]

    def _splats(elements: list[Any], consts: list[Any]) -> list[Any]:
        # All tapes are of any length: so is what is written.
        outs = []
        for aval, element in zip(written_avals, run_program(body, [*consts, *elements]), strict=True):
            splat = np.empty(aval.shape, aval.dtype)
            splat["opaque"] = element
            outs.append(splat)
        return outs

    return run


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value] | None:
    """The source of an equation, in files that people read."""
    length, program = eqn.inputs[0], Body(eqn.params["body"], eqn.params["n_consts"], eqn.params["n_carry"])
    if not writer.module.is_read or (type(length) is Literal and length.value < 0):
        return None
    function = _write(writer.module, eqn.in_avals[1:], program, False)
    consts, carry, tapes = program.parts([x.text for x in operands[1:]])
    number, n_carry = writer.name(), program.n_carry
    writer.line(f"{number} = int({operands[0].text})")
    order = "[::-1]" if eqn.params["reverse"] else ""
    steps = writer.module.constant(steps_of, "steps_of") if tapes else ""
    columns = [f"{steps}({tape}, {number}){order}" for tape in tapes]
    values = [x._replace(text=text) for x, text in zip(operands[1:], [*consts, *carry, *columns], strict=True)]
    results = write_call(writer, function, [Value(number, eqn.in_avals[0], None), *values], eqn.out_avals)
    for x in results[n_carry:]:
        tape = writer.module.constant(partial(Tape, x.aval), "tape", x.aval)
        writer.line(f"{x.text} = {tape}({x.text}{order})")
    return results


def _write(module: Module, avals: Sequence[Aval], body: Body, is_checked: bool) -> str:
    """Write a function that runs the loop, from the number of iterations, constants, carry and the arrays on tapes (in
    the order in which they are read) to the last carry and lists of what is written; its name."""
    name, writer = module.name("replay"), FunctionWriter(module)
    operands = input_values(avals, "x")
    consts, init, columns = body.parts(operands)
    step = Iteration(body.jaxpr if is_checked else finalize(body.jaxpr), is_checked)
    is_kept = body.n_written > 0
    if is_kept:
        init = [x._replace(text=owned_text(writer, x.text)) for x in init]
    carry = begin_carry(writer, step, len(consts), init, in_place=not is_kept)
    lists, rows = writer.names(body.n_written), writer.names(len(columns))
    for line in [f"{x} = []" for x in lists]:
        writer.line(line)
    with for_rows(writer, rows, [x.text for x in columns], "range(n)", None):
        elements = [Value(row, element_aval(x.aval), None) for row, x in zip(rows, columns, strict=True)]
        outs = step.write(writer, [*consts, *carry.values, *elements])
        append_kept(writer, step, outs, lists)
        go_on(writer, carry, outs)
    results = [*[x.text for x in last_carry(writer, carry, "n", is_kept=is_kept)], *lists]
    writer.line(f"return [{', '.join(results)}]")
    module.add(writer.text(f"def {name}({', '.join(['n', *[x.text for x in operands]])}):"))
    return name


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, body: Jaxpr, n_consts: int, n_carry: int, reverse: bool
) -> tuple[Any, Any]:
    program = Body(body, n_consts, n_carry)
    length, *parts = _groups(program, primals)
    _, *dots = _groups(program, tangents)
    doubled, nonzeros, written = jvp_of_body(program, *map(nonzeros_of, dots))
    dots[1] = with_zeros(dots[1], nonzeros, body.in_avals[n_consts : n_consts + n_carry])
    joined = [[*values, *without_zeros(ts)[0]] for values, ts in zip(parts, dots, strict=True)]
    outs, tapes = bind_replay(doubled, length, *joined, reverse=reverse)
    n_written = program.n_written
    out_dots = [*fill_zeros(outs[n_carry:], nonzeros), *fill_zeros(tapes[n_written:], written)]
    return [*outs[:n_carry], *tapes[:n_written]], out_dots


def _linearize(
    primals: Sequence[Any], tangents: Sequence[Any], *, body: Jaxpr, n_consts: int, n_carry: int, reverse: bool
) -> tuple[Any, Any]:
    program = Body(body, n_consts, n_carry)
    length, consts, carry, tapes = _groups(program, primals)
    _, const_dots, carry_dots, tape_dots = _groups(program, tangents)
    lin = linearized_body(program, nonzeros_of(const_dots), nonzeros_of(carry_dots), nonzeros_of(tape_dots))
    outs, written = bind_replay(lin.primal, length, consts, carry, tapes, reverse=reverse)
    dots, written_dots = bind_replay(
        lin.linear,
        length,
        [*[consts[i] for i in lin.const_residuals], *without_zeros(const_dots)[0]],
        with_zeros(carry_dots, lin.carry, body.in_avals[n_consts : n_consts + n_carry]),
        [*[tapes[-1 - place] if place < 0 else written[place] for place in lin.tapes], *without_zeros(tape_dots)[0]],
        reverse=reverse,
    )
    all_dots = [*fill_zeros(dots, lin.carry), *fill_zeros(written_dots, lin.written)]
    return [*outs, *written[: program.n_written]], all_dots


def _transpose(
    cts: Sequence[Any], *operands: Any, body: Jaxpr, n_consts: int, n_carry: int, reverse: bool
) -> list[Any]:
    program = Body(body, n_consts, n_carry)
    length, consts, carry, tapes = _groups(program, operands)
    if type(length) is UndefinedPrimal:
        raise MissingRuleError("the function is not linear in what is transposed: the length of a loop hangs on it")
    const_flags, carry_flags, tape_flags = [
        tuple([type(x) is UndefinedPrimal for x in group]) for group in (consts, carry, tapes)
    ]
    carry_flags = linear_carry(program, const_flags, carry_flags, tape_flags)
    split = split_carry(program, const_flags, carry_flags, tape_flags)
    kept: list[Any] = []
    if not all(carry_flags):
        _, kept = bind_replay(
            split.forward,
            length,
            [x for x, flag in zip(consts, const_flags, strict=True) if not flag],
            [x for x, flag in zip(carry, carry_flags, strict=True) if not flag],
            [x for x, flag in zip(tapes, tape_flags, strict=True) if not flag],
            reverse=reverse,
        )
    pulled = split.pull_back(
        length, consts, carry, tapes, kept, list(cts[:n_carry]), list(cts[n_carry:]), reverse=reverse
    )
    return [None, *pulled[0], *pulled[1], *pulled[2]]


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    body: Jaxpr,
    n_consts: int,
    n_carry: int,
    reverse: bool,
) -> tuple[Sequence[Any], Sequence[int | None]]:
    program = Body(body, n_consts, n_carry)
    operands, front = to_front(operands, axes, axis.size)
    if front[0] is not None and axis.size == 0:
        return empty_batch([*body.out_avals[:n_carry], *[tape_aval(aval) for aval in body.out_avals[n_carry:]]])
    batched = batched_body(axis, program, front[1:], whole=front[0] is not None)
    length, consts, carry, tapes = _groups(program, operands)
    _, _, carry_axes, _ = _groups(program, front)
    carry = batched.first_carry(carry, carry_axes)
    if front[0] is None:
        outs, written = bind_replay(batched.body, length, consts, carry, tapes, reverse=reverse)
        return [*outs, *written], [*batched.carry, *batched.written]
    # Members of different length: iteration i is for those that are longer. As where the tapes were written, those that
    # are not have the inputs of the first that is; on the tapes it is so.
    new = _masked_body(axis, batched, reverse)
    longest = reduce_max(length, (0,))
    number = sub(longest, Literal(1, _INT)) if reverse else Literal(0, _INT)
    length, longest = convert_element_type(length, np.int64), convert_element_type(longest, np.int64)
    outs, written = bind_replay(new, longest, [length, *consts], [number, *carry], tapes, reverse=reverse)
    return [*outs[1:], *written], [*batched.carry, *batched.written]


def _masked_body(axis: BatchAxis, batched: BatchedBody, reverse: bool) -> Body:
    key = ("masked replay", axis, batched.body[1:], batched.inputs, batched.carry, batched.apart, reverse)
    return derived(batched.body.jaxpr, key, lambda: _mask_body(axis, batched, reverse))


def _mask_body(axis: BatchAxis, batched: BatchedBody, reverse: bool) -> Body:
    program, n_consts, n_carry = batched.body
    lengths = Aval((axis.size,), np.dtype(np.int64))
    consts, carry, elements = batched.body.parts(program.in_avals)
    with stage("replay", [lengths, *consts, _INT, *carry, *elements]) as recording:
        inputs = recording.inputs()
        length, number = inputs[0], inputs[1 + n_consts]
        operands = [*inputs[1 : 1 + n_consts], *inputs[2 + n_consts :]]
        active = lt(broadcast_in_dim(number, (axis.size,), ()), length)
        results = batched.run_masked(active, operands, recording)
        following = add(number, Literal(-1 if reverse else 1, _INT))
        new, _ = recording.close([following, *results])
    return Body(new, 1 + n_consts, 1 + n_carry)


def_specialized_impl(replay_p, _impl)
def_source(replay_p, _write_call)
def_general_jvp(replay_p, _jvp)
def_linearize(replay_p, _linearize)
def_transpose(replay_p, _transpose)
def_program_batch(replay_p, _batch)
