"""The rules of loops that keep few of their states (`while` with `checkpoint`).

The derivative of such a loop is a `retrace`: it runs the loop again, forwards or, from snapshots, backwards, and beside
each iteration the linear one. Its own tangent is a retrace of both together. Where it is differentiated in reverse mode
once more, it becomes a checkpointed loop of both if it runs forwards; backwards it is a replay over tapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.interpreter import owned
from functrans.backends.running import executable
from functrans.control.batched_bodies import BatchedBody, batched_body
from functrans.control.iterating import iteration_of
from functrans.control.linear_loops import bind_replay
from functrans.control.loop_bodies import Body, jvp_of_body, linearized_body, transposed_body, with_zeros
from functrans.control.members import empty_batch, to_front
from functrans.control.rearranging import reordered
from functrans.control.treeverse import OnlineSnapshots, go_back
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, Literal, derived
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    declare_absent,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.dtypes import opaque
from functrans.errors import MissingRuleError
from functrans.ops.checkpointed_loop import Snapshots, retrace_p, snapshots_p
from functrans.ops.comparison import lt
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add
from functrans.ops.reductions import reduce_max
from functrans.ops.shape import broadcast_in_dim
from functrans.ops.while_loop import while_p
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import fill_zeros, without_zeros

__all__ = ["Retrace", "bind_snapshots", "retraced"]

_INT = Aval((), np.dtype(np.int64))
_NO_SNAPSHOTS = Literal(0, Aval((), opaque))


# --------------------------------------------------------------------------------------------------------------------
# snapshots


def bind_snapshots(
    cond: Jaxpr,
    body: Body,
    cond_consts: Sequence[Any],
    body_consts: Sequence[Any],
    carry: Sequence[Any],
    checkpoint: int,
) -> tuple[list[Any], Any, Any]:
    """One equation that loops: the last carry, the number of iterations, and snapshots."""
    *outs, length, kept = snapshots_p.bind(
        *cond_consts,
        *body_consts,
        *carry,
        cond=cond,
        body=body.jaxpr,
        n_cond_consts=len(cond_consts),
        n_body_consts=len(body_consts),
        checkpoint=checkpoint,
    )
    return outs, length, kept


def _snapshots_impl(
    *avals: Aval, cond: Jaxpr, body: Jaxpr, n_cond_consts: int, n_body_consts: int, checkpoint: int
) -> Callable[..., Any]:
    test, advance = executable(cond), iteration_of(body)
    end = n_cond_consts + n_body_consts

    def run(*values: Any) -> list[Any]:
        cond_consts, body_consts = values[:n_cond_consts], values[n_cond_consts:end]
        carry = [owned(x) for x in values[end:]]
        online = OnlineSnapshots(checkpoint, carry)
        length = 0
        while test([*cond_consts, *carry])[0]:
            if length:
                online.offer(length, carry)
            carry = advance([*body_consts, *carry])
            length += 1
        return [*[owned(x) for x in carry], np.int64(length), Snapshots(online.kept())]

    return run


def _snapshots_derivative(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    cond: Jaxpr,
    body: Jaxpr,
    n_cond_consts: int,
    n_body_consts: int,
    checkpoint: int,
) -> tuple[Any, Any]:
    end = n_cond_consts + n_body_consts
    consts, carry = primals[n_cond_consts:end], primals[end:]
    program = Body(body, n_body_consts, len(carry))
    outs, length, kept = bind_snapshots(cond, program, primals[:n_cond_consts], consts, carry, checkpoint)
    dots = retraced(program, checkpoint, length, kept, consts, carry, tangents[n_cond_consts:end], tangents[end:])
    return [*outs, length, kept], [*dots, None, None]


# --------------------------------------------------------------------------------------------------------------------
# retrace


class Retrace(NamedTuple):
    """The parameters of a `retrace`."""

    step: Body
    """From constants and carry to the next carry and residuals."""
    linear: Body
    """From residuals among the constants, constants, carry and residuals that are written, to the next carry."""
    const_residuals: tuple[int, ...]
    residuals: tuple[int, ...]
    reverse: bool
    snapshots: int

    @property
    def n_linear_consts(self) -> int:
        """How many constants the linear body has of its own."""
        return self.linear.n_consts - len(self.const_residuals)

    def bind(self, length: Any, kept: Any, step_operands: Sequence[Any], linear_operands: Sequence[Any]) -> list[Any]:
        """One equation; the last carry of the linear body."""
        return list(
            retrace_p.bind(
                length,
                kept,
                *step_operands,
                *linear_operands,
                step=self.step.jaxpr,
                linear=self.linear.jaxpr,
                n_consts=self.step.n_consts,
                n_carry=self.step.n_carry,
                n_linear_consts=self.n_linear_consts,
                const_residuals=self.const_residuals,
                residuals=self.residuals,
                reverse=self.reverse,
                snapshots=self.snapshots,
            )
        )

    def parts(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        """Operands behind the snapshots: constants and carry of the step, constants and carry of the linear body."""
        n_consts, n_carry = self.step.n_consts, self.step.n_carry
        end = n_consts + n_carry
        middle = end + self.n_linear_consts
        return (
            list(operands[:n_consts]),
            list(operands[n_consts:end]),
            list(operands[end:middle]),
            list(operands[middle:]),
        )


def _retrace_of(
    *,
    step: Jaxpr,
    linear: Jaxpr,
    n_consts: int,
    n_carry: int,
    n_linear_consts: int,
    const_residuals: tuple[int, ...],
    residuals: tuple[int, ...],
    reverse: bool,
    snapshots: int,
) -> Retrace:
    n_linear = len(const_residuals) + n_linear_consts
    n_linear_carry = len(linear.outs)
    return Retrace(
        Body(step, n_consts, n_carry),
        Body(linear, n_linear, n_linear_carry),
        const_residuals,
        residuals,
        reverse,
        snapshots,
    )


def retraced(
    body: Body,
    snapshots: int,
    length: Any,
    kept: Any,
    consts: Sequence[Any],
    carry: Sequence[Any],
    const_dots: Sequence[Any],
    carry_dots: Sequence[Any],
) -> list[Any]:
    """The tangents of the carry of a loop that has kept snapshots; None is zero."""
    flags = [tuple([t is not None for t in dots]) for dots in (const_dots, carry_dots)]
    lin = linearized_body(body, flags[0], flags[1], ())
    filled = with_zeros(carry_dots, lin.carry, body.parts(body.jaxpr.in_avals)[1])
    if not filled:
        return [None] * len(carry)
    retrace = Retrace(lin.primal, lin.linear, tuple(lin.const_residuals), tuple(lin.tapes), False, snapshots)
    given = [t for t in const_dots if t is not None]
    return fill_zeros(retrace.bind(length, kept, [*consts, *carry], [*given, *filled]), lin.carry)


def _impl(*avals: Aval, **params: Any) -> Callable[..., Any]:
    retrace = _retrace_of(**params)
    n_carry = retrace.step.n_carry
    advance, linear = iteration_of(retrace.step.jaxpr), iteration_of(retrace.linear.jaxpr)
    step = retrace.step.jaxpr
    only_carry = iteration_of(reordered(step, range(len(step.in_avals)), step.outs[:n_carry]))
    residuals = retrace.residuals

    def run(length: Any, kept: Any, *operands: Any) -> list[Any]:
        consts, first, linear_consts, dots = retrace.parts(operands)
        fixed = [*[consts[i] for i in retrace.const_residuals], *linear_consts]

        def push(carry: list[Any]) -> list[Any]:
            nonlocal dots
            results = advance([*consts, *carry])
            written = results[n_carry:]
            dots = linear([*fixed, *dots, *[written[i] for i in residuals]])
            return results[:n_carry]

        if retrace.reverse:
            states = kept.kept if isinstance(kept, Snapshots) else [(0, first)]
            go_back(int(length), states, retrace.snapshots, lambda x: only_carry([*consts, *x]), push)
        else:
            carry = first
            for _ in range(int(length)):
                carry = push(carry)
        return [owned(x) for x in dots]

    return run


def _expanded(retrace: Retrace, avals: Sequence[Aval]) -> Jaxpr:
    """The same as a program of `while` and `replay`, which reverse mode can go through."""
    key = ("expanded", retrace.linear, retrace[2:], tuple(avals))
    return derived(retrace.step.jaxpr, key, lambda: _expand(retrace, avals))


def _expand(retrace: Retrace, avals: Sequence[Aval]) -> Jaxpr:
    with stage("retrace", avals) as recording:
        length, *operands = recording.inputs()
        consts, carry, linear_consts, dots = retrace.parts(operands)
        fixed = [*[consts[i] for i in retrace.const_residuals], *linear_consts]
        if retrace.reverse:
            _, tapes = bind_replay(retrace.step, length, consts, carry, [])
            read = [tapes[i] for i in retrace.residuals]
            outs, _ = bind_replay(retrace.linear, length, fixed, dots, read, reverse=True)
        else:
            outs = _looped(retrace, length, [*consts, *linear_consts], [*carry, *dots])
        return recording.close(outs)[0]


def _looped(retrace: Retrace, length: Any, consts: Sequence[Any], carry: Sequence[Any]) -> list[Any]:
    """Both bodies together, as one checkpointed loop that counts."""
    carry_avals = [_INT, *[aval_of(x).strong for x in carry]]
    with stage("retrace", [*[aval_of(x).strong for x in consts], *carry_avals]) as recording:
        inputs = recording.inputs()
        number = inputs[len(consts)]
        own, own_carry = inputs[: retrace.step.n_consts], inputs[len(consts) + 1 :][: retrace.step.n_carry]
        results = eval_jaxpr(retrace.step.jaxpr, [*own, *own_carry], recording)
        written = results[retrace.step.n_carry :]
        fixed = [*[own[i] for i in retrace.const_residuals], *inputs[retrace.step.n_consts : len(consts)]]
        dots = inputs[len(consts) + 1 + retrace.step.n_carry :]
        linear_outs = eval_jaxpr(
            retrace.linear.jaxpr, [*fixed, *dots, *[written[i] for i in retrace.residuals]], recording
        )
        following = add(number, Literal(1, _INT))
        body, _ = recording.close([following, *results[: retrace.step.n_carry], *linear_outs])
    with stage("retrace", [_INT, *carry_avals]) as recording:
        last, number, *_ = recording.inputs()
        cond, _ = recording.close([lt(number, last)])
    outs = while_p.bind(
        convert_element_type(length, np.int64),
        *consts,
        Literal(0, _INT),
        *carry,
        cond=cond,
        body=body,
        n_cond_consts=1,
        n_body_consts=len(consts),
        counted=False,
        checkpoint=retrace.snapshots,
    )
    return list(outs[1 + retrace.step.n_carry :])


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    retrace = _retrace_of(**params)
    length, _, *operands = primals
    consts, carry, linear_consts, dots = retrace.parts(operands)
    moved = [[t is not None for t in part] for part in retrace.parts(tangents[2:])]
    if not any(moved[0] + moved[1]):
        return _along(retrace, primals, tangents)
    const_dots, carry_dots, linear_const_dots, dot_dots = retrace.parts(tangents[2:])
    # The step on values and tangents writes residuals, then their tangents.
    step, nonzeros, written = jvp_of_body(retrace.step, tuple(moved[0]), tuple(moved[1]), ())
    carry_dots = with_zeros(carry_dots, nonzeros, retrace.step.parts(retrace.step.jaxpr.in_avals)[1])
    n_written = retrace.step.n_written
    place = fill_zeros(range(n_written, n_written + sum(written)), written)
    residual_flags = tuple([written[i] for i in retrace.residuals])
    const_flags = tuple([moved[0][i] for i in retrace.const_residuals])
    linear, linear_nonzeros, _ = jvp_of_body(retrace.linear, (*const_flags, *moved[2]), tuple(moved[3]), residual_flags)
    # Its constants are residuals among the constants, then its own, then the tangents of both: its own go last.
    n_res, n_own = len(retrace.const_residuals), retrace.n_linear_consts
    n_res_dots, n_own_dots = sum(const_flags), sum(moved[2])
    order = [
        *range(n_res),
        *range(n_res + n_own, n_res + n_own + n_res_dots),
        *range(n_res, n_res + n_own),
        *range(n_res + n_own + n_res_dots, n_res + n_own + n_res_dots + n_own_dots),
    ]
    linear = _with_consts_in_order(linear, order)
    const_dot_place = fill_zeros(range(len(consts), len(consts) + sum(moved[0])), tuple(moved[0]))
    doubled = Retrace(
        step,
        linear,
        (*retrace.const_residuals, *[const_dot_place[i] for i in retrace.const_residuals if moved[0][i]]),
        (*retrace.residuals, *[place[i] for i in retrace.residuals if written[i]]),
        retrace.reverse,
        retrace.snapshots,
    )
    dot_dots = with_zeros(dot_dots, linear_nonzeros, [aval_of(x) for x in dots])
    outs = doubled.bind(
        length,
        _NO_SNAPSHOTS,
        [*consts, *[t for t in const_dots if t is not None], *carry, *carry_dots],
        [*linear_consts, *[t for t in linear_const_dots if t is not None], *dots, *dot_dots],
    )
    return outs[: len(dots)], fill_zeros(outs[len(dots) :], linear_nonzeros)


def _with_consts_in_order(body: Body, order: Sequence[int]) -> Body:
    rest = range(body.n_consts, len(body.jaxpr.in_avals))
    return Body(reordered(body.jaxpr, [*order, *rest]), body.n_consts, body.n_carry)


def _along(retrace: Retrace, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Where only linear operands have tangents."""
    length, kept, *operands = primals
    consts, carry, linear_consts, dots = retrace.parts(operands)
    outs = retrace.bind(length, kept, [*consts, *carry], [*linear_consts, *dots])
    _, _, const_dots, dot_dots = retrace.parts(tangents[2:])
    filled = [
        zeros_like(aval_of(x)) if t is None else t
        for x, t in zip([*linear_consts, *dots], [*const_dots, *dot_dots], strict=True)
    ]
    return outs, retrace.bind(length, kept, [*consts, *carry], filled)


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    retrace = _retrace_of(**params)
    n_step = retrace.step.n_consts + retrace.step.n_carry
    if all([t is None for t in tangents[2 : 2 + n_step]]):
        return _along(retrace, primals, tangents)
    operands = [primals[0], *primals[2:]]
    program = _expanded(retrace, [aval_of(x).strong for x in operands])
    given, nonzeros = without_zeros([tangents[0], *tangents[2:]])
    lin = linearize(program, nonzeros)
    results = eval_jaxpr(lin.primal, operands)
    dots = eval_jaxpr(lin.linear, [*given, *lin.read_residuals(operands, results)])
    return results[: len(program.outs)], fill_zeros(dots, lin.nonzeros)


