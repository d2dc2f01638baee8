"""Cases of `functrans.ops.linear_solve`."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.ops import linear_solve as ops
from tests.cases.case import FLOATS, INEXACT, Case, Operand


def _solve(matvec: Any, b: Any) -> Any:
    """By Cramer's rule, for two unknowns."""
    unit = np.eye(2, dtype=b.dtype)
    (p, r), (q, s) = matvec(unit[0]), matvec(unit[1])
    return lax.div(ft.numpy.stack([s * b[0] - q * b[1], p * b[1] - r * b[0]]), (p * s - q * r) * np.ones(2, b.dtype))


def _linear_solution(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: (a + 4 * np.eye(2, dtype=b.dtype)) @ x, b, _solve, _solve)


def _newton(f: Any, x: Any) -> Any:
    for _ in range(30):
        y, slope = ft.jvp(f, (x,), (np.ones_like(x),))
        x = x - y / slope
    return x


def _root(a: Any) -> Any:
    """The root of x^3 + x = a."""
    guess = np.zeros(a.shape, a.dtype)
    return lax.custom_root(lambda x: x * x * x + x - a, guess, _newton, lambda g, y: y / g(np.ones_like(y)))


def _root_reference(a: Any) -> Any:
    """By Cardano's formula."""
    half = a / 2
    root = np.sqrt(half * half + half.dtype.type(1) / 27)
    return np.cbrt(half + root) + np.cbrt(half - root)


def _undifferentiated(x: Any) -> Any:
    jaxpr = ft.make_jaxpr(lambda x: lax.sin(x))(ft.ShapeDtypeStruct(x.shape, x.dtype)).jaxpr
    return ops.undifferentiated_p.bind(x, jaxpr=jaxpr)


CASES = [
    Case(
        ops.linear_solve_p,
        _linear_solution,
        lambda a, b: np.linalg.solve(a + 4 * np.eye(2, dtype=b.dtype), b),
        (Operand((2, 2), -1.0, 1.0), Operand((2,))),
        INEXACT,
        tolerance=20,
        order=3,
    ),
    Case(ops.root_p, _root, _root_reference, (Operand((3,)),), ("float64",), tolerance=20, order=3),
    Case(ops.undifferentiated_p, _undifferentiated, np.sin, (Operand((3,)),), FLOATS, differentiable=False),
]
