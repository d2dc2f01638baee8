"""Transposing `scan`: a scan in the other direction, which carries cotangents and sums up those of the constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.control.linear_loops import linear_carry
from functrans.control.loop_bodies import Body, transposed_body, with_zeros
from functrans.control.scan_linearize import linearized_scan
from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import UndefinedPrimal, def_transpose, zeros_like
from functrans.ops.scan import bind_scan, scan_p
from functrans.transforms.tangents import fill_zeros, without_zeros

__all__: list[str] = []


def _transpose(
    cts: Sequence[Any],
    *operands: Any,
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    n_consts: int,
    n_carry: int,
) -> list[Any]:
    linear = [type(x) is UndefinedPrimal for x in operands]
    body = Body(jaxpr, n_consts, n_carry)
    carry = linear_carry(body, *[tuple(part) for part in body.parts(linear)])
    if not all(carry):
        return _transpose_linear_part(cts, operands, carry, jaxpr, length, reverse, n_consts, n_carry)
    consts, init, xs = body.parts(operands)
    ct_ys = without_zeros(cts[n_carry:])[0]
    linear_parts = tuple(linear[:n_consts]), tuple(linear[n_consts + n_carry :])
    backward = transposed_body(body, linear_parts, cts[:n_carry], cts[n_carry:])
    undefined = [x.aval for x in consts if type(x) is UndefinedPrimal]
    sums = [zeros_like(aval) for aval, nonzero in zip(undefined, backward.consts, strict=True) if nonzero]
    ct_carry = with_zeros(cts[:n_carry], backward.carry, body.parts(jaxpr.in_avals)[1])
    results = bind_scan(
        backward.body.jaxpr,
        [x for x in consts if type(x) is not UndefinedPrimal],
        sums + ct_carry,
        [x for x in xs if type(x) is not UndefinedPrimal] + ct_ys,
        length,
        not reverse,
    )
    first, end = len(sums), len(sums) + len(ct_carry)
    ct_consts = iter(fill_zeros(results[:first], backward.consts))
    ct_init = fill_zeros(results[first:end], backward.carry)
    ct_xs = iter(fill_zeros(results[end:], backward.elements))
    return [
        *[next(ct_consts) if type(x) is UndefinedPrimal else None for x in consts],
        *[ct if type(x) is UndefinedPrimal else None for x, ct in zip(init, ct_init, strict=True)],
        *[next(ct_xs) if type(x) is UndefinedPrimal else None for x in xs],
    ]


def _transpose_linear_part(
    cts: Sequence[Any],
    operands: Sequence[Any],
    linear_carry: Sequence[bool],
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    n_consts: int,
    n_carry: int,
) -> list[Any]:
    """The transpose of a scan that also carries what is not linear, such as a counter.

    A linear function is its own derivative, anywhere: at zero, say. So its linear part is what linearizing gives.
    """
    linear = [type(x) is UndefinedPrimal for x in operands]
    linear[n_consts : n_consts + n_carry] = linear_carry
    at_zero = [zeros_like(x) if type(x) is UndefinedPrimal else x for x in operands]
    _, part = linearized_scan(
        at_zero,
        tuple(linear),
        jaxpr=jaxpr,
        length=length,
        reverse=reverse,
        n_consts=n_consts,
        n_carry=n_carry,
    )
    plan = part.plan
    consts, init, xs = Body(jaxpr, n_consts, n_carry).parts(operands)
    dots = [x for x, is_linear in zip(consts, linear, strict=False) if is_linear]
    carried = [
        x if type(x) is UndefinedPrimal else zeros_like(x)
        for x, nonzero in zip(init, plan.carry, strict=True)
        if nonzero
    ]
    moving = [x for x in xs if type(x) is UndefinedPrimal]
    ct_carry = [ct for ct, nonzero in zip(cts, plan.carry, strict=False) if nonzero]
    ct_ys = [ct for ct, nonzero in zip(cts[n_carry:], plan.ys, strict=True) if nonzero]
    found = _transpose(
        ct_carry + ct_ys,
        *dots,
        *part.fixed,
        *carried,
        *moving,
        *part.stacks,
        jaxpr=plan.linear,
        length=length,
        reverse=reverse,
        n_consts=len(dots) + len(part.fixed),
        n_carry=len(carried),
    )
    ct_consts = iter(found[: len(dots)])
    first = len(dots) + len(part.fixed)
    ct_init = iter(found[first : first + len(carried)])
    ct_xs = iter(found[first + len(carried) :])
    return [
        *[next(ct_consts) if type(x) is UndefinedPrimal else None for x in consts],
        *[next(ct_init) if nonzero else None for nonzero in plan.carry],
        *[next(ct_xs) if type(x) is UndefinedPrimal else None for x in xs],
    ]


def_transpose(scan_p, _transpose)