def _transpose(cts: Sequence[Any], length: Any, kept: Any, *operands: Any, **params: Any) -> list[Any]:
    retrace = _retrace_of(**params)
    consts, carry, linear_consts, dots = retrace.parts(operands)
    if any([type(x) is UndefinedPrimal for x in [*consts, *carry]]):
        raise MissingRuleError("the function is not linear in what is transposed: it is the state of a loop")
    flags = tuple([type(x) is UndefinedPrimal for x in linear_consts])
    n_res = len(retrace.const_residuals)
    linear = ((False,) * n_res + flags, (False,) * retrace.linear.n_elements)
    back = transposed_body(retrace.linear, linear, list(cts), [])
    n_sums = sum(back.consts)
    avals = back.body.parts(back.body.jaxpr.in_avals)[1]
    first = [zeros_like(aval) for aval in avals[:n_sums]]
    first += with_zeros(cts, back.carry, [aval_of(x) for x in dots])
    new = Retrace(
        retrace.step,
        back.body,
        retrace.const_residuals,
        retrace.residuals,
        not retrace.reverse,
        retrace.snapshots,
    )
    fixed = [x for x, flag in zip(linear_consts, flags, strict=True) if not flag]
    outs = new.bind(length, kept, [*consts, *carry], [*fixed, *first]) if first else []
    const_cts = iter(fill_zeros(outs[:n_sums], back.consts))
    carry_cts = fill_zeros(outs[n_sums:], back.carry)
    return [
        *[None] * (2 + len(consts) + len(carry)),
        *[next(const_cts) if flag else None for flag in flags],
        *[ct if type(x) is UndefinedPrimal else None for ct, x in zip(carry_cts, dots, strict=True)],
    ]


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[Sequence[Any], Sequence[int | None]]:
    retrace = _retrace_of(**params)
    operands, front = to_front(operands, axes, axis.size)
    length, kept, *rest = operands
    by_member = front[0] is not None
    consts, carry, linear_consts, dots = retrace.parts(rest)
    const_axes, carry_axes, linear_const_axes, dot_axes = retrace.parts(front[2:])
    if by_member and axis.size == 0:
        return empty_batch([aval.strong for aval in retrace.linear.jaxpr.out_avals])
    step = batched_body(axis, retrace.step, [*const_axes, *carry_axes], whole=by_member)
    read_axes = [step.written[i] for i in retrace.residuals]
    fixed_axes = [const_axes[i] for i in retrace.const_residuals]
    linear = batched_body(
        axis, retrace.linear, [*fixed_axes, *linear_const_axes, *dot_axes, *read_axes], whole=by_member
    )
    carry, dots = step.first_carry(carry, carry_axes), linear.first_carry(dots, dot_axes)
    if not by_member:
        new = retrace._replace(step=step.body, linear=linear.body)
        return new.bind(length, kept, [*consts, *carry], [*linear_consts, *dots]), linear.carry
    # Members of different length: the step counts, and writes which of them take part.
    new = retrace._replace(
        step=_masked_step(axis, step),
        linear=_masked_linear(axis, linear),
        const_residuals=tuple([1 + i for i in retrace.const_residuals]),
        residuals=(step.body.n_written, *retrace.residuals),
    )
    longest = convert_element_type(reduce_max(length, (0,)), np.int64)
    step_operands = [convert_element_type(length, np.int64), *consts, Literal(0, _INT), *carry]
    return new.bind(longest, _NO_SNAPSHOTS, step_operands, [*linear_consts, *dots]), linear.carry


