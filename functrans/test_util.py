"""Checking derivatives against finite differences, for one's own functions and primitives.

>>> import numpy as np
>>> import functrans as ft
>>> from functrans.test_util import check_grads
>>> check_grads(lambda x: ft.lax.sin(x) * x, (np.array([0.5, 2.0]),), order=2)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from functrans.testing.blame import Blamed, rule_at_fault
from functrans.testing.comparison import FORWARD, REVERSE, Mismatch, Tolerance, cotangents, directions, find_mismatch
from functrans.testing.differentiated import Differentiated, differentiated, forward_of, reverse_of

__all__ = ["check_grads", "check_jvp", "check_vjp"]


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of `f` up to some order, by forward and by reverse mode, against finite differences.

    The numbers are computed in double precision, whatever the dtypes of `args`, with steps found for the function and
    with an estimate of what the differences may be wrong by; so no tolerance needs to be chosen. Derivatives in the
    dtypes of `args` are then held against those in double precision. At a kink (`abs` at 0) everything between the
    slopes of both sides counts as a first derivative.

    Args:
        f: a function of arrays and pytrees; what is not float or complex stays as it is.
        args: its arguments, a tuple or list.
        order: up to which order, at least 1. All combinations of the modes are checked.
        modes: `"fwd"` for JVPs, `"rev"` for VJPs, or both.
        atol, rtol: what may be allowed absolutely and relatively, in place of the estimate.
        eps: the step of the differences, in place of the search for one.

    Raises:
        AssertionError: naming the rule at fault and the wrong entry, with both numbers.
        ValueError: for an order below 1, or for other modes.
        TypeError: if no argument or no output is a float.
    """
    modes = [modes] if isinstance(modes, str) else list(modes)
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    if not modes or any([mode not in (FORWARD, REVERSE) for mode in modes]):
        raise ValueError(f"modes must be of 'fwd' and 'rev', got {modes}")
    _check(differentiated(f, args), modes, order, Tolerance(atol, rtol, eps))


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check a function that gives JVPs of `f` against finite differences.

    Args:
        f: a function of arrays and pytrees.
        f_jvp: `f_jvp(args, tangents)` gives `(out, out_tangent)`, as `functools.partial(functrans.jvp, f)` does.
        args: the point, a tuple or list.
        atol, rtol, eps: as in `check_grads`.
        err_msg: what the message begins with.

    Raises:
        AssertionError: naming the wrong entry, with both numbers.
    """
    _assert_right(differentiated(f, args, f_jvp=f_jvp), FORWARD, Tolerance(atol, rtol, eps), err_msg)


def check_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check a function that gives VJPs of `f` against finite differences.

    Args:
        f: a function of arrays and pytrees.
        f_vjp: `f_vjp(*args)` gives `(out, pull_back)`, as `functools.partial(functrans.vjp, f)` does.
        args: the point, a tuple or list.
        atol, rtol, eps: as in `check_grads`.
        err_msg: what the message begins with.

    Raises:
        AssertionError: naming the wrong entry, with both numbers.
    """
    _assert_right(differentiated(f, args, f_vjp=f_vjp), REVERSE, Tolerance(atol, rtol, eps), err_msg)


_MODE_NAMES = {FORWARD: "forward derivative (JVP)", REVERSE: "reverse derivative (VJP)"}


def _check(f: Differentiated, modes: Sequence[str], order: int, tolerance: Tolerance) -> None:
    for mode in modes:
        _assert_right(f, mode, tolerance)
    if order > 1:
        for mode in modes:
            _check(_derivative(f, mode), modes, order - 1, tolerance)


def _derivative(f: Differentiated, mode: str) -> Differentiated:
    """The derivative of `f` as a function: along a fixed direction, or of the outputs weighted by fixed cotangents."""
    direction, cts = next(directions(f)), cotangents(f)

    def call(*xs: Any) -> tuple[Any, ...]:
        return tuple(f.forward(xs, direction) if mode == FORWARD else f.backward(xs, cts))

    return replace(
        f,
        name=f"the {_MODE_NAMES[mode]} of {f.name}",
        call=call,
        given=f.xs,
        order=f.order + 1,
        forward=forward_of(call),
        backward=reverse_of(call),
    )


def _assert_right(f: Differentiated, mode: str, tolerance: Tolerance, err_msg: str = "") -> None:
    mismatch = find_mismatch(f, mode, tolerance)
    if mismatch is not None:
        raise AssertionError((f"{err_msg}: " if err_msg else "") + _message(f, mode, mismatch))


def _message(f: Differentiated, mode: str, mismatch: Mismatch) -> str:
    blamed = rule_at_fault(f) if mismatch.settled else None
    what = f"the {_MODE_NAMES[mode]} of {f.name}"
    if blamed is not None:
        head, explained = _blame(blamed), blamed.mismatch.pattern if blamed.rule else None
    elif mismatch.settled:
        head, explained = f"{what} is wrong", mismatch.pattern
    else:
        head = (
            f"{what} cannot be confirmed: finite differences do not settle on a value there, as where a "
            "function jumps, has a pole or is noisy. Check at another point"
        )
        explained = None
    lines = [f"{head}{f': it {explained}' if explained else ''}"]
    if blamed is not None:
        lines.append(f"  in {blamed.primitive}, {blamed.mismatch.place}: {_numbers(blamed.mismatch, 'the rule gives')}")
    subject = "functrans gives" if f.is_traced else "it gives"
    lines.append(f"  in {what}, order {f.order}, {mismatch.place}: {_numbers(mismatch, subject)}")
    return "\n".join(lines)


def _blame(blamed: Blamed) -> str:
    if not blamed.rule:
        return f"primitive {blamed.primitive!r} is declared to have no derivative, and has one"
    operand = "" if blamed.operand is None else f" (operand {blamed.operand})"
    return f"the {blamed.rule} of primitive {blamed.primitive!r}{operand} is wrong"


def _numbers(mismatch: Mismatch, subject: str) -> str:
    difference = abs(mismatch.found - mismatch.expected)
    return (
        f"{subject} {mismatch.found:.6g}, {mismatch.source} {mismatch.expected:.6g}, "
        f"difference {difference:.2g} (allowed {mismatch.allowed:.1g})"
    )
