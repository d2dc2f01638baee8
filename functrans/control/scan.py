"""The rules of `scan`: its value, its derivative in forward mode, and batches. A scan becomes a scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.memory import shared_outputs
from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.generate import input_values
from functrans.backends.numpy_codegen.loops import (
    Iteration,
    begin_carry,
    for_rows,
    go_on,
    last_carry,
    loop_function,
    owned_text,
)
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import C, Value
from functrans.control.loop_bodies import Body, fixed_point, jvp_of_body, with_zeros
from functrans.control.scan_bodies import has_guards, shows_nans, unguarded
from functrans.control.scan_plan import Plan, make_plan, plain_plan
from functrans.core.aval import Aval
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Equation, Jaxpr, derived
from functrans.core.rules import BatchAxis, def_general_jvp, def_program_batch, def_specialized_impl
from functrans.core.tapes import is_tape
from functrans.ops.families import stacked
from functrans.ops.scan import TapeStack, bind_scan, scan_p, stack_of
from functrans.ops.shape import moveaxis
from functrans.transforms.batch import batch, batch_to
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros

__all__: list[str] = []


# --------------------------------------------------------------------------------------------------------------------
# The value


class _Scan(NamedTuple):
    """An equation of the primitive."""

    avals: Sequence[Aval]
    jaxpr: Jaxpr
    length: int
    reverse: bool
    n_consts: int
    n_carry: int

    def plan(self, jaxpr: Jaxpr) -> Plan:
        """The plan for the body, or for a variant of it."""
        key = ("scan plan", self.n_consts, self.n_carry, self.length)
        return derived(jaxpr, key, lambda: make_plan(jaxpr, self.n_consts, self.n_carry, self.length))


def _implementation(*avals: Aval, **params: Any) -> Callable[..., Any]:
    scan = _Scan(avals, **params)
    plain = plain_plan(scan.jaxpr, scan.n_consts, scan.n_carry, scan.length)
    return loop_function(
        lambda module, is_checked: _write_plan(module, scan, plain, True) if is_checked else _write(module, scan)
    )


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value]:
    """The source of an equation: a call of a function of its own, so that what it needs ends with it."""
    name = _write(writer.module, _Scan(eqn.in_avals, **eqn.params))
    return write_call(writer, name, operands, eqn.out_avals)


def _write(module: Module, scan: _Scan) -> str:
    """Write a function that runs the loop; its name."""
    jaxpr = scan.jaxpr
    guarded = _write_plan(module, scan, scan.plan(jaxpr))
    may_try_plain = has_guards(jaxpr) and not is_effectful(jaxpr) and shows_nans(jaxpr, scan.n_consts, scan.n_carry)
    if not scan.length or not may_try_plain:
        return guarded
    plain = _write_plan(module, scan, scan.plan(unguarded(jaxpr)))
    name, writer = module.name("scan"), FunctionWriter(module)
    with writer.block('with np.errstate(invalid="ignore"):'):
        writer.line(f"results = {plain}(*operands)")
    has_nan = module.constant(_has_nan, "has_nan")
    writer.line(f"return {guarded}(*operands) if any(map({has_nan}, results)) else results")
    module.add(writer.text(f"def {name}(*operands):"))
    return name


def _has_nan(x: Any) -> bool:
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind in "fc" and bool(np.isnan(x).any())
    return any(map(_has_nan, x.rows if isinstance(x, TapeStack) else x.steps))


def _write_plan(module: Module, scan: _Scan, plan: Plan, checked: bool = False) -> str:
    """Write a function that does what a plan says; its name."""
    name, writer = module.name("scan"), FunctionWriter(module)
    operands = input_values(scan.avals, "x")
    fixed, init, xs = Body(scan.jaxpr, scan.n_consts, scan.n_carry).parts(operands)
    if scan.length:
        results = _write_parts(writer, scan, plan, fixed, init, xs, checked)
    else:
        results = [owned_text(writer, x.text) for x in init]
        results += [_empty_stack_text(writer, stack_of(aval, 0)) for aval in scan.jaxpr.out_avals[scan.n_carry :]]
    writer.line(f"return [{', '.join(results)}]")
    module.add(writer.text(f"def {name}({', '.join([x.text for x in operands])}):"))
    return name


def _write_parts(
    writer: FunctionWriter,
    scan: _Scan,
    plan: Plan,
    fixed: list[Value],
    init: list[Value],
    xs: list[Value],
    checked: bool,
) -> list[str]:
    """Write the parts of a plan, one after the other; the results."""
    if plan.before is not None:
        fixed = fixed + writer.program(plan.before, fixed)
    stacks = list(xs)
    if plan.ahead is not None:
        found = writer.program(plan.ahead, [*fixed, *xs])
        shared = shared_outputs(plan.ahead)
        for number in range(plan.n_early):
            if shared[number]:
                found[number] = found[number]._replace(text=owned_text(writer, found[number].text))
                found[number] = writer.kept(found[number])
        stacks += found
    written = writer.names(len(plan.written))
    for stack, aval in zip(written, plan.written, strict=True):
        writer.line(f"{stack} = {_empty_stack_text(writer, aval)}")
    last = dict(zip(plan.carry, [init[i] for i in plan.carry], strict=True))
    if plan.loop is not None:
        read = [f"{stacks[i].text}{'[::-1]' if scan.reverse else ''}" for i in plan.read]
        body = Iteration(plan.loop, checked)
        carried = _write_loop(writer, scan, body, fixed, list(last.values()), read, written)
        last = dict(zip(plan.carry, carried, strict=True))
    stacks += [Value(stack, aval, C) for stack, aval in zip(written, plan.written, strict=True)]
    if plan.after is not None:
        sums = writer.program(plan.after, [*fixed, *stacks, *[init[i] for i in plan.summed]])
        for i, x, is_shared in zip(plan.summed, sums, shared_outputs(plan.after), strict=True):
            last[i] = x._replace(text=owned_text(writer, x.text)) if is_shared else x
    return [last[i].text for i in range(len(init))] + [stacks[i].text for i in plan.ys]


def _write_loop(
    writer: FunctionWriter,
    scan: _Scan,
    body: Iteration,
    fixed: list[Value],
    init: list[Value],
    read: list[str],
    written: list[str],
) -> list[Value]:
    """Write the loop; the last carry."""
    carry = begin_carry(writer, body, len(fixed), init)
    rows, index = writer.names(len(read)), writer.name() if written else None
    places = f"range({scan.length - 1}, -1, -1)" if scan.reverse else f"range({scan.length})"
    with for_rows(writer, rows, read, places, index):
        avals = body.jaxpr.in_avals[len(fixed) + len(init) :]
        operands = [Value(row, aval, None) for row, aval in zip(rows, avals, strict=True)]
        outs = body.write(writer, [*fixed, *carry.values, *operands])
        for stack, x in zip(written, outs[len(init) :], strict=True):
            writer.line(f"{stack}[{index}] = {x.text}")
        go_on(writer, carry, outs)
    return last_carry(writer, carry)


def _empty_stack_text(writer: Writer, aval: Aval) -> str:
    if not is_tape(aval):
        return f"np.empty({aval.shape}, {writer.module.dtype(aval.dtype)})"
    return f"{writer.module.constant(partial(_empty_tapes, aval), 'stack', aval)}()"


def _empty_tapes(aval: Aval) -> TapeStack:
    return TapeStack(aval, [None] * aval.shape[0])


# --------------------------------------------------------------------------------------------------------------------
# Forward mode


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    n_consts: int,
    n_carry: int,
) -> tuple[Any, Any]:
    body = Body(jaxpr, n_consts, n_carry)
    consts, init, xs = body.parts(primals)
    (dconsts, nz_consts), (dinit, nz_init), (dxs, nz_xs) = map(without_zeros, body.parts(tangents))
    doubled, nz_carry, nz_ys = jvp_of_body(body, nz_consts, nz_init, nz_xs)
    dinit = with_zeros(fill_zeros(dinit, nz_init), nz_carry, body.parts(jaxpr.in_avals)[1])
    results = bind_scan(doubled.jaxpr, consts + dconsts, init + dinit, xs + dxs, length, reverse)
    carry, carry_dots, ys, ys_dots = _split(results, (n_carry, len(dinit), body.n_written))
    return carry + ys, fill_zeros(carry_dots, nz_carry) + fill_zeros(ys_dots, nz_ys)


def _split(values: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    """Consecutive parts of the given sizes, and the rest."""
    parts, start = [], 0
    for size in sizes:
        parts.append(list(values[start : start + size]))
        start += size
    return [*parts, list(values[start:])]


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    n_consts: int,
    n_carry: int,
) -> tuple[Sequence[Any], Sequence[int | None]]:
    parts = Body(jaxpr, n_consts, n_carry).parts
    consts, init, xs = parts(operands)
    const_axes, init_axes, xs_axes = parts(axes)
    xs = [moveaxis(x, 0, 1) if along == 0 else x for x, along in zip(xs, xs_axes, strict=True)]
    row_axes = [None if along is None else max(along - 1, 0) for along in xs_axes]

    def in_axes(batched: Sequence[bool]) -> tuple[int | None, ...]:
        return (*const_axes, *[0 if is_batched else None for is_batched in batched], *row_axes)

    def outs_batched(batched: Nonzeros) -> Nonzeros:
        return tuple([along is not None for along in batch(jaxpr, axis, in_axes(batched))[1][:n_carry]])

    batched = fixed_point(outs_batched, tuple([along is not None for along in init_axes]))
    all_axes = in_axes(batched)
    carry_axes, ys_axes = all_axes[n_consts : n_consts + n_carry], batch(jaxpr, axis, all_axes)[1][n_carry:]
    body = batch_to(jaxpr, axis, all_axes, (*carry_axes, *ys_axes))
    init = [
        x if wanted is None else stacked(x, axis.size, have, wanted)
        for x, have, wanted in zip(init, init_axes, carry_axes, strict=True)
    ]
    results = bind_scan(body, consts, init, xs, length, reverse)
    return results, [*carry_axes, *[None if along is None else along + 1 for along in ys_axes]]


def_specialized_impl(scan_p, _implementation)
def_source(scan_p, _write_call)
def_general_jvp(scan_p, _jvp)
def_program_batch(scan_p, _batch)
