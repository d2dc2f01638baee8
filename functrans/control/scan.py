"""The rules of `scan`: its value, its derivative in forward mode, and batches. A scan becomes a scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends.interpreter import owned
from functrans.config import config
from functrans.control.loop_bodies import Body, fixed_point, jvp_of_body, with_zeros
from functrans.control.scan_bodies import has_guards, shows_nans, unguarded
from functrans.control.scan_plan import Plan, make_plan, plain_plan
from functrans.core.aval import Aval
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Jaxpr, derived
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


def _implementation(
    *avals: Aval, jaxpr: Jaxpr, length: int, reverse: bool, n_consts: int, n_carry: int
) -> Callable[..., tuple[Any, ...]]:
    body = Body(jaxpr, n_consts, n_carry)
    stack_avals = [stack_of(aval, length) for aval in jaxpr.out_avals[n_carry:]]
    may_try_plain = has_guards(jaxpr) and not is_effectful(jaxpr) and shows_nans(jaxpr, n_consts, n_carry)

    def run(*operands: Any) -> tuple[Any, ...]:
        fixed, init, xs = body.parts(operands)
        if not length:
            return (*[owned(x) for x in init], *[_empty_stack(aval) for aval in stack_avals])
        if config.checks_values:
            return _run(plain_plan(jaxpr, n_consts, n_carry, length), length, reverse, fixed, init, xs)
        if may_try_plain:
            with np.errstate(invalid="ignore"):
                results = _run(_plan(unguarded(jaxpr), n_consts, n_carry, length), length, reverse, fixed, init, xs)
            if not any(map(_has_nan, results)):
                return results
        return _run(_plan(jaxpr, n_consts, n_carry, length), length, reverse, fixed, init, xs)

    return run


def _plan(jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int) -> Plan:
    key = ("scan plan", n_consts, n_carry, length)
    return derived(jaxpr, key, lambda: make_plan(jaxpr, n_consts, n_carry, length))


def _has_nan(x: Any) -> bool:
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind in "fc" and bool(np.isnan(x).any())
    return any(map(_has_nan, x.rows if isinstance(x, TapeStack) else x.steps))


def _run(plan: Plan, length: int, reverse: bool, fixed: list[Any], init: list[Any], xs: list[Any]) -> tuple[Any, ...]:
    if plan.before is not None:
        fixed = fixed + plan.before(fixed)
    stacks = list(xs)
    if plan.ahead is not None:
        compute, finishers = plan.ahead
        found = compute([*fixed, *xs])
        n_early = plan.n_early
        stacks += [x if own is None else own(x) for x, own in zip(found[:n_early], finishers[:n_early], strict=True)]
        stacks += found[n_early:]
    written = [_empty_stack(aval) for aval in plan.written]
    carry = [init[i] for i in plan.carry]
    if plan.loop is not None:
        rows = [stacks[i][::-1] if reverse else stacks[i] for i in plan.read]
        carry = _run_loop(
            plan.loop, fixed, carry, rows, written, range(length - 1, -1, -1) if reverse else range(length)
        )
    carry = [x if own is None else own(x) for x, own in zip(carry, plan.finish_carry, strict=True)]
    stacks += written
    if plan.after is not None:
        compute, finishers = plan.after
        sums = compute([*fixed, *stacks, *[init[i] for i in plan.summed]])
        last = dict(zip(plan.carry, carry, strict=True))
        last.update(
            zip(
                plan.summed, [x if own is None else own(x) for x, own in zip(sums, finishers, strict=True)], strict=True
            )
        )
        carry = [last[i] for i in range(len(init))]
    return (*carry, *[stacks[i] for i in plan.ys])


def _run_loop(
    step: Callable[[Sequence[Any]], list[Any]],
    fixed: list[Any],
    carry: list[Any],
    rows: list[Any],
    written: list[Any],
    places: range,
) -> list[Any]:
    n_carry = len(carry)
    numbered = list(enumerate(written, n_carry))
    # Only the outputs that a loop writes are looked at one by one: each access in Python counts here.
    for i, row in zip(places, zip(*rows, strict=True) if rows else [()] * len(places), strict=True):
        outs = step([*fixed, *carry, *row])
        for number, stack in numbered:
            stack[i] = outs[number]
        carry = outs[:n_carry]
    return carry


def _empty_stack(aval: Aval) -> Any:
    return TapeStack(aval, [None] * aval.shape[0]) if is_tape(aval) else np.empty(aval.shape, aval.dtype)


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
def_general_jvp(scan_p, _jvp)
def_program_batch(scan_p, _batch)
