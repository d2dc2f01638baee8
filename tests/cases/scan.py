"""Cases of `functrans.ops.scan`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import lax
from functrans.ops import scan as ops
from tests.cases.case import FLOATS, INEXACT, Case, Operand

Function = Callable[..., Any]


def scanned(function: Function, reverse: bool = False) -> Function:
    """The recurrence h = w * function(h) + x, which gives h * x in each iteration."""

    def run(w: Any, h: Any, xs: Any) -> Any:
        def body(h: Any, x: Any) -> Any:
            h = lax.add(lax.mul(w, function(h)), x)
            return h, lax.mul(h, x)

        return lax.scan(body, h, xs, reverse=reverse)

    return run


def looped(function: Function, reverse: bool = False) -> Function:
    """The same in plain NumPy."""

    def run(w: Any, h: Any, xs: Any) -> Any:
        ys = np.empty_like(xs)
        for i in reversed(range(len(xs))) if reverse else range(len(xs)):
            h = w * function(h) + xs[i]
            ys[i] = h * xs[i]
        return h, ys

    return run


def operands(rows: int, *shape: int) -> tuple[Operand, ...]:
    return Operand(shape), Operand(shape), Operand((rows, *shape))


CASES = [
    Case(ops.scan_p, scanned(lax.sin), looped(np.sin), operands(4, 3), FLOATS),
    Case(ops.scan_p, scanned(lax.sin, True), looped(np.sin, True), operands(3), FLOATS, name="reverse", order=3),
    Case(ops.scan_p, scanned(lax.neg), looped(np.negative), operands(4, 2), INEXACT, name="linear carry"),
    Case(ops.scan_p, scanned(lax.sin), looped(np.sin), operands(0, 2), INEXACT, name="no iterations"),
]