def _masked_step(axis: BatchAxis, step: BatchedBody) -> Body:
    """The step with the lengths of the members as a constant before the others, and a counter before the carry."""
    consts, carry, _ = step.body.parts(step.body.jaxpr.in_avals)
    n_consts = step.body.n_consts
    lengths = Aval((axis.size,), np.dtype(np.int64))
    with stage("retrace", [lengths, *consts, _INT, *carry]) as recording:
        inputs = recording.inputs()
        number = inputs[1 + n_consts]
        active = lt(broadcast_in_dim(number, (axis.size,), ()), inputs[0])
        results = step.run_masked(active, [*inputs[1 : 1 + n_consts], *inputs[2 + n_consts :]], recording)
        body, _ = recording.close([add(number, Literal(1, _INT)), *results, active])
    return Body(body, 1 + n_consts, 1 + step.body.n_carry)


def _masked_linear(axis: BatchAxis, linear: BatchedBody) -> Body:
    """The linear body with who takes part as its first element."""
    consts, carry, elements = linear.body.parts(linear.body.jaxpr.in_avals)
    n_before = len(consts) + len(carry)
    with stage("retrace", [*consts, *carry, Aval((axis.size,), np.dtype(bool)), *elements]) as recording:
        inputs = recording.inputs()
        active = inputs[n_before]
        results = linear.run_masked(active, inputs[:n_before] + inputs[n_before + 1 :], recording)
        body, _ = recording.close(results)
    return Body(body, linear.body.n_consts, linear.body.n_carry)


def_specialized_impl(snapshots_p, _snapshots_impl)
def_general_jvp(snapshots_p, _snapshots_derivative)
def_linearize(snapshots_p, _snapshots_derivative)
declare_absent(snapshots_p, "transpose", "its linearization is a retrace")
def_specialized_impl(retrace_p, _impl)
def_general_jvp(retrace_p, _jvp)
def_linearize(retrace_p, _linearize)
def_transpose(retrace_p, _transpose)
def_program_batch(retrace_p, _batch)
